"""What the settings of a dream name: the picture to start from, and further wishes.

``dream`` is a ``helpers.dream.Dream`` whose drawer and guides are there already.
"""

from dataclasses import replace

import torch
from torch import Tensor

from . import corpus, prompts
from .prompts import Prompt


def read(dream, path) -> Tensor:
    """A picture file in the size of the drawer, (1, 3, H, W)."""
    from torchvision.transforms.functional import pil_to_tensor

    picture = corpus.read_picture(path)
    return dream.drawer.fit(pil_to_tensor(picture)[None].float() / 255)


def starting_picture(dream) -> Tensor | None:
    """The picture to start from, (1, 3, H, W) in [0, 1]; None for noise.

    A code grid is put into the drawer at once.
    """
    start = dream.settings.start
    if start == "noise":
        return None
    if isinstance(start, tuple):
        dream.drawer.from_codes(grid(dream, start))
        with torch.no_grad():
            return dream.drawer.draw()
    if start == "gradient":  # two random colours, from the top to the bottom
        ends = torch.rand(2, 3, 1, 1, generator=dream.g)
        line = torch.linspace(0, 1, dream.drawer.height).view(1, -1, 1)
        x = ends[0] * (1 - line) + ends[1] * line
        x = x.expand(3, -1, dream.drawer.width)[None]
        return dream.drawer.fit(x)
    return read(dream, start)


def grid(dream, rows: tuple) -> Tensor:
    """A code grid of the settings, (1, h, w), checked."""
    h, w = (
        dream.drawer.height // dream.drawer.unit,
        dream.drawer.width // dream.drawer.unit,
    )
    if len(rows) != h or any(len(row) != w for row in rows):
        raise ValueError(
            f"The code grid of this size has {h} rows of {w} codes; yours has "
            f"{len(rows)} rows of {', '.join(map(str, {len(r) for r in rows}))}."
        )
    codes, count = torch.tensor(rows), dream.drawer.vqgan.count
    if codes.is_floating_point() or codes.min() < 0 or codes.max() >= count:
        raise ValueError(f"The code grid must hold integers from 0 to {count - 1}.")
    return codes[None]


def wishes(dream) -> list[Prompt]:
    """Picture prompts, noise prompts and spot prompts of the settings."""
    out = [Prompt(str(p), w, picture=p) for p, w in dream.settings.pictures]
    for seed, weight in dream.settings.noises:
        size = dream.guides[0].model.config.embed
        out.append(prompts.noise_prompt(seed, size, weight))
    for text, path in dream.settings.spots:
        mask = read(dream, path).mean((0, 1))  # (H, W)
        if mask.max() < 0.02:
            raise ValueError(f"The mask {path} is black: no spot is left to see.")
        out += [replace(p, mask=mask) for p in prompts.parse(text)]
    return out
