"""Random views of RGBA pictures for training, the whole batch at once.

Dims: B batch, S output pixels a side. Everything random comes from one generator.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import GREY


def uniform(shape: tuple, g: torch.Generator, device) -> Tensor:
    """Numbers in [0, 1) from a generator of whichever device, on ``device``."""
    return torch.rand(shape, generator=g, device=g.device).to(device)


def backgrounds(count: int, size: int, g: torch.Generator, device="cpu") -> Tensor:
    """(count, 3, S, S) float in [0, 1]: half white, then plain colours and blurs."""
    kind = uniform((count, 1, 1, 1), g, device)
    plain = uniform((count, 3, 1, 1), g, device).expand(-1, -1, size, size)
    coarse = uniform((count, 3, 4, 4), g, device)
    blur = F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    fine = (
        uniform((count, 3, size // 8, size // 8), g, device) * 0.5
        + plain[:, :, :1, :1] * 0.5
    )
    fine = F.interpolate(fine, size=(size, size), mode="bilinear")
    out = torch.ones(count, 3, size, size, device=device)
    out = torch.where(kind < 0.55, plain, out)
    out = torch.where(kind < 0.35, blur, out)
    return torch.where(kind < 0.15, fine, out)


def random_views(
    rgba: Tensor,
    size: int,
    g: torch.Generator,
    strength: float = 1.0,
    keep_colours: bool = False,
) -> Tensor:
    """(B, 4, H, W) uint8 -> (B, 3, S, S) float in [0, 1], a new view each time.

    A view is scaled (0.55 to 1.2), moved, turned (to 20 degrees), stretched and
    sometimes mirrored, laid on a random background, then changed in colour, contrast
    and sharpness. ``strength`` 0 leaves only the resize and a white background.
    ``keep_colours``: brightness and contrast change a little, hue and saturation stay,
    so that a caption may name the colour. Works on the device of ``rgba``.
    """
    B, device = len(rgba), rgba.device

    def rand(low: float, high: float, *shape: int) -> Tensor:
        return uniform((B, *shape), g, device) * (high - low) + low

    x = rgba.float() / 255
    x = torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)  # premultiplied
    if strength == 0:
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        return (x[:, :3] + 1 - x[:, 3:]).clamp(0, 1)
    zoom = 1 / rand(1 - 0.45 * strength, 1 + 0.2 * strength)
    angle = rand(-0.35, 0.35) * strength * (rand(0, 1) < 0.6)
    mirror = torch.where(rand(0, 1) < 0.5, -1.0, 1.0)
    stretch = 1 + rand(-0.18, 0.18) * strength
    move = rand(-0.2, 0.2, 2) * strength
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * zoom * mirror * stretch, -sin * zoom, move[:, 0]]
    rows += [sin * zoom * mirror, cos * zoom / stretch, move[:, 1]]
    theta = torch.stack(rows, 1).view(B, 2, 3)
    if size * 1.5 < x.shape[-1]:  # shrink first, so that nothing is aliased
        small = round(size * 1.25)
        x = F.interpolate(x, size=(small, small), mode="bilinear", antialias=True)
    grid = F.affine_grid(theta, (B, 4, size, size), align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    x = x[:, :3] + (1 - x[:, 3:]) * backgrounds(B, size, g, device)
    if keep_colours:
        strength = 0.4 * strength
    else:
        grey = torch.tensor(GREY, device=device).view(1, 3, 1, 1)
        grey = (x * grey).sum(1, keepdim=True)
        colour = torch.where(rand(0, 1) < 0.15, 0.0, rand(0.5, 1.5))
        colour = colour[:, None, None, None]
        x = grey + (x - grey) * (1 + (colour - 1) * strength)
    tint = 1 + rand(-0.15, 0.15, 3, 1, 1) * strength
    x = (x - 0.5) * (1 + rand(-0.4, 0.3, 1, 1, 1) * strength) + 0.5
    x = x * tint + rand(-0.12, 0.12, 1, 1, 1) * strength
    blur = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    sharp = rand(-1.0, 1.0, 1, 1, 1) * (rand(0, 1, 1, 1, 1) < 0.5)
    return (x + sharp * strength * (x - blur)).clamp(0, 1)


def framed(x: Tensor, g: torch.Generator, share: float = 0.2) -> Tensor:
    """Shrink a share of the pictures (B, 3, S, S) onto a ground, most with a frame.

    They become 0.35 to 0.8 as wide and stand anywhere; two grounds of three are white.
    Others are blurred. The rest stays as it is.
    """
    B, device = len(x), x.device

    def rand(*shape: int) -> Tensor:
        return uniform((B, *shape), g, device)

    wide = 0.35 + 0.45 * rand()
    move = (rand(2) * 2 - 1) * (1 - wide[:, None])  # keeps it inside
    nil = torch.zeros_like(wide)
    rows = [1 / wide, nil, -move[:, 0] / wide, nil, 1 / wide, -move[:, 1] / wide]
    grid = F.affine_grid(
        torch.stack(rows, 1).view(B, 2, 3), x.shape, align_corners=False
    )
    small = F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True)
    inside = F.grid_sample(small, grid, padding_mode="border", align_corners=False)
    edge = grid.abs().amax(-1)[:, None]  # 1 at the border of the picture
    white = rand(1, 1, 1) < 0.67
    ground = torch.where(white, torch.ones_like(x[:, :, :1, :1]), rand(3, 1, 1))
    line = rand(3, 1, 1) * (rand(1, 1, 1) < 0.6)  # most are black
    thick = 0.12 * rand(1, 1, 1) * (rand(1, 1, 1) < 0.6)
    out = torch.where(edge < 1 + thick, line, ground)
    out = torch.where(edge < 1, inside, out)
    soft = F.interpolate(x, scale_factor=0.25, mode="bilinear", antialias=True)
    soft = F.interpolate(soft, size=x.shape[-2:], mode="bilinear")
    kind = rand(1, 1, 1)
    x = torch.where(kind < share, out, x)
    return torch.where(kind > 1 - share / 4, soft, x).clamp(0, 1)


def crops(rgba: Tensor, size: int, g: torch.Generator) -> Tensor:
    """(B, 4, H, W) uint8 -> (B, 3, size, size) in [-1, 1]: a random cut, mostly white.

    Three in ten stand on a random colour instead; half are mirrored.
    """
    B, _, H, W = rgba.shape
    x = rgba.float() / 255
    colour = uniform((B, 3, 1, 1), g, x.device)
    plain = uniform((B, 1, 1, 1), g, x.device) < 0.3
    ground = torch.where(plain, colour, torch.ones_like(colour))
    x = x[:, :3] * x[:, 3:] + ground * (1 - x[:, 3:])
    top, left = (torch.randint(n - size + 1, (B,), generator=g) for n in (H, W))
    x = torch.stack(
        [
            picture[:, t : t + size, s : s + size]
            for picture, t, s in zip(x, top.tolist(), left.tolist(), strict=True)
        ]
    )
    mirror = torch.rand(B, generator=g) < 0.5
    x[mirror] = x[mirror].flip(3)
    return x * 2 - 1
