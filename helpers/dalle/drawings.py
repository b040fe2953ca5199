"""What the small DALL-Es learn from: whole drawings on white, and who may see which.

Dims: B batch, N drawings, S pixels a side.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import corpus, paths

NAMES = paths.DATA / "prompts/drawn_names.txt"  # workshop.corpus.names writes it


def pairs(cards: list[dict], seed: int = 7) -> dict[str, set]:
    """Pairs of concept and style kept out of every DALL-E: {"test": ..., "dev": ...}.

    Of the pairs whose concept at least three styles draw, 5 % are the test and 3 % are
    for choices. No two of them share a concept.
    """
    styles: dict[str, set] = {}
    for c in cards:
        if c["source"] != "openclipart":
            styles.setdefault(c["concept"], set()).add(c["style"])
    rng = random.Random(seed)
    many = sorted(k for k, v in styles.items() if len(v) >= 3)
    total = sum(len(styles[k]) for k in many)
    rng.shuffle(many)
    chosen = [(k, rng.choice(sorted(styles[k]))) for k in many]
    test, dev = int(0.05 * total), int(0.03 * total)
    return {"test": set(chosen[:test]), "dev": set(chosen[test : test + dev])}


def whole_views(
    rgba: Tensor, g: torch.Generator, plain: float = 0.0, move: float = 1.0
) -> Tensor:
    """(B, 4, S, S) uint8 -> (B, 3, S, S) in [-1, 1]: mirrored, moved, on white.

    ``plain``: share that stands on a plain colour instead. ``move`` 0: as drawn.
    """
    B, device = len(rgba), rgba.device

    def rand(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(B, *shape, generator=g) * (high - low) + low).to(device)

    x = rgba.float() / 255
    x = torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)
    if move:
        zoom = 1 / rand(1 - 0.2 * move, 1 + 0.08 * move)
        mirror = torch.where(rand(0, 1) < 0.5, -1.0, 1.0)
        shift, zero = rand(-0.1, 0.1, 2) * move, torch.zeros(B, device=device)
        rows = [zoom * mirror, zero, shift[:, 0], zero, zoom, shift[:, 1]]
        theta = torch.stack(rows, 1).view(B, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
    colour = rand(0, 1, 3, 1, 1)
    ground = torch.where(rand(0, 1, 1, 1, 1) < plain, colour, torch.ones_like(colour))
    return ((x[:, :3] + ground * (1 - x[:, 3:])) * 2 - 1).clamp(-1, 1)


def load(size: int = 128) -> tuple[corpus.Corpus, corpus.Corpus, dict[str, set]]:
    """(all drawings, those that may be learnt from, the pairs kept out)."""
    split = corpus.without_silhouettes(corpus.load("train", size=size))
    kept = pairs(split.cards)
    out = kept["test"] | kept["dev"]
    shown = split.select(lambda c: (c["concept"], c["style"]) not in out)
    return split, shown, kept


def names() -> list[str]:
    """The names of all that DALL-E 2 learnt to draw, sorted.

    Raises FileNotFoundError with one sentence.
    """
    if not NAMES.is_file():
        raise FileNotFoundError(f"There is no list of names at {NAMES}.")
    return NAMES.read_text("utf-8").split("\n")
