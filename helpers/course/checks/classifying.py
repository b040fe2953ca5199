"""Exercises of 02 (zero-shot classification)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def ensemble(function) -> None:
    """02, exercise 1: one weight per class from the vectors of several templates."""

    def oracle(vectors):
        rows = []
        for templates in vectors.double():
            total = sum(v / v.square().sum().sqrt() for v in templates)
            rows.append(total / total.square().sum().sqrt())
        return torch.stack(rows).float()

    def unit(x):
        return F.normalize(x, dim=-1)

    d = Draw()
    shapes = ((1, 1, 4), (3, 2, 8), (5, 7, 16), (4, 4, 4), (1, 6, 3), (6, 1, 5))
    cases = [(d.normal(c, k, n) * 9 * d.colours(c, k, 1),) for c, k, n in shapes]
    slips = {
        "bring each vector to length 1 before the mean": lambda v: unit(v.mean(1)),
        "bring the mean to length 1 again": lambda v: unit(v).mean(1),
        "no length is 1 in yours": lambda v: v.mean(1),
        "you took the first template alone": lambda v: unit(v[:, 0]),
        "you averaged over the classes, templates are dim 1": lambda v: unit(
            unit(v).mean(0)
        ),
        "you normalised along the templates, use dim=-1": lambda v: unit(
            F.normalize(v, dim=1).mean(1)
        ),
    }
    hint = "bring to length 1, take the mean over the templates, again to length 1"
    exercise(function, oracle, cases, slips, hint)


def top_five(function) -> None:
    """02, exercise 2: is the right class among the five best?"""

    def oracle(scores, labels):
        pairs = list(zip(scores.tolist(), labels.tolist(), strict=True))
        return sum(sum(s > row[own] for s in row) < 5 for row, own in pairs) / len(
            pairs
        )

    def share(scores, labels, k=5):
        place = (scores > scores.gather(1, labels[:, None])).sum(1)
        return (place < k).float().mean()

    d = Draw(1)
    cases = [
        (d.normal(n, c) - d.whole(2).item() * 3, d.whole(c, n))
        for n, c in ((1, 6), (1, 40), (8, 6), (6, 8), (7, 7), (30, 40), (4, 5), (9, 12))
    ]
    falling = -torch.arange(9.0).expand(9, 9)  # class 0 is best, class 8 last
    cases += [(falling, torch.arange(9)), (falling[:3], torch.tensor([5, 7, 8]))]
    cases += [(falling[:2], torch.tensor([4, 4])), (falling[:2], torch.tensor([5, 4]))]
    tied = (falling / 3).floor() - 0.5 * F.one_hot(torch.arange(9))
    cases += [(tied, torch.arange(9))]
    slips = {
        "you took four classes, not five": lambda s, y: share(s, y, 4),
        "you took six classes, not five": lambda s, y: share(s, y, 6),
        "you took the best class alone": lambda s, y: share(s, y, 1),
        "you took the five lowest": lambda s, y: share(-s, y),
        "you counted the hits, divide by the pictures": lambda s, y: (
            share(s, y) * len(s)
        ),
        "you counted the misses": lambda s, y: 1 - share(s, y),
    }
    hint = "a picture counts if fewer than five classes score higher; return a share"
    exercise(function, oracle, cases, slips, hint)


def mean_loss(scale, cosines, labels) -> float:
    """The mean of -log p(true class), by hand."""
    total = 0.0
    for row, own in zip(cosines.double().tolist(), labels.tolist(), strict=True):
        top = max(scale * c for c in row)
        every = top + math.log(sum(math.exp(scale * c - top) for c in row))
        total += every - scale * row[own]
    return total / len(labels)


def best_scale(function) -> None:
    """02, exercise 3: the temperature that makes the true classes most likely."""

    def oracle(cosines, labels, scales):
        losses = [mean_loss(s, cosines, labels) for s in scales]
        return float(scales[losses.index(min(losses))])

    def by(loss):
        def choose(cosines, labels, scales):
            def cost(s):
                p = (s * cosines).softmax(1)
                return loss(p, p.gather(1, labels[:, None])[:, 0])

            return float(min(scales, key=cost))

        return choose

    d = Draw(2)
    cases, wins = [], {}
    while len(cases) < 16:  # until every place of the list has been the right one
        n, c = 1 + d.whole(40).item(), 2 + d.whole(5).item()
        cosines = 0.3 * d.normal(n, c).tanh()
        noise = 10 ** (-2 + 2 * d.colours(1).item())
        labels = (cosines + noise * d.normal(n, c)).argmax(1)
        scales = [[0.5, 2, 5, 10, 20, 40, 100][i] for i in d.order(7)[:5]]
        losses = sorted(mean_loss(s, cosines, labels) for s in scales)
        place = scales.index(oracle(cosines, labels, scales))
        if losses[1] - losses[0] > 0.01 and wins.get(place, 0) < 4:
            wins[place] = wins.get(place, 0) + 1
            cases.append((cosines, labels, scales))
    slips = {
        "you took the scale with the largest loss": by(
            lambda all, own: own.log().mean()
        ),
        "you averaged the probabilities, average their logarithms": by(
            lambda all, own: -own.mean()
        ),
        "you took the squared error, not -log p": by(
            lambda all, own: (1 - own).square().mean()
        ),
        "the largest scale comes always: to be sure is not to be right": (
            lambda x, y, scales: max(scales)
        ),
        "you returned the smallest loss, not its scale": lambda x, y, scales: min(
            mean_loss(s, x, y) for s in scales
        ),
        "you returned the place, not the scale": lambda x, y, scales: scales.index(
            oracle(x, y, scales)
        ),
        "the same scale comes always": lambda x, y, scales: scales[0],
    }
    hint = "take the scale with the smallest mean of -log p(true class)"
    exercise(function, oracle, cases, slips, hint)


def none_of_these(function) -> None:
    """02, exercise 4: the best class, or -1 where even the best is too low."""

    def oracle(scores, threshold):
        rows = scores.tolist()
        best = [row.index(max(row)) if max(row) >= threshold else -1 for row in rows]
        return torch.tensor(best)

    def answer(scores, low):
        best = scores.argmax(1)
        return torch.where(low(scores), -torch.ones_like(best), best)

    d = Draw(3)
    shapes = ((1, 2), (7, 3), (3, 7), (5, 5), (12, 4), (1, 9), (20, 2), (6, 8))
    cases = [(d.colours(n, c), 0.3 + 0.5 * d.colours(1).item()) for n, c in shapes]
    cases += [(s - 0.5, t - 0.5) for s, t in cases[1:4]]
    edge = torch.tensor([[0.5, 0.25], [0.125, 0.5], [0.25, 0.125]])
    cases += [(edge, 0.5), (edge, 0.75), (edge - 1, -2.0), (-edge, 0.0)]
    slips = {
        "a score that equals the threshold is still an answer": lambda s, t: answer(
            s, lambda s: s.amax(1) <= t
        ),
        "it must be the best score that is too low, not the worst": (
            lambda s, t: answer(s, lambda s: s.amin(1) < t)
        ),
        "you judge by the mean of the scores, take the best": lambda s, t: answer(
            s, lambda s: s.mean(1) < t
        ),
        "you never say -1": lambda s, t: s.argmax(1),
        "none is -1, not the number of classes": lambda s, t: torch.where(
            s.amax(1) < t, torch.full((len(s),), s.shape[1]), s.argmax(1)
        ),
        "you turned it round: -1 where the best is high": lambda s, t: answer(
            s, lambda s: s.amax(1) >= t
        ),
        "you return the best score, not its class": lambda s, t: torch.where(
            s.amax(1) < t, torch.full((len(s),), -1.0), s.amax(1)
        ),
    }
    hint = "the place of the largest score, or -1 if that score is below the threshold"
    exercise(function, oracle, cases, slips, hint)
