"""Losses on the picture itself, beside the prompts: colour, smoothness, symmetry ...

Each takes pictures (1, 3, H, W) in [0, 1] and gives a scalar, 0 at best.
"""

import re
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import GREY
from ..values import number, one_of, quoted, short


def palette(picture: Tensor, colours: Tensor) -> Tensor:
    """Mean squared distance of each pixel to its nearest colour; colours (K, 3)."""
    pixels = picture.flatten(2)[0].T  # (H * W, 3)
    distance = torch.cdist(pixels, colours.to(pixels))  # (H * W, K)
    return distance.amin(1).square().mean()


def saturation(picture: Tensor) -> Tensor:
    """1 minus the mean colourfulness (spread of red, green, blue around their mean)."""
    return 1 - (picture - picture.mean(1, keepdim=True)).abs().mean() * 2


def smoothness(picture: Tensor) -> Tensor:
    """Total variation: mean squared difference of neighbours."""
    across = (picture[..., 1:] - picture[..., :-1]).square()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).square()
    parts = [x.mean() for x in (across, down) if x.numel()]
    return sum(parts, 0 * picture.sum())  # a single pixel has no neighbour


def symmetry(picture: Tensor) -> Tensor:
    """Mean squared difference of the picture and its mirror image."""
    return (picture - picture.flip(3)).square().mean()


def edges(picture: Tensor, strength: float = 0.25) -> Tensor:
    """How far the strongest outlines (Sobel) are from ``strength``; more is bolder."""
    grey = (picture * torch.tensor(GREY).to(picture).view(1, 3, 1, 1)).sum(1, True)
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).to(picture) / 4
    kernel = torch.stack([sobel, sobel.T])[:, None]
    found = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)
    size = found.square().sum(1).add(1e-8).sqrt().flatten()
    top = size.topk(max(1, len(size) // 10)).values.mean()
    return (strength - top).clamp(min=0).square() * 10


def stay(picture: Tensor, start: Tensor) -> Tensor:
    """Mean squared difference to the picture that it started from."""
    if start.shape[-2:] != picture.shape[-2:]:  # a canvas of another size
        start = F.interpolate(start, picture.shape[-2:], mode="area")
    return (picture - start).square().mean()


PLAIN = {
    "saturation": saturation,
    "smoothness": smoothness,
    "symmetry": symmetry,
    "edges": edges,
}


def colours(text) -> Tensor:
    """ "#ff8800, navy, ..." or a list of names -> (K, 3) in [0, 1].

    Raises ValueError with one sentence for an unknown colour, or if there are fewer
    than two.
    """
    from PIL import ImageColor

    names = re.split(r"[,;،]\s*", text) if isinstance(text, str) else text
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(n, str) for n in names
    ):
        raise ValueError(
            f'A palette is names of colours, such as "navy, gold", not {short(text)}.'
        )
    names = [n.strip() for n in names if n.strip()]
    out = []
    for name in names:
        try:
            out.append(ImageColor.getrgb(name)[:3])
        except ValueError:
            raise ValueError(
                f"{quoted(name)} is no colour: use a name such as navy, or #rrggbb."
            ) from None
    if len(set(out)) < 2:
        raise ValueError(
            "A palette needs at least two colours, or the picture would be one plane."
        )
    if len(out) > 256:
        raise ValueError(f"A palette has at most 256 colours, not {len(out)}.")
    return torch.tensor(out) / 255


def check(weights) -> dict:
    """The same losses as plain data: {name: weight, "palette": (weight, colours)}.

    Weights may be below 0: the picture then goes the other way. Raises ValueError with
    one sentence for an unknown name, a weight that is no finite number, a bad palette.
    """
    if not isinstance(weights, dict):
        raise ValueError(
            f'losses is a dict such as {{"symmetry": 1.0}}, not {short(weights)}.'
        )
    out = {}
    for name, value in weights.items():
        one_of("loss", name, (*PLAIN, "palette", "stay"))
        weight = value
        if name == "palette":
            pair = isinstance(value, (list, tuple)) and len(value) == 2
            if not pair:
                raise ValueError(
                    'The palette is given as (weight, "navy, gold, ..."), not '
                    f"{short(value)}."
                )
            weight, names = value
            colours(names)
        weight = number(f'The weight of "{name}"', weight, -1e6, 1e6)
        out[name] = weight
        if name == "palette":
            out[name] = (weight, names if isinstance(names, str) else tuple(names))
    return out


def build(weights: dict, start: Tensor | None) -> dict:
    """Losses by name -> {name: (weight, function of the picture)}.

    weights: such as {"symmetry": 1.0, "palette": (2.0, "navy, gold"), "stay": 0.5}.
    ``start``: the picture (1, 3, H, W) that "stay" stays near. Raises ValueError with
    one sentence, as ``check`` does.
    """
    out = {}
    for name, weight in check(weights).items():
        if name == "palette":
            weight, names = weight
            function = partial(palette, colours=colours(names))
        elif name == "stay":
            if start is None:
                raise ValueError(
                    '"stay" needs a picture to start from: start="horse.jpg".'
                )
            function = partial(stay, start=start)
        else:
            function = PLAIN[name]
        out[name] = (weight, function)
    return out
