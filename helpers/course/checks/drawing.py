"""Exercises of 06 (Pixray's drawers)."""

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def mirror_loss(function) -> None:
    """06, exercise 1: how far a picture is from its mirror image."""

    def oracle(picture):
        rows = picture[0].double().tolist()  # channels, rows, pixels
        squares = [
            (a - b) ** 2
            for channel in rows
            for row in channel
            for a, b in zip(row, reversed(row), strict=True)
        ]
        return sum(squares) / len(squares)

    d = Draw()
    shapes = ((4, 4), (5, 8), (8, 5), (1, 6), (6, 1), (1, 1), (7, 7), (3, 2))
    cases = [(d.colours(1, 3, h, w),) for h, w in shapes]
    half = d.colours(1, 3, 4, 3)
    cases += [
        (torch.cat([half, half.flip(3)], 3),),
        (torch.cat([half, half.flip(2)], 2),),
    ]
    slips = {
        "you flipped up and down, flip left and right": lambda p: (
            (p - p.flip(2)).square().mean()
        ),
        "you turned the picture by 180 degrees, flip one dimension": lambda p: (
            (p - p.flip(2, 3)).square().mean()
        ),
        "you took absolute differences, square them": lambda p: (
            (p - p.flip(3)).abs().mean()
        ),
        "you took the sum, not the mean": lambda p: (p - p.flip(3)).square().sum(),
        "the differences cancel: square before the mean": lambda p: (
            (p - p.flip(3)).mean().square()
        ),
        "you swapped the colours, flip the last dimension": lambda p: (
            (p - p.flip(1)).square().mean()
        ),
        "you took a root at the end": lambda p: (p - p.flip(3)).square().mean().sqrt(),
    }
    hint = "flip left and right, square the difference, take the mean"
    exercise(function, oracle, cases, slips, hint)


def blocks(function) -> None:
    """06, exercise 2: a picture of large pixels."""

    def oracle(colours, size):
        h, w = colours.shape[2:]
        rows = torch.arange(h * size) // size
        columns = torch.arange(w * size) // size
        return colours[:, :, rows][..., columns]

    d = Draw(1)
    shapes = (
        (2, 3, 1),
        (2, 3, 4),
        (1, 1, 5),
        (3, 2, 3),
        (4, 4, 2),
        (1, 6, 2),
        (5, 1, 3),
    )
    cases = [(d.normal(1, 3, h, w), size) for h, w, size in shapes]
    slips = {
        "you tiled the picture, make every colour a square": lambda c, n: c.repeat(
            1, 1, n, n
        ),
        "you blurred the edges, use the nearest colour": lambda c, n: F.interpolate(
            c, scale_factor=n, mode="bilinear"
        ),
        "you transposed the picture": lambda c, n: (
            c.transpose(2, 3).repeat_interleave(n, 2).repeat_interleave(n, 3)
        ),
        "every colour is the mean of all": lambda c, n: c.mean(
            (2, 3), keepdim=True
        ).expand(1, 3, c.shape[2] * n, c.shape[3] * n),
        "columns are tiled, repeat each colour": lambda c, n: c.repeat_interleave(
            n, 2
        ).repeat(1, 1, 1, n),
        "rows are tiled, repeat each colour": lambda c, n: c.repeat(
            1, 1, n, 1
        ).repeat_interleave(n, 3),
    }
    hint = "every colour becomes a square of size x size: (1, 3, h size, w size)"
    exercise(function, oracle, cases, slips, hint)


def palette_distance(function) -> None:
    """06, exercise 3: each pixel's distance to its nearest colour."""

    def oracle(picture, colours):
        pixels = picture.double().flatten(2)[0].T.tolist()
        nearest = [
            min(
                sum((a - b) ** 2 for a, b in zip(pixel, colour, strict=True))
                for colour in colours.double().tolist()
            )
            for pixel in pixels
        ]
        return sum(nearest) / len(nearest)

    def squares(picture, colours):  # (K, 3, H, W)
        return (picture - colours[:, :, None, None]).square()

    d = Draw(2)
    shapes = ((1, 1, 2), (3, 5, 4), (5, 3, 1), (4, 4, 3), (2, 6, 16), (6, 7, 5))
    cases = [(d.colours(1, 3, h, w), d.colours(k, 3)) for h, w, k in shapes]
    colours = d.colours(4, 3)
    exact = colours[d.whole(4, 12)].T.reshape(1, 3, 3, 4)
    cases.append((exact, colours))  # every pixel is a colour: the distance is 0
    cases.append((exact, torch.cat([colours, colours])))
    slips = {
        "square the distance": lambda p, c: squares(p, c).sum(1).sqrt().amin(0).mean(),
        "you averaged over the colours, take the nearest": lambda p, c: (
            squares(p, c).sum(1).mean()
        ),
        "you averaged over red, green and blue, add them": lambda p, c: (
            squares(p, c).mean(1).amin(0).mean()
        ),
        "red, green and blue must come from one colour": lambda p, c: (
            squares(p, c).amin(0).sum(0).mean()
        ),
        "you took the sum over the pixels, not the mean": lambda p, c: (
            squares(p, c).sum(1).amin(0).sum()
        ),
        "you took the colour that is farthest": lambda p, c: (
            squares(p, c).sum(1).amax(0).mean()
        ),
        "you added absolute differences, square them": lambda p, c: (
            (p - c[:, :, None, None]).abs().sum(1).amin(0).mean()
        ),
        "for each pixel seek the colour, not the pixel for each colour": lambda p, c: (
            squares(p, c).sum(1).flatten(1).amin(1).mean()
        ),
    }
    hint = "squared distance to each colour, the smallest one, then the mean"
    exercise(function, oracle, cases, slips, hint)
