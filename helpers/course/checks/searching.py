"""Exercises of 00 (a first search) and 03 (text-to-image search)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def square_scores(d: Draw, n: int) -> torch.Tensor:
    """Scores of n queries with ties among the wrong pictures, none with the own one."""
    scores = d.whole(4, n, n) - 3.0
    return scores.where(~torch.eye(n, dtype=torch.bool), d.whole(5, n, n) - 3.5)


def hit_rate(function) -> None:
    """00, exercise 1: share of places at which two lists agree."""

    def oracle(best, right):
        hits = torch.tensor(best) == torch.tensor(right)
        return hits.float().mean().item()

    d = Draw()
    cases = [([3], [3]), ([3], [4]), ([0, 1, 2], [2, 0, 1]), ([5, 5, 5], [5, 5, 7])]
    for n in (1, 2, 3, 5, 8, 13):
        right = d.whole(4, n).tolist()
        cases.append((d.whole(4, n).tolist(), right))
        cases.append(([right[i] for i in d.order(n)], right))
    cases.append((list(range(7)), list(range(7))))
    slips = {
        "you ignored the order: place i must agree with place i": lambda b, r: (
            sum(x in r for x in b) / len(b)
        ),
        "you counted the hits, divide by the length": lambda b, r: sum(
            x == y for x, y in zip(b, r, strict=True)
        ),
        "you counted the misses": lambda b, r: (
            sum(x != y for x, y in zip(b, r, strict=True)) / len(r)
        ),
        "you looked at the first place alone": lambda b, r: float(b[0] == r[0]),
    }
    hint = "return the share of places at which the lists agree, between 0 and 1"
    exercise(function, oracle, cases, slips, hint)


def mixed_query(function) -> None:
    """03, exercise 1: words and a picture in one query."""

    def oracle(words, picture, weight):
        pairs = zip(words.tolist(), picture.tolist(), strict=True)
        mixed = [(1 - weight) * w + weight * p for w, p in pairs]
        return torch.tensor([m / math.hypot(*mixed) for m in mixed])

    d = Draw(1)
    cases = [
        (d.unit(n), d.unit(n), weight)
        for n, weight in ((2, 0.0), (4, 1.0), (8, 0.3), (16, 0.75), (3, 0.5), (5, 0.1))
    ]
    words = d.unit(6)
    cases += [(words, words, 0.4), (words, -words, 0.25)]
    slips = {
        "you swapped the weights, `weight` is for the picture": lambda w, p, s: (
            F.normalize(s * w + (1 - s) * p, dim=0)
        ),
        "the length is not 1, normalise after mixing": lambda w, p, s: (
            (1 - s) * w + s * p
        ),
        "the words keep their full weight, use 1 - weight": lambda w, p, s: F.normalize(
            w + s * p, dim=0
        ),
        "the weight plays no part": lambda w, p, s: F.normalize(w + p, dim=0),
    }
    hint = "mix with the weight, then bring the result back to length 1"
    exercise(function, oracle, cases, slips, hint)


def mean_rank(function) -> None:
    """03, exercise 2: the mean place of the right picture."""

    def oracle(scores):
        rows = scores.tolist()
        places = [1 + sum(s > row[i] for s in row) for i, row in enumerate(rows)]
        return sum(places) / len(places)

    d = Draw(2)
    cases = [(d.normal(n, n),) for n in (1, 2, 3, 5, 9, 20)]
    cases += [(square_scores(d, n),) for n in (2, 4, 7, 12)]
    cases += [(torch.eye(4) - 2,), (-torch.eye(5),)]
    slips = {
        "the best place is 1: you began at 0": lambda s: (
            (s > s.diagonal()[:, None]).sum(1).float().mean()
        ),
        "you looked down the columns, queries are rows": lambda s: (
            ((s > s.diagonal()).sum(0) + 1).float().mean()
        ),
        "you counted the scores that are lower": lambda s: (
            ((s < s.diagonal()[:, None]).sum(1) + 1).float().mean()
        ),
        "you took the median, not the mean": lambda s: (
            ((s > s.diagonal()[:, None]).sum(1) + 1).float().median()
        ),
        "argsort gives columns, not places: look where column i stands": lambda s: (
            (s.argsort(1, descending=True).diagonal() + 1).float().mean()
        ),
    }
    hint = "in each row count the scores above the diagonal one, add 1, take the mean"
    exercise(function, oracle, cases, slips, hint)


def read_lists(x, lists, centres, query, probes: int, fill: float = -torch.inf):
    """The answer in tensors; ``fill`` stands for the rows that are not read."""
    near = (centres @ query).topk(probes).indices
    inside = torch.isin(lists, near)
    return int((x @ query).masked_fill(~inside, fill).argmax()) if inside.any() else -1


def lists_to_read(function) -> None:
    """03, exercise 3: search only the nearest lists (an IVF index by hand)."""

    def oracle(x, lists, centres, query, probes):
        order = sorted(range(len(centres)), key=lambda c: -float(centres[c] @ query))
        rows = [i for i in range(len(x)) if lists[i].item() in order[:probes]]
        return max(rows, key=lambda i: float(x[i] @ query), default=-1)

    d = Draw(3)
    cases = []
    for n, c in ((1, 1), (6, 2), (5, 9), (30, 4), (40, 12), (3, 6)):
        for probes in sorted({1, (c + 1) // 2, c}):
            x, centres, query = d.unit(n, 8), d.unit(c, 8), d.unit(8)
            cases.append((x, (x @ centres.T).argmax(1), centres, query, probes))
            cases.append((x, d.whole(c, n), centres, query, probes))
    for n, c in ((7, 3), (12, 5)):  # every row points away: all scores are negative
        x, centres, query = d.unit(n, 8), d.unit(c, 8), d.unit(8)
        x = x - 2 * F.relu(x @ query)[:, None] * query
        cases.append((x, d.whole(c, n), centres, query, 2))
        emptied = int((centres @ query).argmax())  # nobody stands in the nearest list
        lists = (d.whole(c - 1, n) + emptied + 1) % c
        cases += [(x, lists, centres, query, p) for p in (1, 2)]
    slips = {
        "you searched all rows, read only the nearest lists": lambda x, ls, cs, q, p: (
            int((x @ q).argmax())
        ),
        "you read one list, not `probes` of them": lambda x, ls, cs, q, p: read_lists(
            x, ls, cs, q, 1
        ),
        "you read the lists that are farthest": lambda x, ls, cs, q, p: read_lists(
            x, ls, -cs, q, p
        ),
        "if the lists are empty, the answer is -1": lambda x, ls, cs, q, p: max(
            read_lists(x, ls, cs, q, p), 0
        ),
        "rows outside win when all scores are negative": lambda x, ls, cs, q, p: (
            read_lists(x, ls, cs, q, p, 0.0)
        ),
    }
    hint = "keep the rows whose list is among the nearest, return the best one's index"
    exercise(function, oracle, cases, slips, hint)
