"""Where a drawing starts: noise, white, a gradient, a picture, or a grid of codes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Start:
    """A picture (1, 3, H, W) in [0, 1], or codes (1, h, w); neither means noise."""

    picture: Tensor | None = None
    codes: Tensor | None = None

    def put(self, drawer) -> Tensor | None:
        """Put it into a drawer; returns the picture that it stands for, if any."""
        if self.codes is not None:
            drawer.from_codes(self.codes)
            with torch.no_grad():
                return drawer.draw()
        if self.picture is not None:
            drawer.paint(self.picture)
        return self.picture


def begin(start, drawer, g: torch.Generator) -> Start:
    """The start of a setting: "noise", "white", "gradient", a path, rows of codes.

    ``g`` draws the two colours of a gradient. Raises ValueError with one sentence for
    a picture or a grid that does not fit.
    """
    if start == "noise":
        return Start()
    if isinstance(start, tuple):
        return Start(codes=grid(start, drawer))
    if start == "white":
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


def grid(rows: tuple, drawer) -> Tensor:
    """Rows of codes for a drawer with a VQGAN, (1, h, w), checked."""
    h, w = drawer.height // drawer.unit, drawer.width // drawer.unit
    if len(rows) != h or any(len(row) != w for row in rows):
        raise ValueError(
            f"The code grid of this size has {h} rows of {w} codes; yours has "
            f"{len(rows)} rows of {', '.join(map(str, {len(r) for r in rows}))}."
        )
    codes, count = torch.tensor(rows), drawer.vqgan.count
    if codes.is_floating_point() or codes.min() < 0 or codes.max() >= count:
        raise ValueError(f"The code grid must hold integers from 0 to {count - 1}.")
    return codes[None]
