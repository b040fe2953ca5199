"""Colours and their names: what colour a drawing has, and drawings in other colours.

Dims: B batch, H/W pixels. Works on the CPU and on a GPU alike.
"""

import torch
from torch import Tensor

NAMES = "black white grey red orange yellow green blue purple pink brown".split()
NAMES_FA = "سیاه سفید خاکستری قرمز نارنجی زرد سبز آبی بنفش صورتی قهوه‌ای".split()
PLAIN = torch.tensor(  # one typical sRGB value of each name
    [
        (0.05, 0.05, 0.05),
        (1.0, 1.0, 1.0),
        (0.5, 0.5, 0.5),
        (0.87, 0.13, 0.13),
        (0.97, 0.55, 0.1),
        (0.99, 0.85, 0.15),
        (0.25, 0.66, 0.25),
        (0.15, 0.42, 0.88),
        (0.55, 0.25, 0.72),
        (0.97, 0.55, 0.72),
        (0.48, 0.3, 0.16),
    ]
)
TURNS = 12  # steps of the hue circle that a drawing can be turned by


def hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, H, W) in [0, 1] -> hue in [0, 1), saturation, value, each (B, H, W)."""
    value, top = rgb.max(1)
    spread = value - rgb.min(1).values
    safe = spread.clamp(min=1e-6)
    r, g, b = rgb.unbind(1)
    hue = torch.where(
        top == 0,
        (g - b) / safe,
        torch.where(top == 1, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )
    return (hue / 6) % 1, spread / value.clamp(min=1e-6), value


def turn(rgb: Tensor, by: Tensor) -> Tensor:
    """Turn the hue of (B, 3, H, W) in [0, 1] by ``by`` (B,) of the circle."""
    hue, saturation, value = hsv(rgb)
    hue = (hue + by.view(-1, 1, 1)) % 1
    k = torch.tensor([5.0, 3.0, 1.0], device=rgb.device).view(1, 3, 1, 1)
    k = (k + hue[:, None] * 6) % 6
    fall = torch.minimum(k, 4 - k).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * fall)


def name_pixels(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, H, W), for each pixel its place in ``NAMES``."""
    hue, s, v = hsv(rgb)
    degrees = hue * 360
    out = torch.full_like(degrees, NAMES.index("red"), dtype=torch.long)
    for name, low, high in (
        ("orange", 16, 42),
        ("yellow", 42, 68),
        ("green", 68, 168),
        ("blue", 168, 258),
        ("purple", 258, 305),
        ("pink", 305, 340),
    ):
        out[(degrees >= low) & (degrees < high)] = NAMES.index(name)
    light = (degrees >= 300) | (degrees < 14)
    out[light & (s < 0.55) & (v > 0.75)] = NAMES.index("pink")
    warm = (degrees < 45) | (degrees >= 345)
    out[warm & (degrees >= 8) & (degrees < 45) & (v < 0.68)] = NAMES.index("brown")
    out[warm & (v < 0.45)] = NAMES.index("brown")
    out[(s < 0.13)] = NAMES.index("grey")
    out[(s < 0.1) & (v > 0.9)] = NAMES.index("white")
    out[(v < 0.2) | ((s < 0.25) & (v < 0.28))] = NAMES.index("black")
    return out


def main_colour(rgba: Tensor, least: float = 0.55) -> Tensor:
    """The colour that a drawing has: (B, 4, H, W) uint8 -> (B,) places in ``NAMES``.

    -1 where no name covers the share ``least`` of it. Black and white say nothing where
    they only draw lines and eyes (under 35 % of the drawing).
    """
    x = rgba.float() / 255
    named = name_pixels(x[:, :3])
    solid = x[:, 3] > 0.5
    shares = torch.stack(
        [((named == i) & solid).flatten(1).sum(1) for i in range(len(NAMES))], 1
    ).float()
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
    for name in ("black", "white"):
        at = NAMES.index(name)
        shares[:, at] = torch.where(shares[:, at] < 0.35, 0.0, shares[:, at])
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
    best, which = shares.max(1)
    return torch.where(best >= least, which, -1)


@torch.no_grad()
def turned_colours(rgba: Tensor, least: float = 0.55) -> Tensor:
    """Main colours after each turn of the hue: (N, 4, H, W) uint8 -> (N, TURNS).

    Column t is the drawing turned by t / TURNS of the circle; -1 as in ``main_colour``.
    """
    out = []
    for part in rgba.split(512):
        x = part[:, :, ::2, ::2].float() / 255
        columns = []
        for step in range(TURNS):
            by = torch.full((len(x),), step / TURNS, device=x.device)
            y = torch.cat([turn(x[:, :3], by), x[:, 3:]], 1)
            columns.append(main_colour((y * 255).round().to(torch.uint8), least))
        out.append(torch.stack(columns, 1))
    return torch.cat(out)


def turn_pictures(rgba: Tensor, steps: Tensor) -> Tensor:
    """(B, 4, H, W) uint8 turned by ``steps`` (B,) of ``TURNS``: the same shape."""
    x = rgba[:, :3].float() / 255
    y = (turn(x, steps.float() / TURNS) * 255).round().to(torch.uint8)
    y = torch.where((steps == 0).view(-1, 1, 1, 1), rgba[:, :3], y)
    return torch.cat([y, rgba[:, 3:]], 1)
