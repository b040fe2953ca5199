"""All that decides a dreamed picture, as plain data."""

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
    steps: int = 150
    width: int = 128
    height: int = 128
    drawer: str = "vqgan"  # or codes, pixel, lines, fourier
    options: dict = field(default_factory=dict)  # of the drawer, such as {"block": 8}
    guides: tuple = ("pocket",)  # CLIP models; several are averaged
    vqgan: str = "pocket"
    cuts: int = 8  # views a step
    recipe: str = "pixray"  # of cutouts.RECIPES
    optimiser: str = "adam"
    rate: float = 1.0  # factor on the learning rates of the drawer
    drops: tuple = (0.75,)  # shares of the steps after which the rate falls to a third
    start: str | tuple = "noise"  # or "gradient", a picture's path, or rows of codes
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
    if not s.guides:
        raise ValueError("No guide is named: at least one CLIP model must look.")
    if isinstance(s.start, tuple) and s.drawer not in ("vqgan", "codes"):
        raise ValueError(
            f'A code grid starts the drawers "vqgan" and "codes", not "{s.drawer}".'
        )
