"""The canvas that all drawers share: a size, a way to fit pictures, a gentle clamp.

Dims: H/W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import to_tensor
from .packed import unpack


class Clamp(torch.autograd.Function):
    """Clamp to [low, high]; the gradient passes where it leads back inside."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        inside = (grad * (x - x.clamp(ctx.low, ctx.high))) >= 0
        return grad * inside, None, None


class Drawer:
    """What all drawers share. ``size``: (width, height) in pixels.

    A subclass has ``start(g)``, ``parameters()`` (groups with a learning rate ``lr`` of
    their own), ``draw()`` -> (1, 3, H, W) in [0, 1], ``paint(picture)`` (go on from a
    picture) and, if need be, ``hold()`` (after each step: stay in range).
    """

    unit = 1  # width and height are multiples of this
    tile = False  # True: what is drawn should fit its own opposite edge

    def __init__(self, size: tuple, device):
        self.width, self.height = check_size(size, self.unit)
        self.device = torch.device(device)

    def start(self, g: torch.Generator) -> None:
        """Set the parameters to noise from a CPU generator."""
        raise NotImplementedError

    def keep(self, **values: Tensor) -> None:
        """Give parameters their values by name.

        What is there already is written in place, so that an optimiser knows it still.
        """
        for name, value in values.items():
            value = value.detach().to(self.device, torch.float32)
            if (old := getattr(self, name, None)) is None:
                setattr(self, name, value.clone().requires_grad_(True))
            else:
                with torch.no_grad():
                    old.copy_(value)

    def white(self) -> None:
        """Begin with an empty sheet."""
        self.paint(torch.ones(1, 3, self.height, self.width, device=self.device))

    def repaint(self, picture: Tensor) -> None:
        """Go on from a picture in the middle of a run."""
        self.paint(picture)

    def carry(self, old: "Drawer") -> None:
        """Go on from what another drawer, of any size, has drawn."""
        with torch.no_grad():
            self.paint(old.draw())

    def take(self, rows: tuple) -> None:
        """Begin from what ``rows`` gave, or from rows of codes that a reader typed."""
        raise ValueError("This drawer starts from a picture, not from rows of numbers.")

    def rows(self) -> tuple | None:
        """What is drawn, as rows of numbers; None if the picture says it all."""
        return None

    def hold(self) -> None:
        """Bring the parameters back into their range, after an optimiser step."""

    def fit(self, picture: Tensor) -> Tensor:
        """A picture (1, 3, any, any) in [0, 1] in the size of the drawer."""
        shape = (self.height, self.width)
        x = picture.to(self.device, torch.float32)
        if x.shape[-2:] != shape:
            x = F.interpolate(x, shape, mode="bicubic", antialias=True)
        return x.clamp(0, 1)

    def read(self, path) -> Tensor:
        """A picture, a path or packed, in the size of the drawer: (1, 3, H, W)."""
        return self.fit(to_tensor(unpack(path))[None])


def check_size(size: tuple, unit: int) -> tuple[int, int]:
    """(width, height), rounded to multiples of ``unit``; ValueError if absurd."""
    try:
        width, height = (int(n) for n in size)
    except (TypeError, ValueError):
        raise ValueError(
            f"A size is (width, height) in pixels, not {size!r}."
        ) from None
    if min(width, height) < 1:
        raise ValueError(f"The size {width} x {height} leaves nothing to draw on.")
    if width * height > 4096 * 4096:
        raise ValueError(
            f"The size {width} x {height} is more than 16 million pixels; draw smaller "
            "and enlarge the result."
        )
    return tuple(max(unit, round(n / unit) * unit) for n in (width, height))
