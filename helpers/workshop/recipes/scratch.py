"""``scratch``: ``python -m helpers.workshop.train scratch --seconds 280``.

The ViT CLIP of the paper in small, from random weights on our drawings alone. It also
guides VQGAN+CLIP, so it is trained to answer to what a person sees
(adversarial/robust.py). On many machines: ``torchrun --nproc-per-node 2 -m
helpers.workshop.train scratch`` (adversarial/many.py).
"""

import json
import time
from pathlib import Path

import torch

from ... import corpus
from ...clip import CLIP, Config
from ...clip.tokenizer import Tokenizer, learn_merges
from ...corpus import colours, painted
from ..adversarial import batches, many, robust
from ..adversarial.wrong import CARRIED

FILE = "scratch.safetensors"
MANY = True  # torchrun may start it on many machines


def config() -> Config:
    return Config(image_size=96, vocab=3900, context=48)


def tokenizer(name: str, texts: list[str], vocab: int, context: int) -> Tokenizer:
    """The tokenizer learnt from ``texts``; a carried list of its merges saves time."""
    kept = CARRIED / f"{name}-merges.json"
    if kept.exists():
        merges = json.loads(kept.read_text("utf-8"))
    else:
        merges = learn_merges(texts, vocab - 514)
    return Tokenizer(merges, context)


def texts(split) -> list[str]:
    """What the tokenizer learns from: the words of the captions, and of their forms."""
    out = caption_texts(split)
    for named, other in ((colours.NAMES, painted.SHAPES), (colours.NAMES_FA, [])):
        out += [f"{a} {b}" for a in named for b in [*other, "background", "زمینه"]] * 20
    forms = [f.format("a", "a") for f in (*batches.PAIRS, *batches.GROUNDS)]
    return out + forms * 50 + [batches.NOTHING] * 50


def caption_texts(split: corpus.Corpus) -> list[str]:
    """Every name, keyword and Persian name of a split, once per picture."""
    out = []
    for c in split.cards:
        out += [c["name"], *c.get("keywords", []), c["style"]]
        out += [t for t in [c.get("name_fa"), *c.get("keywords_fa", [])] if t]
        out.append(f"a picture of {corpus.article(c['name'])}")
    return out


def drawings(without=(), small: bool = False) -> corpus.Corpus:
    """The train split without silhouettes and some artists; a little of it to try."""
    split = corpus.without_silhouettes(corpus.load("train", progress=False))
    split = split.select(lambda c: c["source"] not in without)
    return corpus.Corpus(split.cards[:200], split.rgba[:200]) if small else split


def prepare(recipe: robust.Recipe, split, texts: list[str], device):
    """The tokenizer, whose size goes into the recipe, and the painter of the split."""
    c = recipe.config
    words = tokenizer(recipe.name, texts, c.vocab, c.context)
    c.vocab = len(words)
    return words, painted.Painted(split, torch.device(device), seed=recipe.seed)


def train(
    steps: int = 4000,
    seconds: float | None = None,
    seed: int = 1,
    out: Path | None = None,
    device="cpu",
    batch: int = 768,
    eps: float = 1.5,
    smoke: bool = False,
) -> CLIP:
    """Train on drawings alone; ``smoke``: a little of all of it, to try it.

    ``batch``: of all machines together. Raises ValueError for what many cannot do.
    """
    device = many.own_device(device, batch, seconds)
    began, split = time.time(), drawings(small=smoke)
    batch = 32 if smoke else batch
    recipe = robust.Recipe("scratch", config(), batch, eps, 2, seed=seed, steps=steps)
    words, paint = prepare(recipe, split, texts(split), device)
    if many.count() > 1:
        recipe.steps = 2 if smoke else steps
        return many.fit(recipe, split, paint, words, out, small=smoke)
    left = seconds and seconds - (time.time() - began)
    return robust.fit(recipe, split, paint, words, left, out, small=smoke)
