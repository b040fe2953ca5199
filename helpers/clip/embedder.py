"""A CLIP that is ready to use: pictures and words in, vectors out.

Dims: N pictures, M texts, D embedding, S pixels a side. Loading stands here, above the
models.
"""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .. import pictures, weights, words
from ..device import pick_device
from ..download import sha256
from ..values import alike, flag, whole
from . import fast, files, official
from .tokenizer import check_texts


class Embedder:
    """A CLIP with its tokenizer and preprocessing: pictures and words in, vectors out.

    ``name``, ``card`` (how it was trained) and ``fingerprint`` say which model it is;
    ``model`` is the network itself.
    """

    def __init__(
        self, name, model, tokenizer, card, device, fingerprint="", bf16=False
    ):
        self.name, self.model, self.card = name, model.to(device), card
        self.tokenizer, self.device, self.fingerprint = tokenizer, device, fingerprint
        self.bf16 = bf16

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.model.parameters()) / 1e6
        return f"CLIP {self.name}: {count:.1f} M parameters on {self.device}"

    def __iter__(self):
        """So that ``model, preprocess = load(...)`` works, as in OpenAI's package."""
        return iter((self, self.preprocess))

    def preprocess(self, picture, bgr: bool = False) -> Tensor:
        """Any one picture (path, bytes, PIL, array, tensor) -> (3, S, S) in [0, 1].

        The short side is brought to S (bicubic), then the centre is cut out; a flat
        white picture border is not added. ``torch.stack`` of several is a batch for
        ``embed_images``; the towers normalise by themselves. ``bgr``: an array of
        OpenCV's. Raises ValueError with one sentence for what is no picture.
        """
        return pictures.to_tensor(picture, self.model.config.image_size, bgr)

    def tokenize(self, texts) -> Tensor:
        """A text or a list of texts -> (M, T) token ids, after one folding.

        Texts that look the same give the same ids (``helpers.words.fold``). Raises
        TypeError with one sentence for what is not text.
        """
        texts = check_texts(texts)
        persian = self.tokenizer.persian
        return self.tokenizer([words.fold(text, persian) for text in texts])

    @torch.no_grad()
    def __call__(self, images, texts) -> tuple[Tensor, Tensor]:
        """Logits both ways: ((N, M) for each picture, (M, N) for each text).

        ``images``: as for ``embed_images``; ``texts``: texts or their token ids. They
        are cosines times the model's scale; a softmax over a row gives probabilities.
        """
        seen, read = self.embed_images(images), self.embed_texts(texts)
        logits = self.model.scale().item() * seen @ read.T
        return logits, logits.T

    @torch.no_grad()
    def embed_images(
        self, images, batch: int | None = None, progress: bool = False,
        bgr: bool = False,
    ) -> Tensor:  # fmt: skip
        """One picture or many -> (N, D) on the unit sphere.

        ``images``: one picture of any kind that ``preprocess`` takes, a list of them,
        or a batch: a tensor (N, 3, H, W) or an array (N, H, W, 3), uint8 or float in
        [0, 1]. However a picture comes, it is prepared in the same way. ``batch``:
        pictures at a time (8 on a CPU, which so uses its memory again; 64 elsewhere).
        Raises ValueError with one sentence.
        """
        rows = pictures.one_or_many(images)
        if batch is None:
            batch = 8 if self.device.type == "cpu" else 64
        batch = whole("batch", batch, 1, 2**20)
        self.model.eval()
        out = [torch.empty(0, self.model.config.embed)]
        steps = range(0, len(rows), batch)
        for at in tqdm(steps, desc="embedding", disable=not progress, leave=False):
            part = [self.preprocess(p, bgr) for p in rows[at : at + batch]]
            x = torch.stack(part).to(self.device)
            with self.precision():
                out.append(self.model.encode_image(x).cpu())
        return torch.cat(out)

    @torch.no_grad()
    def embed_texts(self, texts, batch: int = 256) -> Tensor:
        """Texts, or their token ids (M, T) -> (M, D) on the unit sphere.

        Raises TypeError with one sentence for what is not text.
        """
        self.model.eval()
        batch = whole("batch", batch, 1, 2**20)
        if isinstance(texts, Tensor):
            texts = check_tokens(texts, self.model.config)
        else:
            texts = check_texts(texts)
        out = [torch.empty(0, self.model.config.embed)]
        for at in range(0, len(texts), batch):
            part = texts[at : at + batch]
            tokens = part if isinstance(part, Tensor) else self.tokenize(part)
            with self.precision():
                out.append(self.model.encode_text(tokens.to(self.device)).cpu())
        return torch.cat(out)

    def precision(self):
        """The context the towers run in: bf16 autocast by choice, else full floats."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def probabilities(self, images: Tensor, texts: Tensor) -> Tensor:
        """Softmax over the texts of the scaled cosines: (N, D), (M, D) -> (N, M).

        Raises ValueError with one sentence for vectors of two models.
        """
        images, texts = alike(images, texts)
        return (self.model.scale().item() * images @ texts.T).softmax(dim=-1)


def check_tokens(tokens: Tensor, config) -> Tensor:
    """Token ids (M, T), as they came, or one sentence (TypeError)."""
    ids = not (tokens.is_floating_point() or tokens.is_complex())
    if ids and tokens.ndim == 2 and 0 < tokens.shape[1] <= config.context:
        if not tokens.numel() or 0 <= tokens.min() <= tokens.max() < config.vocab:
            return tokens.long()
    raise TypeError(
        f"Token ids have the shape (M, T up to {config.context}) and lie below "
        f"{config.vocab}; make them with tokenize()."
    )


def load(name: str = "pocket", device=None, file=None, bf16: bool = False) -> Embedder:
    """Load a CLIP by name, ready to use.

    "pocket" (default) and "scratch" are shipped in data/models. The names of
    ``helpers.clip.official.OFFICIAL`` ("ViT-B/32" and so on) are OpenAI's and LAION's
    weights, downloaded once (354 MB for "ViT-B/32"). ``file``: your own copy of
    official weights. A path to one of our own files works as ``name``. ``bf16``: half
    the precision, about twice the speed on a GPU. Raises ValueError, FileNotFoundError,
    ConnectionError or (no such device) RuntimeError with one sentence.
    """
    device, bf16 = pick_device(device), flag("bf16", bf16)
    if isinstance(name, str) and name in official.OFFICIAL:
        model, tokenizer, card, path = official.load(name, file)
    else:
        path = weights.find("clip", name, official.OFFICIAL, file)
        model, tokenizer, card = files.load_clip(path)
        name = path.stem
    mark = sha256(path)[:16]
    fast.speed_up(model)
    return Embedder(name, model, tokenizer, card, device, mark, bf16)
