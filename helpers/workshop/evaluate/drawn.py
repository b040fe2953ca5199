"""Does a DALL-E draw what it is told? What ``dalle1`` and ``unclip`` share.

Fifty captions of two kinds: pairs of a known concept and a known style that training
never saw together, and hidden concepts. A drawing of each goes to the **judge**, which
guided nothing: where does the right caption stand among the fifty? Beside it: how far
the samples are from the drawings of the training set, against real drawings that it
never saw.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ... import clip, corpus, metrics
from ...dalle import drawings
from .dream import fewer

COUNT = 50


def styled(card: dict) -> str:
    return f"{card['style']} of {corpus.article(card['name'])}"


def captions(kept: dict, everything: corpus.Corpus) -> dict[str, list[str]]:
    """The two kinds of captions, drawn by lot before anything was tried."""
    pairs = [c for c in everything.cards if (c["concept"], c["style"]) in kept["test"]]
    rng = random.Random(2026)
    known = sorted({styled(c) for c in pairs})
    cards = corpus.load("unseen_concept", progress=False).cards
    hidden = sorted({f"emoji of {corpus.article(c['name'])}" for c in cards})
    return {
        "pair never seen": rng.sample(known, COUNT),
        "hidden concepts": rng.sample(hidden, COUNT),
    }


def small(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> (N, 768), to compare pixel by pixel."""
    x = F.interpolate(pictures, size=(16, 16), mode="bilinear", antialias=True)
    return x.flatten(1) / 768**0.5


def whole(split) -> Tensor:
    """The drawings of a split on white, (N, 768)."""
    g, rgba = torch.Generator(), split.rgba
    parts = rgba.split(512)
    return torch.cat(
        [small(drawings.whole_views(p, g, move=0) / 2 + 0.5) for p in parts]
    )


def ranks(judge: clip.Embedder, pictures: Tensor, told: list[str]) -> Tensor:
    """Where the right caption stands among all, 0 the first: (N,) for N pictures."""
    seen = judge.embed_images((pictures * 255).round().byte())
    return metrics.ranks(seen, judge.embed_texts(told), torch.eye(len(told)).bool())


def show(models: list[str], name: str, load, draw, how: str) -> None:
    """Print the table; a last number among ``models`` asks for fewer seeds.

    ``name``: the model that is measured where none is named; ``load``: name -> model;
    ``draw``: (model, caption, seed) -> picture (3, H, W); ``how``: what it does, for
    the heading.
    """
    models, seeds = fewer(models)
    ready = [(each, load(each)) for each in models or [name]]  # before the work
    judge = clip.load("judge")
    everything, shown, kept = drawings.load()
    bank = whole(shown)
    test = everything.select(lambda c: (c["concept"], c["style"]) in kept["test"])
    real = torch.cdist(whole(test), bank).min(1).values
    copy = real.quantile(0.05)  # nearer than nearly every real new drawing
    print(f"{COUNT} captions, {len(seeds)} seeds, {how}; chance 2 and 10 %")
    for each, model in ready:
        for kind, told in captions(kept, everything).items():
            found, pictures = [], []
            for seed in seeds:
                rows = [
                    draw(model, caption, 1000 * seed + n).cpu()
                    for n, caption in enumerate(tqdm(told, f"{kind}, seed {seed}"))
                ]
                pictures.append(torch.stack(rows))
                found.append(ranks(judge, pictures[-1], told))
            near = torch.cdist(small(torch.cat(pictures)), bank).min(1).values
            row = [metrics.recall_at(torch.cat(found), k) for k in (1, 5)]
            row.append((near < copy).float().mean().item())
            print(f"{each:8s}{kind:18s} top 1 {row[0]:.0%}  top 5 {row[1]:.0%}  "
                  f"near-copies {row[2]:.0%} (of real new drawings 5 %)")  # fmt: skip
