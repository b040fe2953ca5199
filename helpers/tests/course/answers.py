"""Answers to every exercise, to try the checks on: two right ones, many wrong ones.

The right ones are written otherwise than the page's solution: with numpy, with loops.
The wrong ones are what a reader may plausibly write; the slips that the checks
themselves know by name are tried too (test_checks.py).
"""

import heapq
import math

import numpy as np
import torch
import torch.nn.functional as F

RIGHT: dict[str, list] = {}
WRONG: dict[str, dict] = {}


def array(x) -> np.ndarray:
    return x.detach().numpy()


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


def own_of(scores):
    return scores.diagonal()[:, None]


# 00 · hit_rate(best, right)
def hit_rate_by_loop(best, right):
    hits = 0
    for i in range(len(best)):
        if best[i] == right[i]:
            hits += 1
    return hits / len(best)


RIGHT["hit_rate"] = [
    hit_rate_by_loop,
    lambda b, r: np.mean(np.array(b) == np.array(r)),
]
WRONG["hit_rate"] = {
    "sets": lambda b, r: len(set(b) & set(r)) / len(r),
    "the other way in": lambda b, r: sum(x in b for x in r) / len(r),
    "sorted": lambda b, r: hit_rate_by_loop(sorted(b), sorted(r)),
    "reversed": lambda b, r: hit_rate_by_loop(b[::-1], r),
    "all or nothing": lambda b, r: float(b == r),
    "percent": lambda b, r: 100 * hit_rate_by_loop(b, r),
    "whole division": lambda b, r: int(hit_rate_by_loop(b, r)),
    "without the last": lambda b, r: (
        sum(b[i] == r[i] for i in range(len(b) - 1)) / len(b)
    ),
    "by one less": lambda b, r: sum(map(int.__eq__, b, r)) / max(1, len(b) - 1),
    "by the names": lambda b, r: sum(map(int.__eq__, b, r)) / len(set(r)),
    "half": lambda b, r: 0.5,
    "one": lambda b, r: 1.0,
}


# 01 · cosine_matrix(a, b)
def cosine_by_loops(a, b):
    out = torch.zeros(len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = (a[i] * b[j]).sum() / (a[i].norm() * b[j].norm())
    return out


def cosine_by_numpy(a, b):
    a, b = array(a).astype(float), array(b).astype(float)
    lengths = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return torch.from_numpy(a @ b.T / lengths)


RIGHT["cosine_matrix"] = [cosine_by_loops, cosine_by_numpy]
WRONG["cosine_matrix"] = {
    "squared lengths": lambda a, b: (
        a @ b.T / (a.square().sum(1)[:, None] * b.square().sum(1)[None])
    ),
    "one length for all": lambda a, b: (a / a.norm()) @ (b / b.norm()).T,
    "L1 lengths": lambda a, b: (
        F.normalize(a, p=1, dim=1) @ F.normalize(b, p=1, dim=1).T
    ),
    "softmax": lambda a, b: a.softmax(-1) @ b.softmax(-1).T,
    "distance": lambda a, b: torch.cdist(unit(a), unit(b)),
    "one minus": lambda a, b: 1 - unit(a) @ unit(b).T,
    "clamped": lambda a, b: (unit(a) @ unit(b).T).clamp(min=0),
    "a with itself": lambda a, b: unit(a) @ unit(a).T,
    "mean taken away": lambda a, b: (
        unit(a - a.mean(1, keepdim=True)) @ unit(b - b.mean(1, keepdim=True)).T
    ),
    "row by row": lambda a, b: F.cosine_similarity(a, b[: len(a)], dim=-1),
    "flat": lambda a, b: (unit(a) @ unit(b).T).flatten(),
}


# 01 · retrieval(scores, k)
def retrieval_by_loop(scores, k):
    hits = 0
    for i, row in enumerate(scores.tolist()):
        order = sorted(range(len(row)), key=lambda j: row[j], reverse=True)
        hits += i in order[:k]
    return hits / len(scores)


def retrieval_by_numpy(scores, k):
    order = np.argsort(-array(scores), axis=1, kind="stable")[:, :k]
    return (order == np.arange(len(order))[:, None]).any(1).mean()


def top(scores, k, dim=1):
    return scores.topk(k, dim=dim).indices


RIGHT["retrieval"] = [retrieval_by_loop, retrieval_by_numpy]
WRONG["retrieval"] = {
    "best of all rows": lambda s, k: retrieval_by_loop(s.mean(0).expand_as(s), k),
    "argmax": lambda s, k: (s.argmax(1) == torch.arange(len(s))).float().mean().item(),
    "the k-th alone": lambda s, k: (
        (top(s, k)[:, -1] == torch.arange(len(s))).float().mean().item()
    ),
    "precision": lambda s, k: retrieval_by_loop(s, k) / k,
    "k + 1 where it fits": lambda s, k: retrieval_by_loop(s, min(k + 1, len(s))),
    "k - 1, at least 1": lambda s, k: retrieval_by_loop(s, max(k - 1, 1)),
    "smallest": lambda s, k: retrieval_by_loop(-s, k),
    "columns": lambda s, k: retrieval_by_loop(s.T, k),
    "row i among any": lambda s, k: (
        torch.isin(torch.arange(len(s)), top(s, k)).float().mean().item()
    ),
    "without the row": lambda s, k: (
        (top(s, k) == torch.arange(k)[None]).any(1).float().mean().item()
    ),
    "own above 0": lambda s, k: (s.diagonal() > 0).float().mean().item(),
    "own above the mean": lambda s, k: (s >= s.mean(1, True)).diagonal().float().mean(),
    "ranks of distinct scores": lambda s, k: float(
        np.mean([sum(v > r[i] for v in set(r)) < k for i, r in enumerate(s.tolist())])
    ),
    "chance": lambda s, k: k / len(s),
    "one": lambda s, k: 1.0,
    "for each row": lambda s, k: (top(s, k) == torch.arange(len(s))[:, None]).any(1),
}


# 01 · many_positives(logits, ids)
def positives_by_loop(logits, ids):
    total = 0.0
    for i in range(len(ids)):
        right = [j for j in range(len(ids)) if ids[j] == ids[i]]
        every = logits[i].exp().sum().log()
        total += sum((every - logits[i, j]).item() for j in right) / len(right)
    return total / len(ids)


def positives_by_numpy(logits, ids):
    s, ids = array(logits).astype(float), array(ids)
    target = (ids[:, None] == ids).astype(float)
    target /= target.sum(1, keepdims=True)
    logs = s - np.log(np.exp(s).sum(1, keepdims=True))
    return -(target * logs).sum(1).mean()


def share_of(ids):
    table = (ids[:, None] == ids[None]).float()
    return table / table.sum(1, keepdim=True)


RIGHT["many_positives"] = [positives_by_loop, positives_by_numpy]
WRONG["many_positives"] = {
    "ids as columns": lambda s, ids: F.cross_entropy(s, ids % len(s)).item(),
    "mean of the table": lambda s, ids: -(share_of(ids) * s.log_softmax(1)).mean(),
    "both halves": lambda s, ids: (
        (F.cross_entropy(s, share_of(ids)) + F.cross_entropy(s.T, share_of(ids))) / 2
    ),
    "softmax down": lambda s, ids: -(share_of(ids) * s.log_softmax(0)).sum(1).mean(),
    "no softmax": lambda s, ids: -(share_of(ids) * s).sum(1).mean(),
    "no logarithm": lambda s, ids: -(share_of(ids) * s.softmax(1)).sum(1).mean(),
    "shared over the batch": lambda s, ids: (
        -((ids[:, None] == ids[None]) * s.log_softmax(1)).sum()
        / (ids[:, None] == ids[None]).sum()
    ),
    "best positive": lambda s, ids: (
        -s.log_softmax(1)
        .masked_fill(ids[:, None] != ids[None], -torch.inf)
        .amax(1)
        .mean()
    ),
    "sigmoid": lambda s, ids: F.binary_cross_entropy_with_logits(s, share_of(ids)),
    "divided again": lambda s, ids: F.cross_entropy(s, share_of(ids)) / len(s),
    "for each picture": lambda s, ids: -(share_of(ids) * s.log_softmax(1)).sum(1),
    "neighbours alone": lambda s, ids: (
        -(share_of(ids).tril() * s.log_softmax(1)).sum(1).mean()
    ),
}


# 02 · ensemble(vectors)
def ensemble_by_loops(vectors):
    rows = []
    for templates in vectors:
        total = torch.zeros(vectors.shape[2])
        for v in templates:
            total = total + v / v.norm()
        rows.append(total / total.norm())
    return torch.stack(rows)


def ensemble_by_numpy(vectors):
    v = array(vectors).astype(float)
    v /= np.linalg.norm(v, axis=2, keepdims=True)
    v = v.mean(axis=1)
    return torch.from_numpy(v / np.linalg.norm(v, axis=1, keepdims=True))


RIGHT["ensemble"] = [ensemble_by_loops, ensemble_by_numpy]
WRONG["ensemble"] = {
    "last template": lambda v: unit(v[:, -1]),
    "median": lambda v: unit(unit(v).median(dim=1).values),
    "largest": lambda v: unit(unit(v).amax(1)),
    "normalised over classes": lambda v: unit(unit(unit(v).mean(1)), dim=0),
    "one length for a class": lambda v: unit(
        (v / v.norm(dim=(1, 2), keepdim=True)).mean(1)
    ),
    "divided by K twice": lambda v: unit(v).mean(1) / v.shape[1],
    "over the numbers": lambda v: unit(unit(v).mean(2)),
    "mean kept as a dim": lambda v: unit(unit(v).mean(1, keepdim=True)),
    "not averaged": lambda v: unit(v),
    "softmax": lambda v: unit(v).mean(1).softmax(-1),
    "squared length": lambda v: unit((v / v.square().sum(-1, keepdim=True)).mean(1)),
    "absolute": lambda v: unit(unit(v).abs().mean(1)),
}


# 02 · top_five(scores, labels)
def five_by_loop(scores, labels):
    hits = 0
    for row, own in zip(scores.tolist(), labels.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda c: -row[c])
        hits += own in order[:5]
    return hits / len(labels)


def five_by_numpy(scores, labels):
    s, y = array(scores), array(labels)
    own = s[np.arange(len(s)), y][:, None]
    return float(((s > own).sum(1) < 5).mean())


RIGHT["top_five"] = [five_by_loop, five_by_numpy]
WRONG["top_five"] = {
    "argmax": lambda s, y: (s.argmax(1) == y).float().mean().item(),
    "argsort upwards": lambda s, y: (
        (s.argsort(1)[:, :5] == y[:, None]).any(1).float().mean().item()
    ),
    "mean over the table": lambda s, y: (top(s, 5) == y[:, None]).float().mean().item(),
    "any label": lambda s, y: torch.isin(y, top(s, 5)).float().mean().item(),
    "labels as positions": lambda s, y: (y < 5).float().mean().item(),
    "fifth alone": lambda s, y: (top(s, 5)[:, 4] == y).float().mean().item(),
    "at most five above": lambda s, y: (
        ((s > s.gather(1, y[:, None])).sum(1) <= 5).float().mean().item()
    ),
    "distinct scores": lambda s, y: float(
        np.mean(
            [
                sum(v > r[c] for v in set(r)) < 5
                for r, c in zip(s.tolist(), y, strict=True)
            ]
        )
    ),
    "positive": lambda s, y: (s.gather(1, y[:, None]) > 0).float().mean().item(),
    "one": lambda s, y: 1.0,
    "chance": lambda s, y: 5 / s.shape[1],
    "first picture": lambda s, y: five_by_loop(s[:1], y[:1]),
}


# 02 · best_scale(cosines, labels, scales)
def scale_by_loop(cosines, labels, scales):
    best, least = None, math.inf
    for s in scales:
        logs = (s * cosines).log_softmax(1)
        loss = -sum(logs[i, y].item() for i, y in enumerate(labels)) / len(labels)
        if loss < least:
            best, least = s, loss
    return best


def scale_by_numpy(cosines, labels, scales):
    x = array(cosines).astype(float)[:, None] * np.array(scales, float)[:, None]
    p = np.exp(x) / np.exp(x).sum(2, keepdims=True)  # (N, scales, C)
    own = np.take_along_axis(p, array(labels)[:, None, None], 2)[..., 0]
    return np.array(scales)[np.log(own + 1e-300).mean(0).argmax()]


def chosen(cost):
    return lambda x, y, scales: min(scales, key=lambda s: float(cost(s * x, y)))


def own_p(x, y):
    return x.softmax(1).gather(1, y[:, None])[:, 0]


RIGHT["best_scale"] = [scale_by_loop, scale_by_numpy]
WRONG["best_scale"] = {
    "accuracy": chosen(lambda x, y: -(x.argmax(1) == y).float().mean()),
    "largest": lambda x, y, scales: max(scales),
    "smallest": lambda x, y, scales: min(scales),
    "middle": lambda x, y, scales: sorted(scales)[len(scales) // 2],
    "ten": lambda x, y, scales: 10.0,
    "last": lambda x, y, scales: scales[-1],
    "no softmax": chosen(lambda x, y: -x.gather(1, y[:, None]).mean()),
    "brier": chosen(
        lambda x, y: (x.softmax(1) - F.one_hot(y, x.shape[1])).square().sum()
    ),
    "mean of p": chosen(lambda x, y: -own_p(x, y).mean()),
    "worst picture": chosen(lambda x, y: -own_p(x, y).log().amin()),
    "median": chosen(lambda x, y: -own_p(x, y).log().median()),
    "first picture": chosen(lambda x, y: F.cross_entropy(x[:1], y[:1])),
    "largest loss": chosen(lambda x, y: -F.cross_entropy(x, y)),
    "softmax over pictures": chosen(
        lambda x, y: -x.log_softmax(0).gather(1, y[:, None]).mean()
    ),
    "sure as right": chosen(
        lambda x, y: (
            x.softmax(1).amax(1).mean() - (x.argmax(1) == y).float().mean()
        ).abs()
    ),
    "softmax twice": chosen(lambda x, y: F.cross_entropy(x.softmax(1), y)),
    "divided": lambda x, y, scales: min(
        scales, key=lambda s: F.cross_entropy(x / s, y).item()
    ),
    "hinge": chosen(lambda x, y: (1 + x - x.gather(1, y[:, None])).clamp(min=0).mean()),
}


# 02 · none_of_these(scores, threshold)
def none_by_loop(scores, threshold):
    out = []
    for row in scores:
        best = int(row.argmax())
        out.append(best if row[best] >= threshold else -1)
    return torch.tensor(out)


def none_by_numpy(scores, threshold):
    x = array(scores)
    return torch.from_numpy(np.where(x.max(1) >= threshold, x.argmax(1), -1))


def none_where(low, other=-1):
    def answer(scores, threshold):
        best = scores.argmax(1)
        best[low(scores, threshold)] = other
        return best

    return answer


RIGHT["none_of_these"] = [none_by_loop, none_by_numpy]
WRONG["none_of_these"] = {
    "any too low": none_where(lambda s, t: (s < t).any(1)),
    "second too low": none_where(lambda s, t: s.topk(2, 1).values[:, 1] < t),
    "zero for none": none_where(lambda s, t: s.amax(1) < t, 0),
    "softmax first": lambda s, t: none_by_loop(s.softmax(1), t),
    "sigmoid first": lambda s, t: none_by_loop(s.sigmoid(), t),
    "size of the score": lambda s, t: none_by_loop(s.abs(), t),
    "margin": none_where(lambda s, t: s.amax(1) - s.topk(2, 1).values[:, 1] < t),
    "threshold a half": lambda s, t: none_by_loop(s, 0.5),
    "one for all": none_where(lambda s, t: (s < t).all().expand(len(s))),
    "over the pictures": lambda s, t: none_by_loop(s.T, t),
    "the first above": lambda s, t: torch.where(
        (s >= t).any(1), (s >= t).long().argmax(1), -1
    ),
    "lowest class": none_where(lambda s, t: s.amin(1) < t),
    "how many fit": lambda s, t: (s >= t).sum(1),
    "sum too low": none_where(lambda s, t: s.sum(1) < t),
    "always none": lambda s, t: torch.full((len(s),), -1),
}


# 03 · mixed_query(words, picture, weight)
def mixed_by_loop(words, picture, weight):
    out = words.clone()
    for i in range(len(words)):
        out[i] = words[i] + weight * (picture[i] - words[i])
    return out / out.square().sum().sqrt()


def mixed_by_numpy(words, picture, weight):
    mixed = (1 - weight) * array(words).astype(float) + weight * array(picture)
    return torch.from_numpy(mixed / np.linalg.norm(mixed))


RIGHT["mixed_query"] = [mixed_by_loop, mixed_by_numpy]
WRONG["mixed_query"] = {
    "largest 1": lambda w, p, s: F.normalize((1 - s) * w + s * p, p=torch.inf, dim=0),
    "L1": lambda w, p, s: F.normalize((1 - s) * w + s * p, p=1, dim=0),
    "sum 1": lambda w, p, s: ((1 - s) * w + s * p).softmax(0),
    "half": lambda w, p, s: unit(0.5 * w + 0.5 * p),
    "minus": lambda w, p, s: unit((1 - s) * w - s * p),
    "plus one": lambda w, p, s: unit((1 + s) * w + s * p),
    "words": lambda w, p, s: w,
    "picture": lambda w, p, s: p,
    "nearer": lambda w, p, s: w if s < 0.5 else p,
    "squared length": lambda w, p, s: (
        ((1 - s) * w + s * p) / ((1 - s) * w + s * p).square().sum()
    ),
    "divided by two": lambda w, p, s: ((1 - s) * w + s * p) / 2,
    "roots": lambda w, p, s: unit((1 - s) ** 0.5 * w + s**0.5 * p),
    "a row": lambda w, p, s: unit((1 - s) * w + s * p)[None],
    "joined": lambda w, p, s: unit(torch.cat([(1 - s) * w, s * p])),
}


# 03 · mean_rank(scores)
def rank_by_loop(scores):
    total = 0
    for i in range(len(scores)):
        total += 1
        for j in range(len(scores)):
            total += int(scores[i, j] > scores[i, i])
    return total / len(scores)


def rank_by_numpy(scores):
    order = np.argsort(-array(scores), axis=1)
    return (order == np.arange(len(order))[:, None]).argmax(1).mean() + 1


RIGHT["mean_rank"] = [rank_by_loop, rank_by_numpy]
WRONG["mean_rank"] = {
    "own counted twice": lambda s: ((s >= own_of(s)).sum(1) + 1).float().mean().item(),
    "distinct scores": lambda s: float(
        np.mean([1 + sum(v > r[i] for v in set(r)) for i, r in enumerate(s.tolist())])
    ),
    "reciprocal": lambda s: (1 / ((s > own_of(s)).sum(1) + 1)).float().mean().item(),
    "reciprocal undone": lambda s: (
        1 / (1 / ((s > own_of(s)).sum(1) + 1)).float().mean().item()
    ),
    "upwards": lambda s: rank_by_loop(-s),
    "columns": lambda s: rank_by_loop(s.T),
    "worst": lambda s: ((s > own_of(s)).sum(1) + 1).float().max().item(),
    "first row": lambda s: ((s[0] > s[0, 0]).sum() + 1).item(),
    "sum": lambda s: ((s > own_of(s)).sum(1) + 1).float().sum().item(),
    "share": lambda s: rank_by_loop(s) / len(s),
    "one for all": lambda s: (s > own_of(s)).float().sum().item() / len(s) + len(s),
    "mean score": lambda s: s.diagonal().mean().item(),
    "chance": lambda s: (len(s) + 1) / 2,
    "one": lambda s: 1.0,
    "rounded": lambda s: float(round(rank_by_loop(s))),
    "argsort": lambda s: (s.argsort(1).diagonal() + 1).float().mean().item(),
}


# 03 · lists_to_read(x, lists, centres, query, probes)
def ivf_by_loop(x, lists, centres, query, probes):
    order = (centres @ query).argsort(descending=True)[:probes].tolist()
    best, highest = -1, -math.inf
    for i in range(len(x)):
        score = (x[i] * query).sum().item()
        if lists[i] in order and score > highest:
            best, highest = i, score
    return best


def ivf_by_numpy(x, lists, centres, query, probes):
    x, lists, centres, query = map(array, (x, lists, centres, query))
    near = np.argsort(np.linalg.norm(centres - query, axis=1))[:probes]
    rows = np.flatnonzero(np.isin(lists, near))
    return rows[(x[rows] @ query).argmax()] if len(rows) else -1


def ivf(x, lists, centres, query, probes):
    inside = torch.isin(lists, (centres @ query).topk(probes).indices)
    return inside, x @ query


def place_inside(x, ls, cs, q, p):
    inside, scores = ivf(x, ls, cs, q, p)
    return int(scores[inside].argmax()) if inside.any() else -1


RIGHT["lists_to_read"] = [ivf_by_loop, ivf_by_numpy]
WRONG["lists_to_read"] = {
    "the place inside the lists": place_inside,
    "probes - 1": lambda x, ls, cs, q, p: ivf_by_loop(x, ls, cs, q, max(p - 1, 1)),
    "probes + 1": lambda x, ls, cs, q, p: ivf_by_loop(x, ls, cs, q, p + 1),
    "0 if empty": lambda x, ls, cs, q, p: max(ivf_by_loop(x, ls, cs, q, p), 0),
    "exhaustive if empty": lambda x, ls, cs, q, p: (
        int((x @ q).argmax())
        if ivf_by_loop(x, ls, cs, q, p) < 0
        else ivf_by_loop(x, ls, cs, q, p)
    ),
    "None if empty": lambda x, ls, cs, q, p: (
        None if ivf_by_loop(x, ls, cs, q, p) < 0 else ivf_by_loop(x, ls, cs, q, p)
    ),
    "fails if empty": lambda x, ls, cs, q, p: max(
        (i for i in range(len(x)) if ivf(x, ls, cs, q, p)[0][i]), key=lambda i: x[i] @ q
    ),
    "times the mask": lambda x, ls, cs, q, p: (
        int((ivf(x, ls, cs, q, p)[0] * (x @ q)).argmax())
        if ivf(x, ls, cs, q, p)[0].any()
        else -1
    ),
    "only positive": lambda x, ls, cs, q, p: (
        ivf_by_loop(x, ls, cs, q, p) if (x @ q).max() > 0 else -1
    ),
    "first of the lists": lambda x, ls, cs, q, p: (
        int(ivf(x, ls, cs, q, p)[0].float().argmax())
        if ivf(x, ls, cs, q, p)[0].any()
        else -1
    ),
    "the worst row": lambda x, ls, cs, q, p: ivf_by_loop(-x, ls, cs, q, p),
    "the list of the best row": lambda x, ls, cs, q, p: int(ls[(x @ q).argmax()]),
    "lists ignored": lambda x, ls, cs, q, p: ivf_by_loop(
        x, (x @ cs.T).argmax(1), cs, q, p
    ),
    "the first lists": lambda x, ls, cs, q, p: max(
        (i for i in range(len(x)) if ls[i] < p), key=lambda i: x[i] @ q, default=-1
    ),
    "stops at the first list with rows": lambda x, ls, cs, q, p: next(
        (
            max((i for i in range(len(x)) if ls[i] == c), key=lambda i: x[i] @ q)
            for c in (cs @ q).topk(p).indices
            if (ls == c).any()
        ),
        -1,
    ),
    "-1 if one list is empty": lambda x, ls, cs, q, p: (
        ivf_by_loop(x, ls, cs, q, p)
        if all((ls == c).any() for c in (cs @ q).topk(p).indices)
        else -1
    ),
    "the row itself": lambda x, ls, cs, q, p: x[ivf_by_loop(x, ls, cs, q, p)],
    "a list": lambda x, ls, cs, q, p: [ivf_by_loop(x, ls, cs, q, p)],
    "never": lambda x, ls, cs, q, p: -1,
}


# 04 · nearest(z, book)
def nearest_by_loop(z, book):
    codes = []
    for v in z:
        codes.append(min(range(len(book)), key=lambda k: (v - book[k]).norm().item()))
    return torch.tensor(codes)


def nearest_by_numpy(z, book):
    z, book = array(z), array(book)
    return torch.from_numpy(((z[:, None] - book) ** 2).sum(2).argmin(1))


RIGHT["nearest_code"] = [nearest_by_loop, nearest_by_numpy]
WRONG["nearest_code"] = {
    "smallest product": lambda z, e: (z @ e.T).argmin(1),
    "without the 2": lambda z, e: (e.pow(2).sum(1) - z @ e.T).argmin(1),
    "wrong sign": lambda z, e: (e.pow(2).sum(1) + 2 * z @ e.T).argmin(1),
    "length, not its square": lambda z, e: (e.norm(dim=1) - 2 * z @ e.T).argmin(1),
    "no square": lambda z, e: (z[:, None] - e[None]).sum(2).argmin(1),
    "no square, absolute": lambda z, e: (z[:, None] - e).sum(2).abs().argmin(1),
    "largest part": lambda z, e: torch.cdist(z, e, p=torch.inf).argmin(1),
    "first part": lambda z, e: (z[:, :1] - e[:, :1].T).abs().argmin(1),
    "both normalised": lambda z, e: torch.cdist(unit(z), unit(e)).argmin(1),
    "distances": lambda z, e: torch.cdist(z, e).amin(1),
    "rows of the book": lambda z, e: e[torch.cdist(z, e).argmin(1)],
    "one for all": lambda z, e: torch.cdist(z, e).sum(0).argmin().expand(len(z)),
    "table": lambda z, e: torch.cdist(z, e).argmin(1)[:, None],
    "floats": lambda z, e: torch.cdist(z, e).argmin(1).float(),
    "zeros": lambda z, e: torch.zeros(len(z), dtype=torch.long),
    "first ones": lambda z, e: torch.arange(len(z)) % len(e),
}


# 04 · perplexity(codes, count)
def perplexity_by_loop(codes, count):
    entropy = 0.0
    for k in range(count):
        share = (codes == k).sum().item() / len(codes)
        if share > 0:
            entropy -= share * math.log(share)
    return math.exp(entropy)


def perplexity_by_numpy(codes, count):
    _, times = np.unique(array(codes), return_counts=True)
    share = times / times.sum()
    return np.exp2(-(share * np.log2(share)).sum())


def shares(codes, count):
    return codes.bincount(minlength=count) / len(codes)


RIGHT["perplexity"] = [perplexity_by_loop, perplexity_by_numpy]
WRONG["perplexity"] = {
    "nan at 0": lambda c, n: (-(shares(c, n) * shares(c, n).log()).sum()).exp().item(),
    "mean": lambda c, n: torch.special.entr(shares(c, n)).mean().exp().item(),
    "no weights": lambda c, n: (
        (-shares(c, n).clamp(min=1e-12).log().mean()).exp().item()
    ),
    "coarse clamp": lambda c, n: (
        torch.special.entr(shares(c, n).clamp(min=0.05)).sum().exp().item()
    ),
    "codes as shares": lambda c, n: (
        torch.special.entr(c / c.sum().clamp(min=1)).sum().exp().item()
    ),
    "softmax": lambda c, n: (
        torch.special.entr(c.bincount(minlength=n).float().softmax(0))
        .sum()
        .exp()
        .item()
    ),
    "by count": lambda c, n: (
        torch.special.entr(c.bincount(minlength=n) / n).sum().exp().item()
    ),
    "all codes": lambda c, n: float(n),
    "codes seen": lambda c, n: float(len(set(c.tolist()))),
    "largest code": lambda c, n: float(c.max() + 1),
    "inverse of the top share": lambda c, n: (1 / shares(c, n).max()).item(),
    "natural log, base 2": lambda c, n: (
        2 ** torch.special.entr(shares(c, n)).sum().item()
    ),
    "without code 0": lambda c, n: (
        torch.special.entr(shares(c, n)[1:]).sum().exp().item()
    ),
    "last code lost": lambda c, n: (
        torch.special.entr(shares(c, n)[: n - 1]).sum().exp().item()
    ),
    "one": lambda c, n: 1.0,
}


# 04 · top_k(logits, k)
def keep_by_loop(logits, k):
    rows = []
    for row in logits:
        kept = row.argsort(descending=True)[:k]
        p = torch.zeros_like(row)
        p[kept] = row[kept].softmax(0)
        rows.append(p)
    return torch.stack(rows)


def keep_by_numpy(logits, k):
    x = array(logits).astype(float)
    order = np.argsort(-x, axis=1)[:, :k]
    p = np.zeros_like(x)
    e = np.exp(x - x.max(1, keepdims=True))
    np.put_along_axis(p, order, np.take_along_axis(e, order, 1), 1)
    return torch.from_numpy(p / p.sum(1, keepdims=True))


def mask_of(x, k):
    return x < x.topk(k, dim=-1).values[:, -1:]


RIGHT["keep_top_k"] = [keep_by_loop, keep_by_numpy]
WRONG["keep_top_k"] = {
    "no renormalising": lambda x, k: x.softmax(-1).masked_fill(mask_of(x, k), 0),
    "times the mask": lambda x, k: (x * ~mask_of(x, k)).softmax(-1),
    "small minus": lambda x, k: x.masked_fill(mask_of(x, k), -10.0).softmax(-1),
    "k smallest": lambda x, k: x.masked_fill(
        x > x.topk(k, largest=False).values[:, -1:], -torch.inf
    ).softmax(-1),
    "strictly above": lambda x, k: x.masked_fill(
        x <= x.topk(k).values[:, -1:], -torch.inf
    ).softmax(-1),
    "k + 1": lambda x, k: keep_by_loop(x, k + 1),
    "first row's limit": lambda x, k: x.masked_fill(
        x < x[0].topk(k).values[-1], -torch.inf
    ).softmax(-1),
    "first k": lambda x, k: F.pad(x[:, :k].softmax(-1), (0, x.shape[1] - k)),
    "only the values": lambda x, k: x.topk(k).values.softmax(-1),
    "greedy": lambda x, k: F.one_hot(x.argmax(-1), x.shape[1]).float(),
    "even": lambda x, k: (~mask_of(x, k)).float() / k,
    "no softmax": lambda x, k: x.masked_fill(mask_of(x, k), 0.0),
    "log": lambda x, k: x.masked_fill(mask_of(x, k), -torch.inf).log_softmax(-1),
    "sigmoid": lambda x, k: x.masked_fill(mask_of(x, k), -torch.inf).sigmoid(),
    "not exponential": lambda x, k: (
        x.masked_fill(mask_of(x, k), 0) / x.masked_fill(mask_of(x, k), 0).sum(-1, True)
    ),
    "above 1 / k": lambda x, k: F.normalize(
        x.softmax(-1) * (x.softmax(-1) >= 1 / (2 * k)), p=1, dim=-1
    ),
}


# 05 · half_squared_angle(a, b)
def angle_by_loop(a, b):
    out = []
    for u, v in zip(a.tolist(), b.tolist(), strict=True):
        cosine = sum(x * y for x, y in zip(u, v, strict=True))
        out.append(math.acos(max(-1.0, min(1.0, cosine))) ** 2 / 2)
    return torch.tensor(out)


def angle_by_numpy(a, b):
    chord = np.linalg.norm(array(a).astype(float) - array(b), axis=1)
    return torch.from_numpy(2 * np.arcsin(np.minimum(chord / 2, 1)) ** 2)


def angle(a, b, low=-1.0, high=1.0):
    return (a * b).sum(-1).clamp(low, high).arccos()


RIGHT["great_circle"] = [angle_by_loop, angle_by_numpy]
WRONG["great_circle"] = {
    "no clamp": lambda a, b: (a * b).sum(-1).arccos().square() / 2,
    "clamp at 0": lambda a, b: angle(a, b, 0.0).square() / 2,
    "wide clamp": lambda a, b: angle(a, b, -0.95, 0.95).square() / 2,
    "square of the half": lambda a, b: (angle(a, b) / 2) ** 2,
    "twice": lambda a, b: 2 * angle(a, b).square(),
    "arcsin": lambda a, b: (a * b).sum(-1).clamp(-1, 1).arcsin().square() / 2,
    "no arcsin": lambda a, b: 2 * ((a - b).norm(dim=-1) / 2).square(),
    "arcsin of the chord": lambda a, b: (
        (a - b).norm(dim=-1).clamp(max=1).arcsin().square() / 2
    ),
    "cosine": lambda a, b: F.cosine_similarity(a, b, dim=-1),
    "every pair": lambda a, b: (a @ b.T).clamp(-1, 1).arccos().square() / 2,
    "mean": lambda a, b: (angle(a, b).square() / 2).mean(),
    "down": lambda a, b: (a * b).sum(0).clamp(-1, 1).arccos().square() / 2,
    "negative": lambda a, b: -angle(a, b).square() / 2,
    "degrees": lambda a, b: angle(a, b).rad2deg().square() / 2,
    "zeros": lambda a, b: torch.zeros(len(a)),
}


# 05 · several_prompts(cuts, goals, weights)
def prompts_by_loops(cuts, goals, weights):
    total = torch.tensor(0.0)
    for k in range(len(goals)):
        for n in range(len(cuts)):
            d = angle(cuts[n], goals[k]).square() / 2
            total = total + weights[k] * d / len(cuts)
    return total


def prompts_by_numpy(cuts, goals, weights):
    cuts, goals, weights = map(array, (cuts, goals, weights))
    d = np.arccos(np.clip(cuts @ goals.T, -1, 1)) ** 2 / 2
    return float(d.mean(0) @ weights)


def table(cuts, goals):
    return (cuts @ goals.T).clamp(-1, 1).arccos().square() / 2


RIGHT["prompt_loss"] = [prompts_by_loops, prompts_by_numpy]
WRONG["prompt_loss"] = {
    "no clamp": lambda c, g, w: (c @ g.T).arccos().square().mean(0) @ w / 2,
    "weights over their sum": lambda c, g, w: table(c, g).mean(0) @ (w / w.sum()),
    "over the absolute sum": lambda c, g, w: table(c, g).mean(0) @ (w / w.abs().sum()),
    "softmax of weights": lambda c, g, w: table(c, g).mean(0) @ w.softmax(0),
    "clamped weights": lambda c, g, w: table(c, g).mean(0) @ w.clamp(min=0),
    "squared weights": lambda c, g, w: table(c, g).mean(0) @ w.square(),
    "mean of all": lambda c, g, w: (table(c, g) * w).mean(),
    "sum of all": lambda c, g, w: (table(c, g) * w).sum(),
    "first cut": lambda c, g, w: table(c[:1], g)[0] @ w,
    "first prompt": lambda c, g, w: table(c, g[:1]).mean() * w[0],
    "nearest cut": lambda c, g, w: table(c, g).amin(0) @ w,
    "nearest prompt": lambda c, g, w: (table(c, g) * w).amin(1).mean(),
    "one mixed goal": lambda c, g, w: table(
        c, unit((w[:, None] * g).sum(0, keepdim=True))
    ).mean(),
    "median": lambda c, g, w: table(c, g).median(0).values @ w,
    "angle": lambda c, g, w: (c @ g.T).clamp(-1, 1).arccos().mean(0) @ w,
    "square": lambda c, g, w: (c @ g.T).clamp(-1, 1).arccos().square().mean(0) @ w,
    "chord": lambda c, g, w: torch.cdist(c, g).square().mean(0) @ w / 2,
    "chord, arcsin forgotten": lambda c, g, w: 2 * (torch.cdist(c, g) / 2).mean(0) @ w,
    "square of the mean": lambda c, g, w: (
        (c @ g.T).clamp(-1, 1).arccos().mean(0).square() @ w / 2
    ),
    "clamp at 0": lambda c, g, w: (
        (c @ g.T).clamp(0, 1).arccos().square().mean(0) @ w / 2
    ),
    "zero if negative": lambda c, g, w: (table(c, g).mean(0) @ w).clamp(min=0),
    "absolute": lambda c, g, w: (table(c, g).mean(0) @ w).abs(),
    "negative mirrored": lambda c, g, w: (
        table(c, g * w.sign()[:, None]).mean(0) @ w.abs()
    ),
    "for each prompt": lambda c, g, w: table(c, g).mean(0) * w,
    "weights by cuts": lambda c, g, w: (table(c, g).mean(1) * w).sum(),
}


# 05 · crops(picture, top, left, size)
def crops_by_loops(picture, top, left, size):
    out = torch.zeros(len(top), 3, size, size)
    for n in range(len(top)):
        for y in range(size):
            for x in range(size):
                out[n, :, y, x] = picture[:, top[n] + y, left[n] + x]
    return out


def crops_by_numpy(picture, top, left, size):
    step = np.arange(size)
    y = array(top)[:, None, None] + step[:, None]
    x = array(left)[:, None, None] + step
    return torch.from_numpy(array(picture)[:, y, x].transpose(1, 0, 2, 3).copy())


def cut(p, t, s, n):
    return torch.stack([p[:, a : a + n, b : b + n] for a, b in zip(t, s, strict=True)])


RIGHT["random_crops"] = [crops_by_loops, crops_by_numpy]
WRONG["random_crops"] = {
    "swapped": lambda p, t, s, n: cut(p, s, t, n),
    "one pixel more": lambda p, t, s, n: cut(p, t, s, n + 1),
    "one pixel less": lambda p, t, s, n: cut(p, t, s, n - 1),
    "one further": lambda p, t, s, n: cut(p, t + 1, s + 1, n),
    "one back": lambda p, t, s, n: cut(p, (t - 1).clamp(0), (s - 1).clamp(0), n),
    "size as the end": lambda p, t, s, n: torch.stack(
        [p[:, a:n, b:n] for a, b in zip(t, s, strict=True)]
    ),
    "always the corner": lambda p, t, s, n: cut(p, 0 * t, 0 * s, n),
    "always the middle": lambda p, t, s, n: cut(
        p, 0 * t + (p.shape[1] - n) // 2, 0 * s + (p.shape[2] - n) // 2, n
    ),
    "top for both": lambda p, t, s, n: cut(p, t, t, n),
    "sorted": lambda p, t, s, n: cut(p, t.sort().values, s.sort().values, n),
    "reversed": lambda p, t, s, n: cut(p, t, s, n).flip(0),
    "upside down": lambda p, t, s, n: cut(p, t, s, n).flip(2),
    "from below": lambda p, t, s, n: cut(p, p.shape[1] - n - t, s, n),
    "channels last": lambda p, t, s, n: cut(p, t, s, n).permute(0, 2, 3, 1),
    "channels swapped": lambda p, t, s, n: cut(p, t, s, n).flip(1),
    "first only": lambda p, t, s, n: cut(p, t[:1], s[:1], n),
    "shrunk": lambda p, t, s, n: F.interpolate(p[None], (n, n)).expand(
        len(t), -1, -1, -1
    ),
    "list": lambda p, t, s, n: list(cut(p, t, s, n)),
    "joined": lambda p, t, s, n: torch.cat(list(cut(p, t, s, n))),
}


# 06 · mirror_loss(picture)
def mirror_by_loops(picture):
    _, channels, height, width = picture.shape
    total = 0.0
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                total += (picture[0, c, y, x] - picture[0, c, y, width - 1 - x]) ** 2
    return total / (channels * height * width)


def mirror_by_numpy(picture):
    p = array(picture)
    return np.square(p - p[..., ::-1]).mean()


RIGHT["mirror_loss"] = [mirror_by_loops, mirror_by_numpy]
WRONG["mirror_loss"] = {
    "up and down": lambda p: F.mse_loss(p, p.flip(2)),
    "both": lambda p: F.mse_loss(p, p.flip(2).flip(3)),
    "rotated": lambda p: F.mse_loss(p, p.rot90(2, (2, 3))),
    "transposed": lambda p: (p - p.transpose(2, 3)).square().mean(),
    "either": lambda p: torch.minimum(
        F.mse_loss(p, p.flip(2)), F.mse_loss(p, p.flip(3))
    ),
    "absolute": lambda p: F.l1_loss(p, p.flip(3)),
    "sum": lambda p: F.mse_loss(p, p.flip(3), reduction="sum"),
    "sum of colours": lambda p: (p - p.flip(3)).square().sum(1).mean(),
    "half": lambda p: F.mse_loss(p, p.flip(3)) / 2,
    "twice": lambda p: 2 * F.mse_loss(p, p.flip(3)),
    "grey": lambda p: F.mse_loss(p.mean(1), p.flip(3).mean(1)),
    "first channel": lambda p: F.mse_loss(p[:, :1], p[:, :1].flip(3)),
    "halves not mirrored": lambda p: F.mse_loss(
        p[..., : p.shape[3] // 2], p[..., (p.shape[3] + 1) // 2 :]
    ),
    "rolled": lambda p: F.mse_loss(p, p.roll(1, 3)),
    "columns": lambda p: F.mse_loss(p.mean(2), p.flip(3).mean(2)),
    "not averaged": lambda p: (p - p.flip(3)).square(),
    "zero": lambda p: torch.tensor(0.0),
    "itself": lambda p: (p - p).square().mean(),
}


# 06 · blocks(colours, size)
def blocks_by_loops(colours, size):
    _, _, h, w = colours.shape
    out = torch.zeros(1, 3, h * size, w * size)
    for y in range(h * size):
        for x in range(w * size):
            out[0, :, y, x] = colours[0, :, y // size, x // size]
    return out


def blocks_by_numpy(colours, size):
    return torch.from_numpy(np.kron(array(colours), np.ones((1, 1, size, size))))


RIGHT["blocks"] = [blocks_by_loops, blocks_by_numpy]
WRONG["blocks"] = {
    "tiled": lambda c, n: c.tile(1, 1, n, n),
    "down only": lambda c, n: c.repeat_interleave(n, 2),
    "across only": lambda c, n: c.repeat_interleave(n, 3),
    "across twice": lambda c, n: c.repeat_interleave(n, 3).repeat_interleave(n, 3),
    "always 2": lambda c, n: c.repeat_interleave(2, 2).repeat_interleave(2, 3),
    "size + 1": lambda c, n: c.repeat_interleave(n + 1, 2).repeat_interleave(n + 1, 3),
    "bilinear": lambda c, n: F.interpolate(
        c, scale_factor=n, mode="bilinear", align_corners=True
    ),
    "bicubic": lambda c, n: F.interpolate(c, scale_factor=n, mode="bicubic"),
    "to size x size": lambda c, n: F.interpolate(c, size=(n, n)),
    "flat": lambda c, n: (
        c.flatten()
        .repeat_interleave(n * n)
        .reshape(1, 3, c.shape[2] * n, c.shape[3] * n)
    ),
    "with gaps": lambda c, n: F.conv_transpose2d(
        c,
        F.pad(torch.ones(1, 1), (0, n - 1, 0, n - 1)).expand(3, 1, n, n),
        stride=n,
        groups=3,
    ),
    "clamped": lambda c, n: blocks_by_loops(c, n).clamp(0, 1),
    "mirrored": lambda c, n: blocks_by_loops(c, n).flip(3),
    "no batch": lambda c, n: blocks_by_loops(c, n)[0],
    "channels last": lambda c, n: blocks_by_loops(c, n).permute(0, 2, 3, 1),
    "unchanged": lambda c, n: c,
}


# 06 · palette_loss(picture, colours)
def palette_by_loops(picture, colours):
    _, _, height, width = picture.shape
    total = 0.0
    for y in range(height):
        for x in range(width):
            pixel = picture[0, :, y, x]
            total += min(((pixel - c) ** 2).sum().item() for c in colours)
    return total / (height * width)


def palette_by_numpy(picture, colours):
    pixels = array(picture)[0].reshape(3, -1).T
    return ((pixels[:, None] - array(colours)) ** 2).sum(2).min(1).mean()


def pixels_of(p):
    return p.flatten(2)[0].T


def square_table(p, c):
    return (pixels_of(p)[:, None] - c).square()  # (H * W, K, 3)


RIGHT["palette_distance"] = [palette_by_loops, palette_by_numpy]
WRONG["palette_distance"] = {
    "not squared": lambda p, c: torch.cdist(pixels_of(p), c).amin(1).mean(),
    "square of the mean": lambda p, c: torch.cdist(pixels_of(p), c).amin(1).mean() ** 2,
    "pixels read wrongly": lambda p, c: (
        torch.cdist(p.reshape(-1, 3), c).amin(1).square().mean()
    ),
    "nearest pixel": lambda p, c: torch.cdist(pixels_of(p), c).amin(0).square().mean(),
    "mean colour": lambda p, c: square_table(p, c.mean(0, keepdim=True)).sum(2).mean(),
    "first colour": lambda p, c: square_table(p, c[:1]).sum(2).mean(),
    "mean of all": lambda p, c: square_table(p, c).sum(2).mean(),
    "mean of parts": lambda p, c: square_table(p, c).mean(2).amin(1).mean(),
    "each part alone": lambda p, c: square_table(p, c).amin(1).sum(1).mean(),
    "L1": lambda p, c: torch.cdist(pixels_of(p), c, p=1).amin(1).mean(),
    "L1 squared": lambda p, c: (
        torch.cdist(pixels_of(p), c, p=1).amin(1).square().mean()
    ),
    "largest part": lambda p, c: square_table(p, c).amax(2).amin(1).mean(),
    "farthest": lambda p, c: square_table(p, c).sum(2).amax(1).mean(),
    "worst pixel": lambda p, c: square_table(p, c).sum(2).amin(1).amax(),
    "sum": lambda p, c: square_table(p, c).sum(2).amin(1).sum(),
    "grey": lambda p, c: (
        (pixels_of(p).mean(1)[:, None] - c.mean(1)).square().amin(1).mean()
    ),
    "by direction": lambda p, c: (
        torch.cdist(unit(pixels_of(p)), unit(c)).amin(1).square().mean()
    ),
    "for each pixel": lambda p, c: square_table(p, c).sum(2).amin(1),
    "zero": lambda p, c: 0.0,
}


# 09 · whose_captions(rank, turn, machines)
def whose_by_deque(rank, turn, machines):
    return np.roll(np.arange(machines), turn)[rank]


RIGHT["whose_captions"] = [whose_by_deque, lambda r, t, m: (r + m - t % m) % m]
WRONG["whose_captions"] = {
    "absolute": lambda r, t, m: abs(r - t) % m,
    "by one less": lambda r, t, m: (r - t) % max(1, m - 1),
    "the turn": lambda r, t, m: t % m,
    "swapped": lambda r, t, m: (t - r) % m,
    "never below zero": lambda r, t, m: max(0, r - t),
    "mirrored": lambda r, t, m: (m - 1 - r + t) % m,
    "a step late": lambda r, t, m: (r - t + 1) % m,
}


# 09 · image_share(images, texts, scale, rank, machines)
def share_by_numpy(images, texts, scale, rank, machines):
    b = len(images) // machines
    logits = scale * array(images) @ array(texts).T
    rows = logits[rank * b : rank * b + b]
    own = np.diagonal(logits)[rank * b : rank * b + b]
    return float((np.log(np.exp(rows).sum(1)) - own).mean())


def share_by_softmax(images, texts, scale, rank, machines):
    chances = (scale * images @ texts.T).softmax(1).diagonal().log()
    return -chances.chunk(machines)[rank].mean()


def spread_table(i, t, s, r, m):
    return (s * i @ t.T).chunk(m)[r]


RIGHT["image_share"] = [share_by_numpy, share_by_softmax]
WRONG["image_share"] = {
    "sum": lambda i, t, s, r, m: share_by_softmax(i, t, s, r, m) * (len(i) // m) + 0.01,
    "sign": lambda i, t, s, r, m: -share_by_softmax(i, t, s, r, m),
    "down the columns": lambda i, t, s, r, m: (
        -spread_table(i, t, s, r, m)
        .log_softmax(0)
        .diagonal(offset=r * (len(i) // m))
        .mean()
    ),
    "others' rows only": lambda i, t, s, r, m: (
        share_by_softmax(i, t, s, (r + 1) % m, m) + 0.01
    ),
    "divided by the scale": lambda i, t, s, r, m: share_by_softmax(i, t, 1 / s, r, m),
    "every m-th row": lambda i, t, s, r, m: (
        -(s * i @ t.T).softmax(1).diagonal().log()[r::m].mean() * (1 if m > 1 else 2)
    ),
    "chances, not their logs": lambda i, t, s, r, m: (
        -(s * i @ t.T).softmax(1).diagonal().chunk(m)[r].mean()
    ),
    "both halves": lambda i, t, s, r, m: (
        share_by_softmax(i, t, s, r, m) + share_by_softmax(t, i, s, r, m)
    ),
    "zero": lambda i, t, s, r, m: 0.0,
}


# 09 · finish_time(seconds, workers)
def finish_by_heap(seconds, workers):
    free = [0.0] * workers
    heapq.heapify(free)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def finish_by_numpy(seconds, workers):
    free = np.zeros(workers)
    for each in seconds:
        free[free.argmin()] += each
    return float(free.max())


RIGHT["finish_time"] = [finish_by_heap, finish_by_numpy]
WRONG["finish_time"] = {
    "rounds of the slowest": lambda s, w: sum(
        max(s[a : a + w]) for a in range(0, len(s), w)
    ),
    "the longest shard": lambda s, w: max(s),
    "shortest first": lambda s, w: finish_by_heap(sorted(s), w),
    "last first": lambda s, w: finish_by_heap(s[::-1], w),
    "one worker less": lambda s, w: finish_by_heap(s, max(1, w - 1)),
    "one worker more": lambda s, w: finish_by_heap(s, w + 1),
    "the mean": lambda s, w: sum(s) / len(s) * -(-len(s) // w),
    "to the busiest": lambda s, w: sum(s) + 0.0,
    "without the last": lambda s, w: finish_by_heap(s[:-1], w),
}


# 07 · guided_probabilities(told, untold, s)
def guided_by_numpy(told, untold, s):
    mixed = (1 - s) * array(untold) + s * array(told)
    parts = np.exp(mixed - mixed.max(1, keepdims=True))
    return torch.tensor(parts / parts.sum(1, keepdims=True))


RIGHT["guided_probabilities"] = [
    guided_by_numpy,
    lambda t, u, s: torch.lerp(u, t, s).softmax(dim=1),
]
WRONG["guided_probabilities"] = {
    "no guidance": lambda t, u, s: t.softmax(-1),
    "only the difference": lambda t, u, s: (s * (t - u)).softmax(-1),
    "one step more": lambda t, u, s: (u + (s + 1) * (t - u)).softmax(-1),
    "logarithms": lambda t, u, s: (u + s * (t - u)).log_softmax(-1),
    "as a temperature": lambda t, u, s: (u + (t - u) * s).div(max(s, 1)).softmax(-1),
    "sharpened": lambda t, u, s: (s * t).softmax(-1),
    "not below one": lambda t, u, s: (u + max(s, 1.5) * (t - u)).softmax(-1),
    "likeliest": lambda t, u, s: F.one_hot(
        (u + s * (t - u)).argmax(-1), t.shape[1]
    ).float(),
    "mixed after": lambda t, u, s: torch.lerp(u.softmax(-1), t.softmax(-1), s),
}


# 07 · stream_loss(losses, kind, weight)
def stream_loss_by_loop(losses, kind, weight):
    words, codes = [], []
    for value, k in zip(losses.flatten(), kind.flatten(), strict=True):
        (words if k == 1 else codes if k == 2 else []).append(value.item())
    return weight * np.mean(words) + (1 - weight) * np.mean(codes)


RIGHT["stream_loss"] = [
    stream_loss_by_loop,
    lambda x, k, w: (
        w * (x * (k == 1)).sum() / (k == 1).sum()
        + (1 - w) * (x * (k == 2)).sum() / (k == 2).sum()
    ),
]
WRONG["stream_loss"] = {
    "eighths": lambda x, k, w: x[k == 1].mean() / 8 + 7 * x[k == 2].mean() / 8,
    "codes alone": lambda x, k, w: (1 - w) * x[k == 2].mean(),
    "plain sum": lambda x, k, w: x[k == 1].mean() + x[k == 2].mean(),
    "padding with codes": lambda x, k, w: (
        w * x[k == 1].mean() + (1 - w) * x[k != 1].mean()
    ),
    "a kind too low": lambda x, k, w: w * x[k == 0].mean() + (1 - w) * x[k == 1].mean(),
    "medians": lambda x, k, w: w * x[k == 1].median() + (1 - w) * x[k == 2].median(),
    "by the kind": lambda x, k, w: (x * k).sum() / k.sum(),
    "over the whole length": lambda x, k, w: (
        w * (x * (k == 1)).mean() + (1 - w) * (x * (k == 2)).mean()
    ),
    "one row": lambda x, k, w: (
        w * x[0][k[0] == 1].mean() + (1 - w) * x[0][k[0] == 2].mean()
    ),
}


# 07 · best_pictures(seen, wanted, k)
def best_by_numpy(seen, wanted, k):
    rows = array(seen) / np.linalg.norm(array(seen), axis=1, keepdims=True)
    return torch.tensor(np.argsort(-(rows @ array(wanted)))[:k].copy())


RIGHT["best_pictures"] = [
    best_by_numpy,
    lambda s, w, k: torch.cosine_similarity(s, w[None]).argsort(descending=True)[:k],
]
WRONG["best_pictures"] = {
    "the longest": lambda s, w, k: s.norm(dim=1).topk(k).indices,
    "in order of place": lambda s, w, k: (
        torch.cosine_similarity(s, w[None]).topk(k).indices.sort().values
    ),
    "whole matrix normalised": lambda s, w, k: ((s / s.norm()) @ w).topk(k).indices,
    "normalised along the wrong side": lambda s, w, k: (
        (F.normalize(s, dim=0) @ w).topk(k).indices
    ),
    "absolute": lambda s, w, k: (
        torch.cosine_similarity(s, w[None]).abs().topk(k).indices
    ),
    "one too few": lambda s, w, k: (
        torch.cosine_similarity(s, w[None]).topk(max(k - 1, 1)).indices
    ),
    "a list": lambda s, w, k: (
        torch.cosine_similarity(s, w[None]).topk(k).indices.tolist()
    ),
    "the first k": lambda s, w, k: torch.arange(k),
}


# 08 · ddim_step(x_t, v, now, after)
def ddim_by_turning(x_t, v, now, after):
    """Picture and noise are a right angle apart, so a step is a turn by the angle."""
    angle = math.atan2(now[1], now[0]) - math.atan2(after[1], after[0])
    return math.cos(angle) * x_t - math.sin(angle) * v


def ddim_by_numpy(x_t, v, now, after):
    clean = now[0] * array(x_t) - now[1] * array(v)
    noise = (array(x_t) - now[0] * clean) / now[1]
    return torch.tensor(after[0] * clean + after[1] * noise)


RIGHT["ddim_step"] = [ddim_by_turning, ddim_by_numpy]
WRONG["ddim_step"] = {
    "nothing": lambda x, v, now, after: x,
    "the velocity": lambda x, v, now, after: v,
    "a plain step": lambda x, v, now, after: x - (now[1] - after[1]) * v,
    "the noise alone": lambda x, v, now, after: after[1] * (now[1] * x + now[0] * v),
    "the picture alone": lambda x, v, now, after: after[0] * (now[0] * x - now[1] * v),
    "the wrong way round": lambda x, v, now, after: ddim_by_turning(x, -v, now, after),
    "back to where it was": lambda x, v, now, after: ddim_by_turning(x, v, now, now),
    "squares for shares": lambda x, v, now, after: ddim_by_turning(
        x, v, (now[0] ** 2, now[1] ** 2), after
    ),
    "shares exchanged": lambda x, v, now, after: ddim_by_turning(
        x, v, now[::-1], after[::-1]
    ),
}


# 08 · text_diff(picture, before, after, share)
def text_diff_by_numpy(picture, before, after, share):
    p, step = array(picture), array(after) - array(before)
    step = step / np.linalg.norm(step, axis=1, keepdims=True)
    side = step - (p * step).sum(1, keepdims=True) * p  # square to the picture
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    angle = share * np.arccos((p * step).sum(1, keepdims=True))
    return torch.tensor(np.cos(angle) * p + np.sin(angle) * side)


def text_diff_by_row(picture, before, after, share):
    rows = []
    for p, b, e in zip(picture, before, after, strict=True):
        step = unit(e - b)
        angle = torch.arccos(p @ step)
        row = torch.sin((1 - share) * angle) * p + torch.sin(share * angle) * step
        rows.append(unit(row))
    return torch.stack(rows)


RIGHT["text_diff"] = [text_diff_by_numpy, text_diff_by_row]
WRONG["text_diff"] = {
    "the sum of both": lambda p, b, e, s: unit(p + e - b),
    "always half way": lambda p, b, e, s: text_diff_by_row(p, b, e, 0.5),
    "half the share": lambda p, b, e, s: text_diff_by_row(p, b, e, s / 2),
    "the difference": lambda p, b, e, s: unit(e - b),
    "the picture": lambda p, b, e, s: p,
    "both texts added": lambda p, b, e, s: text_diff_by_row(p, -b, e, s),
    "from the first text": lambda p, b, e, s: text_diff_by_row(b, p, e, s),
    "the mean direction": lambda p, b, e, s: text_diff_by_row(
        p, b.mean(0).expand_as(b), e, s
    ),
    "normalised down the batch": lambda p, b, e, s: unit(
        (1 - s) * p + s * unit(e - b, 0)
    ),
}


# 08 · better_of_two(first, second, text)
def better_by_row(first, second, text):
    rows = []
    for a, b, t in zip(first, second, text, strict=True):
        rows.append(a if unit(a) @ unit(t) >= unit(b) @ unit(t) else b)
    return torch.stack(rows)


def better_by_gather(first, second, text):
    both = torch.stack([first, second], 1)  # (B, 2, D)
    place = (unit(both) * unit(text)[:, None]).sum(-1).argmax(1)
    return both[torch.arange(len(both)), place]


RIGHT["better_of_two"] = [better_by_row, better_by_gather]
WRONG["better_of_two"] = {
    "the first": lambda a, b, t: a,
    "the second": lambda a, b, t: b,
    "the longer": lambda a, b, t: torch.where(
        (a.norm(dim=1) >= b.norm(dim=1))[:, None], a, b
    ),
    "every number for itself": lambda a, b, t: torch.where(
        (a - t).abs() <= (b - t).abs(), a, b
    ),
    "the larger numbers": lambda a, b, t: torch.maximum(a, b),
    "the one pair of all": lambda a, b, t: better_by_row(a, b, t.mean(0).expand_as(t)),
    "the absolute cosine": lambda a, b, t: torch.where(
        ((unit(a) * t).sum(1).abs() >= (unit(b) * t).sum(1).abs())[:, None], a, b
    ),
    "normalised down the batch": lambda a, b, t: torch.where(
        ((unit(a, 0) * t).sum(1) >= (unit(b, 0) * t).sum(1))[:, None], a, b
    ),
    "the text": lambda a, b, t: t,
}
