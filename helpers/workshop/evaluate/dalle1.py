"""Does DALL-E 1 draw what it is told? ``python -m helpers.workshop.evaluate dalle1``.

Fifty captions of two kinds: pairs of a known concept and a known style that training
never saw together, and hidden concepts. For each the best of sixteen, chosen by
``pocket``, goes to the **judge**, which chose nothing: where does the right caption
stand among the fifty? Beside it: how far the samples are from the drawings of the
training set, against real drawings that it never saw.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ... import clip, corpus, metrics
from ...dalle import dalle1, drawings

COUNT, SEEDS, DRAWN = 50, (0, 1, 2), 16


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


def show(models: list[str], seeds=SEEDS) -> None:
    """Print the table; a last number asks for fewer seeds."""
    if models and models[-1].isdigit():
        *models, count = models
        seeds = SEEDS[: int(count)]
    eyes, judge = clip.load("pocket"), clip.load("judge")
    everything, shown, kept = drawings.load()
    bank = whole(shown)
    test = everything.select(lambda c: (c["concept"], c["style"]) in kept["test"])
    real = torch.cdist(whole(test), bank).min(1).values
    copy = real.quantile(0.05)  # nearer than nearly every real new drawing
    print(f"{COUNT} captions, {len(seeds)} seeds, best of {DRAWN}; chance 2 and 10 %")
    for name in models or ["dalle1"]:
        dalle = dalle1.load(name)
        for kind, told in captions(kept, everything).items():
            wishes, ranks, pictures = judge.embed_texts(told), [], []
            for seed in seeds:
                for n, caption in enumerate(tqdm(told, f"{kind}, seed {seed}")):
                    best, _ = dalle.best_of(caption, DRAWN, eyes, seed=1000 * seed + n)
                    seen = judge.embed_images((best[:1] * 255).round().byte())
                    scores = (seen @ wishes.T)[0]
                    ranks.append(int((scores > scores[n]).sum()))
                    pictures.append(best[0].cpu())
            ranks = torch.tensor(ranks)
            near = torch.cdist(small(torch.stack(pictures)), bank).min(1).values
            row = [metrics.recall_at(ranks, k) for k in (1, 5)]
            row.append((near < copy).float().mean().item())
            print(f"{name:8s}{kind:18s} top 1 {row[0]:.0%}  top 5 {row[1]:.0%}  "
                  f"near-copies {row[2]:.0%} (of real new drawings 5 %)")  # fmt: skip
