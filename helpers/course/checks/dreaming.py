"""Exercises of 05 (VQGAN+CLIP)."""

import torch

from .engine import Draw, exercise


def half_square(a, b) -> torch.Tensor:
    """Half the squared angle from the chord, another road than arccos."""
    chord = (a.double() - b.double()).norm(dim=-1)
    return (2 * torch.arcsin((chord / 2).clamp(max=1)).square()).float()


def angles(a, b) -> torch.Tensor:
    return (a * b).sum(-1).clamp(-1, 1).arccos()


def great_circle(function) -> None:
    """05, exercise 1: half the squared angle."""
    d = Draw()
    cases = [(d.unit(n, c), d.unit(n, c)) for n, c in ((1, 3), (5, 8), (4, 4), (9, 2))]
    a = d.unit(64, 7) * 1.000001  # rounding: a product a little beyond 1
    cases += [
        (a, a),
        (torch.eye(3), -torch.eye(3)),
        (torch.eye(3), torch.eye(3)[[1, 2, 0]]),
    ]
    slips = {
        "this is the angle, square it and halve it": angles,
        "you forgot the half": lambda a, b: angles(a, b).square(),
        "you forgot the square": lambda a, b: angles(a, b) / 2,
        "halve the square, not the angle": lambda a, b: (angles(a, b) / 2).square(),
        "this is 1 - cosine, half the squared chord": lambda a, b: 1 - (a * b).sum(-1),
        "you lost the sign of the cosine": lambda a, b: (
            (a * b).sum(-1).abs().clamp(max=1).arccos().square() / 2
        ),
        "clamp the product to [-1, 1]: rounding takes it beyond": lambda a, b: (
            (a * b).sum(-1).arccos().square() / 2
        ),
    }
    hint = "arccos of the product of unit vectors is the angle; square it, halve it"
    exercise(function, half_square, cases, slips, hint)


def prompt_loss(function) -> None:
    """05, exercise 2: several prompts with weights."""

    def oracle(cuts, goals, weights):
        total = 0.0
        for goal, weight in zip(goals, weights.tolist(), strict=True):
            apart = [half_square(cut, goal).item() for cut in cuts]
            total += weight * sum(apart) / len(apart)
        return total

    def table(cuts, goals):
        return angles(cuts[:, None], goals[None]).square() / 2  # (N, K)

    d = Draw(1)
    cases = [
        (d.unit(n, c), d.unit(k, c), 2 * d.normal(k))
        for n, k, c in (
            (1, 1, 4),
            (4, 3, 8),
            (3, 3, 3),
            (1, 5, 6),
            (6, 1, 2),
            (2, 7, 5),
        )
    ]
    cuts, goals = d.unit(5, 6), d.unit(3, 6)
    for weights in ([1, -1, 0.5], [-1, -2, -0.5], [0, 0, 0], [1, 1, 1], [0, 0, 3.0]):
        cases.append((cuts, goals, torch.tensor(weights, dtype=torch.float)))
    cases.append((goals * 1.000001, goals * 1.000001, torch.tensor([1.0, -2, 1])))
    cases.append((torch.eye(4)[:1], -torch.eye(4)[:2], torch.tensor([0.7, -0.2])))
    slips = {
        "you took the mean over the prompts, sum them": lambda c, g, w: (
            table(c, g).mean(0) * w
        ).mean(),
        "you took the sum over the cuts, not the mean": lambda c, g, w: (
            table(c, g).sum(0) * w
        ).sum(),
        "the weights play no part": lambda c, g, w: table(c, g).mean(0).sum(),
        "a negative weight must push away, keep its sign": lambda c, g, w: (
            table(c, g).mean(0) * w.abs()
        ).sum(),
        "you divided by the sum of the weights": lambda c, g, w: (
            (table(c, g).mean(0) * w).sum() / w.sum()
        ),
        "this is 1 - cosine, take half the squared angle": lambda c, g, w: (
            (1 - c @ g.T).mean(0) * w
        ).sum(),
        "you forgot the half": lambda c, g, w: (table(c, g).mean(0) * w).sum() * 2,
        "average the distances, not the cuts": lambda c, g, w: (
            table(c.mean(0, keepdim=True), g)[0] * w
        ).sum(),
    }
    hint = "mean distance over the cuts, times the weight, summed over the prompts"
    exercise(function, oracle, cases, slips, hint)


def random_crops(function) -> None:
    """05, exercise 3: crops of a picture at given corners."""

    def oracle(picture, top, left, size):
        windows = picture.unfold(1, size, 1).unfold(2, size, 1)  # (3, y, x, S, S)
        return windows[:, top, left].transpose(0, 1).clone()

    def cut(picture, top, left, size):
        corners = zip(top.tolist(), left.tolist(), strict=True)
        return torch.stack([picture[:, t : t + size, s : s + size] for t, s in corners])

    d = Draw(2)
    cases = []
    for h, w, n, size in (
        (8, 9, 1, 4), (9, 6, 5, 3), (7, 7, 4, 2),
        (5, 8, 3, 5), (8, 5, 2, 5), (4, 6, 6, 1),
    ):  # fmt: skip
        top, left = d.whole(h - size + 1, n), d.whole(w - size + 1, n)
        cases.append((d.normal(3, h, w), top, left, size))
    corner = (torch.tensor([0, 4, 0, 4]), torch.tensor([0, 0, 3, 3]))
    cases.append((d.normal(3, 7, 6), *corner, 3))  # the four corners
    slips = {
        "you swapped top and left: rows come first": lambda p, t, s, n: cut(p, s, t, n),
        "all crops are the first one": lambda p, t, s, n: cut(
            p, t[:1], s[:1], n
        ).expand(len(t), -1, -1, -1),
        "top and left are corners, not centres": lambda p, t, s, n: cut(
            p, (t - n // 2).clamp(min=0), (s - n // 2).clamp(min=0), n
        ),
        "your crops are mirrored": lambda p, t, s, n: cut(p, t, s, n).flip(3),
        "your crops are transposed: rows come first": lambda p, t, s, n: cut(
            p, t, s, n
        ).transpose(2, 3),
    }
    hint = "rows top .. top + size, columns left .. left + size"
    exercise(function, oracle, cases, slips, hint)
