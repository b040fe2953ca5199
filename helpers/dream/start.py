"""Where a drawing starts: noise, white, a gradient, a picture, or rows of numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Start:
    """A picture (1, 3, H, W) in [0, 1], or rows of a drawer; neither means noise."""

    picture: Tensor | None = None
    rows: tuple | None = None

    def put(self, drawer) -> Tensor | None:
        """Put it into a drawer; returns the picture that it stands for, if any."""
        if self.rows is not None:
            drawer.take(self.rows)
            with torch.no_grad():
                return drawer.draw()
        if self.picture is not None:
            drawer.paint(self.picture)
        return self.picture


def begin(start, drawer, g: torch.Generator) -> Start:
    """A start: "noise", "white", "dream", "gradient", a picture, rows of codes.

    A dream begins on white. A picture is a path or packed. ``g`` draws the two colours
    of a gradient. Raises ValueError with one sentence for a picture or rows that do not
    fit.
    """
    if start == "noise":
        return Start()
    if isinstance(start, tuple):
        return Start(rows=start)
    if start in ("white", "dream"):
        drawer.white()
        return Start()
    if start == "gradient":
        return Start(gradient(drawer.width, drawer.height, g).to(drawer.device))
    return Start(drawer.read(start))


def gradient(width: int, height: int, g: torch.Generator) -> Tensor:
    """Two random colours, from the top to the bottom: (1, 3, H, W) in [0, 1]."""
    ends = torch.rand(2, 3, 1, 1, generator=g)
    line = torch.linspace(0, 1, height).view(1, -1, 1)
    return (ends[0] * (1 - line) + ends[1] * line).expand(3, -1, width)[None]
