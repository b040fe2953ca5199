"""Exercises of 07 (DALL-E 1)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def guided_probabilities(function) -> None:
    """07, exercise 1: classifier-free guidance over the next code."""

    def oracle(told, untold, s):
        rows = []
        for a, b in zip(told.tolist(), untold.tolist(), strict=True):
            mixed = [(1 - s) * v + s * u for u, v in zip(a, b, strict=True)]
            parts = [math.exp(m - max(mixed)) for m in mixed]
            rows.append([p / sum(parts) for p in parts])
        return torch.tensor(rows)

    d = Draw()
    cases = []
    for b, v, s in ((1, 4, 1.0), (2, 6, 3.0), (3, 5, 0.0), (1, 9, 2.5), (4, 3, 0.5)):
        cases.append((2 * d.normal(b, v), 2 * d.normal(b, v), s))
        cases.append((d.normal(b, v) + 4, d.normal(b, v), s + 1))
    slips = {
        "these are logits, take the softmax": lambda t, u, s: u + s * (t - u),
        "guide the logits before the softmax, not the probabilities after it": (
            lambda t, u, s: u.softmax(-1) + s * (t.softmax(-1) - u.softmax(-1))
        ),
        "told and untold are exchanged": lambda t, u, s: (t + s * (u - t)).softmax(-1),
        "you went s steps beyond the caption, begin without it": lambda t, u, s: (
            t + s * (t - u)
        ).softmax(-1),
        "the step is from untold to told, not told itself": lambda t, u, s: (
            u + s * t
        ).softmax(-1),
        "you took the softmax down the batch, use dim=-1": lambda t, u, s: (
            u + s * (t - u)
        ).softmax(0),
        "you weighed told and untold as a mean does": lambda t, u, s: (
            (s * t + u) / (s + 1)
        ).softmax(-1),
    }
    hint = "untold + s (told - untold), then the softmax over the last dimension"
    exercise(function, oracle, cases, slips, hint)


def stream_loss(function) -> None:
    """07, exercise 2: words and codes weighed in one loss."""

    def oracle(losses, kind, weight):
        sums, counts = [0.0, 0.0, 0.0], [0, 0, 0]
        for row, kinds in zip(losses.tolist(), kind.tolist(), strict=True):
            for value, k in zip(row, kinds, strict=True):
                sums[k] += value
                counts[k] += 1
        return weight * sums[1] / counts[1] + (1 - weight) * sums[2] / counts[2]

    def part(losses, kind, k):
        return losses[kind == k].mean()

    d = Draw(1)
    cases = []
    for rows, words, codes, weight in (
        (1, 3, 4, 0.125), (2, 5, 9, 0.125), (3, 6, 4, 0.5), (4, 4, 16, 0.25),
        (2, 2, 3, 0.0), (2, 3, 2, 1.0), (5, 7, 6, 0.9),
    ):  # fmt: skip
        kind = torch.full((rows, words + codes), 2)
        kind[:, :words] = 0
        for row, many in zip(kind, d.whole(words, rows).tolist(), strict=True):
            row[: many + 1] = 1
        losses = d.colours(rows, words + codes) * 4 + 3 * (kind == 1) + 5 * (kind == 0)
        cases.append((losses, kind, weight))
    slips = {
        "padding counts for nothing, leave it out of the mean": lambda x, k, w: (
            w * x[k != 2].mean() + (1 - w) * part(x, k, 2)
        ),
        "the words get `weight`, the codes the rest": lambda x, k, w: (
            (1 - w) * part(x, k, 1) + w * part(x, k, 2)
        ),
        "the codes get 1 - weight": lambda x, k, w: w * part(x, k, 1) + part(x, k, 2),
        "every word and every code counts alike in yours, weigh the two means": (
            lambda x, k, w: x[k > 0].mean()
        ),
        "take means, not sums": lambda x, k, w: (
            w * x[k == 1].sum() + (1 - w) * x[k == 2].sum()
        ),
        "you set others to 0 and took the mean over all, divide by their count": (
            lambda x, k, w: (w * x * (k == 1)).mean() + ((1 - w) * x * (k == 2)).mean()
        ),
        "the mean goes over all words of the batch, not over the streams' means": (
            lambda x, k, w: (
                w * torch.stack([r[m == 1].mean() for r, m in zip(x, k)]).mean()  # noqa: B905
                + (1 - w) * part(x, k, 2)
            )
        ),
    }
    hint = "weight times the mean over words plus the rest times that over codes"
    exercise(function, oracle, cases, slips, hint)


def best_pictures(function) -> None:
    """07, exercise 3: the k pictures that fit a caption best, by cosine."""

    def oracle(seen, wanted, k):
        def cosine(row):
            inner = sum(a * b for a, b in zip(row, wanted.tolist(), strict=True))
            return inner / math.hypot(*row)

        rows = seen.tolist()
        order = sorted(range(len(rows)), key=lambda i: -cosine(rows[i]))
        return torch.tensor(order[:k])

    def cosines(seen, wanted):
        return F.normalize(seen, dim=-1) @ F.normalize(wanted, dim=-1)

    d = Draw(2)
    cases = []
    for n, c, k in ((1, 3, 1), (5, 4, 2), (8, 6, 8), (12, 3, 5), (20, 8, 4), (6, 2, 3)):
        cases.append((d.normal(n, c) * (0.3 + 5 * d.colours(n, 1)), d.normal(c) * 2, k))
        cases.append((d.normal(n, c) + 0.8, d.normal(c) + 0.5, k))
    slips = {
        "divide by the lengths: a long vector is no better picture": lambda s, w, k: (
            (s @ w).topk(k).indices
        ),
        "the places are asked for, not the cosines": lambda s, w, k: (
            cosines(s, w).topk(k).values
        ),
        "yours are the worst, take the largest": lambda s, w, k: cosines(
            s, w
        ).argsort()[:k],
        "best first: yours begins with the worst of the best": lambda s, w, k: cosines(
            s, w
        ).argsort()[-k:],
        "all places came back, keep the first k": lambda s, w, k: cosines(s, w).argsort(
            descending=True
        ),
        "you compared distances of vectors that are not of length one": (
            lambda s, w, k: (s - w).norm(dim=1).argsort()[:k]
        ),
        "places begin at 0": lambda s, w, k: cosines(s, w).topk(k).indices + 1,
    }
    hint = "the cosine of each row with wanted, then the indices of the k largest"
    exercise(function, oracle, cases, slips, hint)
