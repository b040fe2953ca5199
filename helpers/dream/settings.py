"""All that decides a dreamed picture, as plain data."""

import math
from dataclasses import dataclass, field

import torch

from . import cutouts

OPTIMISERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "radam": torch.optim.RAdam,
}


@dataclass(frozen=True)
class Settings:
    """All that decides a picture; the same settings give the same picture.

    Everything is plain data, so it fits into a PNG and comes back from it.
    """

    prompt: str = "a sunflower"  # "text:weight:stop | text", chapters parted by "^"
    seed: int = 0
    steps: int = 100
    width: int = 128
    height: int = 128
    drawer: str = "vqgan"  # or codes, pixel, lines, fourier
    options: dict = field(default_factory=dict)  # of the drawer, such as {"block": 8}
    guides: tuple = ("pocket", "scratch")  # CLIP models; several are averaged
    vqgan: str = "pocket"
    cuts: int = 8  # views a step
    recipe: str = "pixray"  # of cutouts.RECIPES
    optimiser: str = "adam"
    rate: float = 1.0  # factor on the learning rates of the drawer
    drops: tuple = (0.75,)  # shares of the steps after which the rate falls to a third
    canvases: str | tuple = "coarse"  # or (side, share of steps, rate) ..., see plan
    start: str | tuple = "white"  # or "noise", "gradient", a path, or rows of codes
    losses: dict = field(default_factory=dict)  # see losses.build
    pictures: tuple = ()  # picture prompts: (path, weight)
    noises: tuple = ()  # noise prompts: (seed, weight)
    spots: tuple = ()  # spot prompts: (text, path of a mask; white counts)
    overlay: tuple = ()  # (path, opacity, every how many steps)
    tile: bool = False  # wrap the picture around its edges
    every: int = 5  # steps between two previews
    bf16: bool = False  # half the precision: faster where the machine knows it


def check(s: Settings) -> None:
    """Raise ValueError with one sentence for settings that make no sense."""
    if int(s.steps) < 1:
        raise ValueError(f"At least one step is needed, not {s.steps}.")
    if int(s.cuts) < 1:
        raise ValueError(f"At least one cut is needed, not {s.cuts}.")
    if int(s.every) < 1:
        raise ValueError(f"Previews need every >= 1, not {s.every}.")
    for value, known, what in (
        (s.recipe, cutouts.RECIPES, "cutout recipe"),
        (s.optimiser, OPTIMISERS, "optimiser"),
    ):
        if value not in known:
            raise ValueError(
                f'There is no {what} "{value}"; choose from {", ".join(known)}.'
            )
    plan(s)
    if not s.guides:
        raise ValueError("No guide is named: at least one CLIP model must look.")
    if isinstance(s.start, tuple) and s.drawer not in ("vqgan", "codes"):
        raise ValueError(
            f'A code grid starts the drawers "vqgan" and "codes", not "{s.drawer}".'
        )


@dataclass(frozen=True)
class Canvas:
    """One size on which is drawn for a while: pixels, steps, factor on the rates."""

    width: int
    height: int
    steps: int
    rate: float


COARSE = {  # how many halvings, then (share of the steps, rate) from coarse to fine
    1: ((0.5, 1.0), (0.5, 0.5)),
    2: ((0.4, 1.0), (0.3, 0.5), (0.3, 0.4)),
}


def plan(s: Settings) -> list[Canvas]:
    """The canvases of a run, from coarse to fine; one if ``s.canvases`` is empty.

    Few codes force large shapes; a finer canvas then adds the edges. Each canvas is
    (side, share, rate): the longer side in pixels, the share of the steps, the factor
    on the learning rates. "coarse" halves the size once, above 160 pixels twice; a run
    that starts from a grid of codes stays on one. Raises ValueError with one sentence
    for a plan that makes no sense.
    """
    long = max(s.width, s.height)
    rows = s.canvases
    if rows == "coarse" and isinstance(s.start, tuple):
        rows = ()  # a grid of codes has a size of its own
    if rows == "coarse":
        halvings = 1 if long <= 160 else 2
        sides = [long // 2**n for n in range(halvings, -1, -1)]
        rows = [(a, *b) for a, b in zip(sides, COARSE[halvings], strict=True)]
    if isinstance(rows, str) or not hasattr(rows, "__iter__"):
        raise ValueError(
            f'The canvases are "coarse" or rows of (side, share, rate), not {rows!r}.'
        )
    rows = [tuple(row) if hasattr(row, "__iter__") else (row,) for row in rows]
    if not rows:
        rows = [(long, 1.0, 1.0)]
    for row in rows:
        numbers = all(
            isinstance(n, (int, float)) and not isinstance(n, bool) for n in row
        )
        if len(row) != 3 or not numbers or not all(map(math.isfinite, row)):
            raise ValueError(
                f"A canvas is (side, share of the steps, rate), three numbers: {row!r}."
            )
        if row[0] < 1 or not 0 < row[1] <= 1 or row[2] <= 0:
            raise ValueError(
                "A canvas has a side of 1 pixel or more, a share above 0 and at most "
                f"1, and a rate above 0: {row!r}."
            )
    sides, shares = [row[0] for row in rows], [row[1] for row in rows]
    if sides != sorted(sides):
        raise ValueError(f"The canvases must grow, but their sides are {sides}.")
    if sides[-1] != long:
        raise ValueError(
            f"The last canvas must have the size of the picture, {long} pixels, not "
            f"{sides[-1]}."
        )
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"The shares of the steps must sum to 1, not {sum(shares):g}.")
    if s.steps < len(rows):
        raise ValueError(f"{len(rows)} canvases need as many steps, not {s.steps}.")
    ends = [round(s.steps * sum(shares[: n + 1])) for n in range(len(rows))]
    steps = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    if min(steps) < 1:
        raise ValueError(f"Of {s.steps} steps a canvas would get none: {shares}.")
    out = []
    for (side, _, rate), count in zip(rows, steps, strict=True):
        width, height = s.width, s.height
        if side != long:
            width, height = (max(1, round(n * side / long)) for n in (width, height))
        out.append(Canvas(width, height, count, rate))
    return out
