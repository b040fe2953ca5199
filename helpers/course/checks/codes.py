"""Exercises of 04 (VQGAN from the inside)."""

import math

import torch

from .engine import Draw, exercise


def nearest_code(function) -> None:
    """04, exercise 1: the nearest row of a codebook."""

    def oracle(z, book):
        rows = [[math.dist(v, e) for e in book.tolist()] for v in z.tolist()]
        return torch.tensor([row.index(min(row)) for row in rows])

    d = Draw()
    cases = []
    for n, k, c in ((1, 3, 2), (6, 5, 4), (12, 16, 8), (4, 4, 4), (3, 1, 5), (9, 7, 1)):
        lengths = 0.2 + 4 * d.colours(k, 1)  # rows of very different lengths
        cases.append((2 * d.normal(n, c), d.normal(k, c) * lengths))
        cases.append((d.normal(n, c) - 3, d.normal(k, c) * lengths))
    slips = {
        "the largest product is not the smallest distance": lambda z, e: (
            z @ e.T
        ).argmax(1),
        "you compared directions, the lengths count too": lambda z, e: (
            torch.cosine_similarity(z[:, None], e[None], dim=-1).argmax(1)
        ),
        "you took the row that is farthest": lambda z, e: torch.cdist(z, e).argmax(1),
        "you took the minimum along z, look along the codebook": lambda z, e: (
            torch.cdist(z, e).argmin(0)
        ),
        "|e|^2 is missing from the distance, or its factor is wrong": lambda z, e: (
            e.pow(2).sum(1) - z @ e.T
        ).argmin(1),
        "you added absolute differences, square them": lambda z, e: torch.cdist(
            z, e, p=1
        ).argmin(1),
        "codes begin at 0": lambda z, e: torch.cdist(z, e).argmin(1) + 1,
    }
    hint = "for each row of z the index of the smallest distance, whole numbers (N,)"
    exercise(function, oracle, cases, slips, hint)


def perplexity(function) -> None:
    """04, exercise 2: how many codes are really in use."""

    def oracle(codes, count):
        share = [codes.tolist().count(k) / len(codes) for k in range(count)]
        return math.exp(-sum(s * math.log(s) for s in share if s > 0))

    def shares(codes, count):
        return codes.bincount(minlength=count) / len(codes)

    def entropy(codes, count):
        return torch.special.entr(shares(codes, count)).sum()

    d = Draw(1)
    listed = ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 3, 3, 3], [2], [3, 3, 1])
    cases = [(torch.tensor(codes), 4) for codes in listed]
    for n, count in ((1, 1), (5, 9), (30, 3), (40, 64), (100, 8)):
        cases.append((d.whole(count, n).minimum(d.whole(count, n)), count))
    slips = {
        "this is the entropy, take exp of it": entropy,
        "you counted the codes in use, weigh them by their share": lambda c, count: len(
            c.unique()
        ),
        "exp needs the natural logarithm, you took bits": lambda c, count: (
            entropy(c, count) / math.log(2)
        ).exp(),
        "this is 1 / sum of squares, take exp of the entropy": lambda c, count: (
            1 / shares(c, count).square().sum()
        ),
        "the sign of the entropy is wrong": lambda c, count: (-entropy(c, count)).exp(),
        "you divided by the number of codes": lambda c, count: (
            entropy(c, count).exp() / count
        ),
    }
    hint = "exp of the entropy of the shares; a share of 0 adds nothing"
    exercise(function, oracle, cases, slips, hint)


def keep_top_k(function) -> None:
    """04, exercise 3: forbid all but the k likeliest tokens."""

    def oracle(logits, k):
        out = torch.zeros_like(logits)
        for b, row in enumerate(logits.tolist()):
            kept = sorted(range(len(row)), key=lambda i: -row[i])[:k]
            total = sum(math.exp(row[i] - row[kept[0]]) for i in kept)
            for i in kept:
                out[b, i] = math.exp(row[i] - row[kept[0]]) / total
        return out

    def top(logits, k, fill=-torch.inf):
        least = logits.topk(max(k, 1), dim=-1).values[:, -1:]
        return logits.masked_fill(logits < least, fill).softmax(-1)

    d = Draw(2)
    shapes = ((1, 5, 1), (3, 8, 3), (2, 6, 6), (4, 4, 2), (1, 1, 1), (5, 20, 7))
    cases = [(3 * d.normal(b, v) + shift, k) for b, v, k in shapes for shift in (0, -9)]
    cases.append((torch.tensor([[2.0, 2, 1, 0], [-1, -3, -1, -2]]), 2))  # a tie inside
    slips = {
        "the probabilities must add up to 1: forbid before the softmax": lambda x, k: (
            x.softmax(-1) * (top(x, k) > 0)
        ),
        "set the others to -inf: a logit of 0 is not forbidden": lambda x, k: top(
            x, k, 0.0
        ),
        "you kept one too few": lambda x, k: top(x, k - 1),
        "you kept one too many": lambda x, k: top(x, min(k + 1, x.shape[1])),
        "nothing is forbidden in yours": lambda x, k: x.softmax(-1),
        "every row has its own k likeliest": lambda x, k: x.masked_fill(
            x < x.flatten().topk(k).values[-1], -torch.inf
        ).softmax(-1),
        "you took the softmax down the batch, use dim=-1": lambda x, k: x.masked_fill(
            top(x, k) == 0, -torch.inf
        ).softmax(0),
        "these are logits, take the softmax": lambda x, k: x.masked_fill(
            top(x, k) == 0, -torch.inf
        ),
    }
    hint = "keep the k largest of each row, set the others to -inf, then the softmax"
    exercise(function, oracle, cases, slips, hint)
