"""Exercises of 08 (DALL-E 2)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def ddim_step(function) -> None:
    """08, exercise 1: one step of DDIM from the velocity."""

    def oracle(x_t, v, now, after):
        (a, s), (a_next, s_next) = now, after
        flat = []
        for x, u in zip(x_t.flatten().tolist(), v.flatten().tolist(), strict=True):
            flat.append(a_next * (a * x - s * u) + s_next * (s * x + a * u))
        return torch.tensor(flat).view_as(x_t)

    def clean(x, v, now):
        return now[0] * x - now[1] * v

    def noise(x, v, now):
        return now[1] * x + now[0] * v

    d = Draw()
    cases = []
    for shape, t, later in (
        ((1, 3), 0.9, 0.7), ((4, 2, 3), 0.5, 0.25), ((2, 5), 0.8, 0.1),
        ((3, 2, 2, 2), 0.3, 0.2), ((2, 4), 0.6, 0.0), ((1, 6), 0.4, 0.55),
    ):  # fmt: skip
        pairs = [
            (math.cos(p * math.pi / 2), math.sin(p * math.pi / 2)) for p in (t, later)
        ]
        cases.append((d.normal(*shape), d.normal(*shape) + 0.3, *pairs))
    slips = {
        "this is the clean picture, mix its noise in again": (
            lambda x, v, now, after: clean(x, v, now)
        ),
        "clean is a x_t - s v, you added": lambda x, v, now, after: (
            after[0] * (now[0] * x + now[1] * v) + after[1] * noise(x, v, now)
        ),
        "now and after are exchanged": lambda x, v, now, after: (
            now[0] * clean(x, v, after) + now[1] * noise(x, v, after)
        ),
        "v is not the noise: the noise is s x_t + a v": lambda x, v, now, after: (
            after[0] * clean(x, v, now) + after[1] * v
        ),
        "v is not the clean picture: that is a x_t - s v": lambda x, v, now, after: (
            after[0] * v + after[1] * (x - now[0] * v) / now[1]
        ),
        "you took v for the noise throughout": lambda x, v, now, after: (
            after[0] * (x - now[1] * v) / now[0] + after[1] * v
        ),
        "the share of noise must fall too, use that of after": (
            lambda x, v, now, after: (
                after[0] * clean(x, v, now) + now[1] * noise(x, v, now)
            )
        ),
        "the clean picture gets the share of after, not its full size": (
            lambda x, v, now, after: clean(x, v, now) + after[1] * noise(x, v, now)
        ),
    }
    hint = "clean = a x_t - s v, noise = s x_t + a v, then mix both by the next shares"
    exercise(function, oracle, cases, slips, hint)


def text_diff(function) -> None:
    """08, exercise 2: turn a picture's vector towards the difference of two texts."""

    def oracle(picture, before, after, share):
        rows = []
        for p, b, e in zip(
            picture.tolist(), before.tolist(), after.tolist(), strict=True
        ):
            step = [y - x for x, y in zip(b, e, strict=True)]
            step = [v / math.hypot(*step) for v in step]
            angle = math.acos(sum(x * y for x, y in zip(p, step, strict=True)))
            one = math.sin((1 - share) * angle) / math.sin(angle)
            two = math.sin(share * angle) / math.sin(angle)
            rows.append([one * x + two * y for x, y in zip(p, step, strict=True)])
        return torch.tensor(rows)

    def turn(a, b, share):
        angle = (a * b).sum(-1, keepdim=True).clamp(-1, 1).acos()
        both = ((1 - share) * angle).sin() * a + (share * angle).sin() * b
        return both / angle.sin()

    def unit(x):
        return F.normalize(x, dim=-1)

    d = Draw(1)
    cases = [
        (d.unit(n, c), d.unit(n, c), d.unit(n, c), share)
        for n, c, share in (
            (1, 8, 0.5), (3, 6, 0.25), (5, 3, 0.4), (2, 12, 0.1), (4, 8, 0.0),
            (2, 5, 1.0), (6, 7, 0.75),
        )
    ]  # fmt: skip
    slips = {
        "walk on the sphere (slerp), not along a straight line": (
            lambda p, b, e, share: (1 - share) * p + share * unit(e - b)
        ),
        "the way along a straight line, even brought to length one, is not the slerp": (
            lambda p, b, e, share: unit((1 - share) * p + share * unit(e - b))
        ),
        "you walk towards the second text, not towards the difference": (
            lambda p, b, e, share: turn(p, e, share)
        ),
        "before and after are exchanged": lambda p, b, e, share: turn(
            p, unit(b - e), share
        ),
        "bring the difference to length one first": lambda p, b, e, share: turn(
            p, e - b, share
        ),
        "share 0 is the picture, yours begins at the other end": (
            lambda p, b, e, share: turn(unit(e - b), p, share)
        ),
        "you added the difference, which is another way": lambda p, b, e, share: unit(
            p + share * (e - b)
        ),
        "you walk between the two texts and forget the picture": (
            lambda p, b, e, share: turn(b, e, share)
        ),
    }
    hint = "normalise after - before, then slerp from the picture to it by share"
    exercise(function, oracle, cases, slips, hint)


def better_of_two(function) -> None:
    """08, exercise 3: of two answers of the prior, the one nearer to the text."""

    def oracle(first, second, text):
        def cosine(a, b):
            inner = sum(x * y for x, y in zip(a, b, strict=True))
            return inner / math.hypot(*a) / math.hypot(*b)

        rows = []
        for a, b, t in zip(first.tolist(), second.tolist(), text.tolist(), strict=True):
            rows.append(a if cosine(a, t) >= cosine(b, t) else b)
        return torch.tensor(rows, dtype=first.dtype)

    def pick(better, first, second):
        return torch.where(better[:, None], first, second)

    def near(a, b):
        return F.cosine_similarity(a, b, dim=-1)

    d = Draw(2)
    cases = []
    for n, c in ((1, 3), (6, 4), (12, 3), (3, 3), (20, 8), (9, 2)):
        lengths = 0.2 + 4 * d.colours(2, n, 1)
        one, two = d.normal(2, n, c) * lengths
        cases.append((one, two, 2 * d.normal(n, c)))
    slips = {
        "divide by the lengths, or take the cosine: long vectors win otherwise": (
            lambda a, b, t: pick((a * t).sum(-1) >= (b * t).sum(-1), a, b)
        ),
        "you kept the farther one of each pair": lambda a, b, t: pick(
            near(a, t) < near(b, t), a, b
        ),
        "each row decides for itself, yours takes one side for all": (
            lambda a, b, t: a if near(a, t).sum() >= near(b, t).sum() else b
        ),
        "the vectors are asked for, not their cosines": lambda a, b, t: torch.maximum(
            near(a, t), near(b, t)
        ),
        "the vectors are asked for, not which of them it is": lambda a, b, t: (
            near(b, t) > near(a, t)
        ).long(),
        "choose one, do not take the mean": lambda a, b, t: (a + b) / 2,
        "you compared distances of vectors that are not of length one": (
            lambda a, b, t: pick((a - t).norm(dim=-1) <= (b - t).norm(dim=-1), a, b)
        ),
        "you compared with the other answer, not with the text": (
            lambda a, b, t: pick(near(a, b) >= near(b, t), a, b)
        ),
        "give the vectors back as they came, not of length one": lambda a, b, t: (
            F.normalize(pick(near(a, t) >= near(b, t), a, b), dim=-1)
        ),
    }
    hint = "the cosine of each row with its text, then torch.where row by row"
    exercise(function, oracle, cases, slips, hint)
