"""The picture-and-caption corpus: WebDataset shards in, tensors and captions out.

Dims: B batch, H/W pixels (128). Pictures are stored RGBA so that training can put them
on random backgrounds; for display they stand on white.
"""

import io
import json
import random
import re
import tarfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from .. import paths
from ..pictures import on_background
from ..values import short, whole

SPLITS = ("train", "unseen_artist", "unseen_concept", "photos")


class Corpus(Dataset):
    """One split: ``corpus[i]`` is ``(picture, caption)``.

    picture: (3, H, W) uint8 on white; caption: the English name. The decoded pictures
    stand in ``corpus.rgba`` ((N, 4, H, W) uint8), the cards (name, keywords, name_fa,
    concept, style, licence, author ...) in ``corpus.cards``.
    """

    def __init__(self, cards: list[dict], rgba: torch.Tensor):
        self.cards, self.rgba = cards, rgba

    def __len__(self) -> int:
        return len(self.cards)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, str]:
        """Raises IndexError with one sentence if there is no such picture."""
        if not (hasattr(i, "__index__") and -len(self) <= int(i) < len(self)):
            raise IndexError(f"There is no picture {short(i)} among {len(self):,}.")
        return on_background(self.rgba[int(i)][None])[0], self.cards[int(i)]["name"]

    def pictures(self, indices=None) -> torch.Tensor:
        """(N, 3, H, W) uint8 on white: all pictures, or those at ``indices``."""
        if indices is None:
            indices = range(len(self))
        chosen = torch.as_tensor(list(indices), dtype=torch.long)
        parts = [on_background(self.rgba[part]) for part in chosen.split(1024)]
        return torch.cat(parts) if parts else self.rgba[:0, :3]

    def select(self, keep) -> "Corpus":
        """The pictures whose card satisfies ``keep(card)``, as a new Corpus."""
        rows = [i for i, card in enumerate(self.cards) if keep(card)]
        return Corpus([self.cards[i] for i in rows], self.rgba[rows])


@lru_cache(1)
def fast_decoder():
    """torchvision's decoder, twice as fast as Pillow; None where it has no such.

    Imported late: it takes torchvision seconds, and a dream decodes no corpus.
    """
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:
        return None
    return partial(decode_image, mode=ImageReadMode.RGB_ALPHA)


def decode(raw: bytes) -> torch.Tensor:
    """WebP bytes -> (4, H, W) uint8."""
    if fast_decoder() is not None:
        data = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return fast_decoder()(data)
    image = Image.open(io.BytesIO(raw)).convert("RGBA")
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(
        image.height, image.width, 4
    ).permute(2, 0, 1)  # fmt: skip


def read_shard(path: Path) -> list[tuple[dict, bytes]]:
    """All (card, WebP bytes) of one shard, in order.

    Raises FileNotFoundError or ValueError with one sentence if the shard is missing or
    cut short.
    """
    cards, pictures = {}, {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                body = tar.extractfile(member).read()
                if len(body) != member.size:
                    raise EOFError
                if ending == "json":
                    cards[key] = json.loads(body)
                elif ending == "webp":
                    pictures[key] = body
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The shard {path} is missing; get data/corpus again (git checkout data)."
        ) from None
    except (EOFError, tarfile.TarError, zlib.error, OSError, ValueError):
        raise ValueError(
            f"The shard {path} is damaged or cut short; get it again "
            "(git checkout data/corpus)."
        ) from None
    if cards.keys() != pictures.keys() or not cards:
        raise ValueError(
            f"The shard {path} is damaged: {len(pictures)} pictures but {len(cards)} "
            "cards; get it again (git checkout data/corpus)."
        )
    return [(cards[key], pictures[key]) for key in cards]


def shards(split: str, folder: Path | None = None) -> list[Path]:
    """The shard files of a split; the manifest says how many there must be."""
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(
            f'There is no split "{split}"; choose from {", ".join(SPLITS)}.'
        )
    folder = paths.given(folder or paths.CORPUS)
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        names = [name for name in manifest["shards"] if name.startswith(split + "-")]
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"There is no corpus in {folder}: manifest.json is missing."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"The corpus in {folder} is damaged: its manifest.json makes no sense; get "
            "it again (git checkout data/corpus)."
        ) from None
    return [folder / name for name in names]


_loaded: dict = {}


def load(
    split: str,
    folder: Path | None = None,
    size: int = 128,
    progress: bool = True,
    keep=None,
) -> Corpus:
    """Load and decode one split ("train", "unseen_artist", "unseen_concept", "photos").

    ``size``: pixels a side; a smaller size needs less memory (train at 128 px takes
    0.9 GB, at 64 px 0.2 GB). ``keep``: only pictures whose card satisfies
    ``keep(card)`` are decoded, which is quicker than ``select``. Decoding runs on all
    cores and shows a progress bar; a split that was loaded before comes back at once.
    Raises ValueError or FileNotFoundError with one sentence.
    """
    files, size = shards(split, folder), whole("size", size, 1, 4096)
    key = (*files, size)
    if key in _loaded:
        return _loaded[key] if keep is None else _loaded[key].select(keep)
    with ThreadPoolExecutor() as pool:
        rows = [row for shard in pool.map(read_shard, files) for row in shard]
        rows = [row for row in rows if keep is None or keep(row[0])]
        bar = tqdm(
            pool.map(lambda row: shrink(decode(row[1]), size), rows),
            total=len(rows),
            desc=f"reading {split}",
            unit=" pictures",
            leave=False,
            disable=not progress,
        )
        rgba = torch.empty(len(rows), 4, size, size, dtype=torch.uint8)
        for place, picture in enumerate(bar):
            rgba[place] = picture
    found = Corpus([card for card, _ in rows], rgba)
    if keep is None:
        _loaded[key] = found
    return found


def shrink(rgba: torch.Tensor, size: int) -> torch.Tensor:
    """(4, H, W) uint8 -> (4, size, size) uint8, averaged with premultiplied alpha."""
    if rgba.shape[-1] == size:
        return rgba
    x = rgba[None].float()
    x[:, :3] *= x[:, 3:] / 255
    x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    x[:, :3] *= 255 / x[:, 3:].clamp(min=1)
    return x[0].round().clamp(0, 255).to(torch.uint8)


def kind(word: str, folder: Path | None = None, size: int = 128) -> Corpus:
    """Pictures of one kind of thing, out of all splits: their name holds ``word``.

    "cat" finds "black cat" and "two cats", but no "category". Only these pictures are
    decoded. Most were seen in training: search in them, but measure nothing. Each card
    names its author and licence. Raises ValueError with one sentence if there is none.
    """
    if not isinstance(word, str):
        raise ValueError(f"A kind of thing is a word, not {short(word)}.")
    size = whole("size", size, 1, 4096)
    named = re.compile(rf"\b{re.escape(word.strip())}s?\b", re.IGNORECASE)
    files = [shard for split in SPLITS for shard in shards(split, folder)]
    rows = [
        row
        for shard in (files if word.strip() else ())
        for row in read_shard(shard)
        if named.search(row[0]["name"])
    ]
    if not rows:
        raise ValueError(f'No picture of the corpus is called "{word}".')
    rgba = torch.stack([shrink(decode(raw), size) for _, raw in rows])
    return Corpus([card for card, _ in rows], rgba)


def without_silhouettes(split: Corpus) -> Corpus:
    """The split without its black silhouettes, which say little."""
    return split.select(lambda c: c["source"] != "gameicons")


def photos_parts(seed: int = 2026, **more) -> tuple[Corpus, Corpus]:
    """``photos`` in two: a third for choices (photos_dev), two thirds for the test.

    The third is drawn within each class. Only the first part may decide anything.
    """
    split = load("photos", **more)
    rng, classes = random.Random(seed), {}
    for i, card in enumerate(split.cards):
        classes.setdefault(card.get("fine") or card["concept"], []).append(i)
    rows = []
    for name in sorted(classes):
        rng.shuffle(classes[name])
        rows += classes[name]
    dev, test = sorted(rows[::3]), sorted(set(rows) - set(rows[::3]))
    return tuple(
        Corpus([split.cards[i] for i in part], split.rgba[part]) for part in (dev, test)
    )
