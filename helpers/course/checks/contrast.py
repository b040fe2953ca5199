"""Exercises of 01 (CLIP from scratch)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise
from .searching import square_scores


def cosine_matrix(function) -> None:
    """01, exercise 1: rows of a against rows of b."""

    def oracle(a, b):
        return F.cosine_similarity(
            a[:, None].double(), b[None].double(), dim=-1
        ).float()

    d = Draw()
    shapes = ((1, 1, 4), (3, 5, 8), (7, 2, 16), (4, 4, 4), (1, 6, 3), (5, 1, 2))
    cases = [
        (d.normal(n, k) * d.colours(n, 1) * 9, 3 * d.normal(m, k)) for n, m, k in shapes
    ]
    a = d.normal(3, 5)
    cases += [(a, a), (a, -2 * a), (d.unit(2, 6), d.unit(3, 6))]
    slips = {
        "the rows keep their lengths, normalise both": lambda a, b: a @ b.T,
        "b keeps its lengths": lambda a, b: F.normalize(a, dim=-1) @ b.T,
        "a keeps its lengths": lambda a, b: a @ F.normalize(b, dim=-1).T,
        "you normalised the columns, use dim=-1": lambda a, b: (
            F.normalize(a, dim=0) @ F.normalize(b, dim=0).T
        ),
        "you lost the sign": lambda a, b: (
            F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
        ).abs(),
        "rows of a go down, rows of b across: yours is transposed": lambda a, b: (
            F.normalize(b, dim=-1) @ F.normalize(a, dim=-1).T
        ),
    }
    hint = "divide every row by its length, then multiply; rows of a go down"
    exercise(function, oracle, cases, slips, hint)


def retrieval(function) -> None:
    """01, exercise 2: recall at k of a square score matrix."""

    def oracle(scores, k):
        rows = scores.tolist()
        hits = [sum(s > row[i] for s in row) < k for i, row in enumerate(rows)]
        return sum(hits) / len(hits)

    def recall(scores, k, dim=1):
        own = scores.diagonal().unsqueeze(dim)
        return ((scores > own).sum(dim) < k).float().mean()

    d = Draw(1)
    cases = [
        (d.normal(n, n), k)
        for n, k in ((1, 1), (2, 1), (3, 2), (6, 1), (6, 3), (6, 6), (9, 4), (20, 5))
    ]
    cases += [(square_scores(d, n), k) for n, k in ((4, 1), (5, 2), (8, 3), (12, 6))]
    cases += [(torch.eye(5) - 2, 1), (-torch.eye(4), 3), (-torch.eye(4), 1)]
    slips = {
        "you looked down the columns, captions are rows": lambda s, k: recall(s, k, 0),
        "you took one too few: k pictures count": lambda s, k: recall(s, k - 1),
        "you took one too many: k pictures count": lambda s, k: recall(s, k + 1),
        "k plays no part": lambda s, k: recall(s, 1),
        "you took the k smallest": lambda s, k: recall(-s, k),
        "you counted the hits, divide by the rows": lambda s, k: recall(s, k) * len(s),
    }
    hint = "count the rows whose own column is among the k largest, as a share"
    exercise(function, oracle, cases, slips, hint)


def many_positives(function) -> None:
    """01, exercise 3: the picture half of the loss, several right captions."""

    def oracle(logits, ids):
        losses = []
        for row, mine in zip(logits.tolist(), ids.tolist(), strict=True):
            right = [
                s for s, other in zip(row, ids.tolist(), strict=True) if other == mine
            ]
            every = math.log(sum(math.exp(s) for s in row))
            losses.append(every - sum(right) / len(right))
        return sum(losses) / len(losses)

    def table(ids):
        return (ids[:, None] == ids[None]).float()

    def shared(ids):
        return table(ids) / table(ids).sum(1, keepdim=True)

    d = Draw(2)
    cases = [
        (3 * d.normal(len(ids), len(ids)), torch.tensor(ids))
        for ids in ([0], [0, 1, 2], [0, 0, 1], [2, 1, 2, 1, 2], [7, 7], [90, 4, 90, 3])
    ]
    cases += [(2 * d.normal(n, n) - 4, d.whole(3, n)) for n in (2, 4, 6, 9)]
    slips = {
        "only the own caption counts in yours, share over all of one concept": (
            lambda s, ids: F.cross_entropy(s, torch.arange(len(s)))
        ),
        "the target of a row must add up to 1, divide by its sum": lambda s, ids: (
            F.cross_entropy(s, table(ids))
        ),
        "this is the text half, take the softmax along the rows": lambda s, ids: (
            F.cross_entropy(s.T, shared(ids))
        ),
        "you took the sum over the pictures, not the mean": lambda s, ids: (
            F.cross_entropy(s, shared(ids), reduction="sum")
        ),
        "you added the probabilities, average the logarithms": lambda s, ids: (
            -(s.softmax(1) * table(ids)).sum(1).log().mean()
        ),
        "the sign is wrong": lambda s, ids: -F.cross_entropy(s, shared(ids)),
    }
    hint = "share the target evenly over the captions of one concept, then average"
    exercise(function, oracle, cases, slips, hint)
