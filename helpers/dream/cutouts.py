"""Cutouts: many random views of one picture, so that CLIP cannot be fooled by one.

All views of a step are made in one pass: one homography a view, one ``grid_sample``.
Dims: N views, S pixels a side of a view, H/W pixels of the picture.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import GREY

FAST_SIZE = 128  # pixels of a view for EfficientNet guides, which read any size


@dataclass(frozen=True)
class Recipe:
    """How views are made. Shares and ranges, all chosen anew for each view.

    ``zoom``: share of views that are crops; the others show the whole picture (wide).
    """

    zoom: float = 0.6
    area: tuple = (0.25, 0.95)  # of the picture that a crop keeps
    ratio: tuple = (0.85, 1.2)  # width : height of a crop
    wide: tuple = (0.9, 1.25)  # scale of a wide view; above 1 grey shows around it
    bend: float = 0.3  # strength of the perspective of crops; wide views get half
    mirror: float = 0.5  # share of views that are mirrored
    colour: float = 0.1  # how far saturation and hue may go
    noise: float = 0.05  # strongest pixel noise


RECIPES = {
    "pixray": Recipe(),  # crops and wide views, as Pixray mixes them
    "crops": Recipe(zoom=1.0, bend=0.0, colour=0.0, noise=0.0),  # Crowson's first
    "wide": Recipe(zoom=0.0),
    "none": Recipe(
        zoom=0.0, wide=(1.0, 1.0), bend=0.0, mirror=0.0, colour=0.0, noise=0.0
    ),
}


def homographies(count: int, size: tuple, recipe: Recipe, g: torch.Generator) -> Tensor:
    """(N, 3, 3): where each point of a view, in [-1, 1], lies in the picture.

    ``size``: (H, W) of the picture.
    """

    def rand(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=g) * (high - low) + low

    H, W = size
    crop = torch.arange(count) < round(recipe.zoom * count)
    area, ratio = (
        rand(*recipe.area),
        rand(math.log(recipe.ratio[0]), math.log(recipe.ratio[1])).exp(),
    )
    # a square view of `area` of the picture; half widths in units of the picture
    side = (area * H * W).sqrt()
    w = (side * ratio.sqrt() / W).clamp(max=1.0)
    h = (side / ratio.sqrt() / H).clamp(max=1.0)
    scale = rand(*recipe.wide)
    whole = max(H, W)
    w = torch.where(crop, w, scale * whole / W)
    h = torch.where(crop, h, scale * whole / H)
    free = torch.stack([(1 - w).clamp(min=0), (1 - h).clamp(min=0)], 1)
    centre = rand(-1, 1, 2) * free
    turn = torch.where(rand(0, 1) < recipe.mirror, -1.0, 1.0)
    bend = rand(-1, 1, 2) * recipe.bend * (rand(0, 1, 1) < 0.7)
    bend = torch.where(crop[:, None], bend, bend / 2)
    M = torch.zeros(count, 3, 3)
    M[:, 0, 0], M[:, 1, 1] = w * turn, h
    M[:, :2, 2] = centre
    M[:, 2, :2], M[:, 2, 2] = bend, 1.0
    # keep the centre of the view where it is: the bend acts around it
    M[:, :2] += (
        centre[:, :, None] * torch.cat([bend, torch.zeros(count, 1)], 1)[:, None]
    )
    return M


def views(
    picture: Tensor, count: int, size: int, recipe: Recipe, g: torch.Generator
) -> Tensor:
    """(1, 3, H, W) in [0, 1] -> (N, 3, S, S), about in [0, 1]; differentiable.

    What lies outside the picture is mid-grey. ``g`` is a CPU generator, so the same
    seed gives the same views on every device.
    """
    if picture.ndim != 4 or picture.shape[0] != 1:
        raise ValueError(f"Views are cut from one picture, not {tuple(picture.shape)}.")
    device = picture.device
    M = homographies(count, tuple(picture.shape[-2:]), recipe, g).to(device)
    line = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)  # (S * S, 3)
    where = points @ M.transpose(1, 2)  # (N, S * S, 3)
    where = where[..., :2] / where[..., 2:].clamp(min=0.1)
    grid = where.view(count, size, size, 2)
    source = shrink(picture, size)
    out = F.grid_sample(
        (source - 0.5).expand(count, -1, -1, -1),
        grid,
        align_corners=False,
        padding_mode="zeros",
    )
    return change_colours(out + 0.5, recipe, g)


def shrink(picture: Tensor, size: int) -> Tensor:
    """A picture much larger than its views is made smaller first (no aliasing)."""
    short = min(picture.shape[-2:])
    factor = short / (1.6 * size)
    if factor <= 1:
        return picture
    shape = [round(n / factor) for n in picture.shape[-2:]]
    return F.interpolate(picture, shape, mode="bilinear", antialias=True)


def change_colours(x: Tensor, recipe: Recipe, g: torch.Generator) -> Tensor:
    """Saturation, hue and noise, one draw a view: (N, 3, S, S) -> the same."""
    count, device = len(x), x.device
    if recipe.colour:
        pull = 1 + (torch.rand(count, 1, 1, 1, generator=g) * 2 - 1) * recipe.colour
        angle = (torch.rand(count, generator=g) * 2 - 1) * recipe.colour * math.pi
        grey = (x * torch.tensor(GREY, device=device).view(3, 1, 1)).sum(1, True)
        colour = torch.einsum("nij,njhw->nihw", turn_hue(angle).to(x), x - grey)
        x = grey + pull.to(x) * colour
    if recipe.noise:
        strength = torch.rand(count, 1, 1, 1, generator=g) * recipe.noise
        x = x + (strength * torch.randn(x.shape, generator=g)).to(x)
    return x


def turn_hue(angle: Tensor) -> Tensor:
    """(N,) radians -> (N, 3, 3): rotate RGB around the grey axis."""
    axis = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * torch.eye(3) + sin * cross + (1 - cos) * axis


def cut_size(guide) -> int:
    """Pixels a side of the views that a guide reads."""
    config = guide.model.config
    any_size = config.vision.startswith("effnet")
    return min(FAST_SIZE, config.image_size) if any_size else config.image_size


@torch.no_grad()
def whole(guide, picture: Tensor) -> Tensor:
    """(1, 3, H, W) in [0, 1] -> (D,), the whole picture as a guide or judge sees it."""
    size = guide.model.config.image_size
    x = picture.float()
    H, W = x.shape[-2:]
    if H != W:  # a grey mount makes it square
        side = max(H, W)
        pad = (side - W) // 2, side - W - (side - W) // 2
        pad += (side - H) // 2, side - H - (side - H) // 2
        x = F.pad(x, pad, value=0.5)
    if x.shape[-1] != size:
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    with guide.precision():
        return guide.model.encode_image(x.to(guide.device))[0].float()
