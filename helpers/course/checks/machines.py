"""Exercises of 09 (many machines)."""

import math

import torch
import torch.nn.functional as F

from .engine import Draw, exercise


def whose_captions(function) -> None:
    """09, exercise 1: the ring, whose captions are with a machine."""

    def oracle(rank, turn, machines):
        held = list(range(machines))  # held[r]: whose captions machine r has
        for _ in range(turn):
            held = [held[r - 1] for r in range(machines)]
        return held[rank]

    cases = [(0, 0, 1), (0, 1, 2), (1, 0, 3), (0, 1, 3), (2, 1, 3), (1, 2, 3)]
    cases += [(3, 2, 4), (0, 3, 4), (1, 4, 5), (4, 2, 5), (6, 5, 7), (2, 6, 7)]
    slips = {
        "captions go to the next machine, so yours come from before": (
            lambda r, t, m: (r + t) % m
        ),
        "the ring closes: take the remainder by `machines`": lambda r, t, m: r - t,
        "you forgot the turns": lambda r, t, m: r,
        "you went one step too far": lambda r, t, m: (r - t - 1) % m,
        "the machine number plays no part in yours": lambda r, t, m: -t % m,
        "after one turn only the neighbour's are here": lambda r, t, m: (r - 1) % m,
    }
    hint = "each turn every machine gives to the next one, machine 0 gets from the last"
    exercise(function, oracle, cases, slips, hint)


def own_share(images, texts, scale, rank, machines):
    """The picture half of one machine's share, in tensors."""
    b = len(images) // machines
    mine = slice(rank * b, (rank + 1) * b)
    logits = scale * images[mine] @ texts.T
    return F.cross_entropy(logits, torch.arange(len(images))[mine])


def image_share(function) -> None:
    """09, exercise 2: the picture half of one machine's share of the loss."""

    def oracle(images, texts, scale, rank, machines):
        b, losses = len(images) // machines, []
        for i in range(rank * b, (rank + 1) * b):
            row = [scale * float(images[i] @ t) for t in texts]
            losses.append(math.log(sum(math.exp(s) for s in row)) - row[i])
        return sum(losses) / len(losses)

    d = Draw(3)
    cases = []
    for n, machines in ((2, 1), (4, 2), (6, 3), (8, 2), (8, 4), (5, 5)):
        for rank in sorted({0, machines - 1, machines // 2}):
            cases.append((d.unit(n, 6), d.unit(n, 6), 7.0, rank, machines))
    cases.append((d.unit(6, 4), d.unit(6, 4), 0.5, 1, 3))

    def only_own(images, texts, scale, rank, machines):
        b = len(images) // machines
        mine = slice(rank * b, (rank + 1) * b)
        return own_share(images[mine], texts[mine], scale, 0, 1)

    def unmoved(images, texts, scale, rank, machines):
        b = len(images) // machines
        logits = scale * images[rank * b : rank * b + b] @ texts.T
        return F.cross_entropy(logits, torch.arange(b))

    slips = {
        "the labels begin at rank * b, not at 0": unmoved,
        "compare with the captions of all machines, not with your own": only_own,
        "this is the loss of the joint batch, take your own rows": (
            lambda i, t, s, r, m: own_share(i, t, s, 0, 1)
        ),
        "this is the caption half, pictures are the rows": (
            lambda i, t, s, r, m: own_share(t, i, s, r, m)
        ),
        "you forgot the scale": lambda i, t, s, r, m: own_share(i, t, 1.0, r, m),
        "these are the rows of machine 0": lambda i, t, s, r, m: own_share(
            i, t, s, 0, m
        ),
        "the mean is over your b rows": lambda i, t, s, r, m: (
            own_share(i, t, s, r, m) / m
        ),
    }
    hint = "rows rank * b to rank * b + b against all captions, labels likewise"
    exercise(function, oracle, cases, slips, hint)


def finish_time(function) -> None:
    """09, exercise 3: when the last of many shards is done."""

    def oracle(seconds, workers):
        free = [0.0] * workers
        for each in seconds:
            first = min(range(workers), key=free.__getitem__)
            free[first] += each
        return max(free)

    d = Draw(4)
    cases = [([3.0], 1), ([3.0], 4), ([1.0, 1.0, 5.0], 2), ([5.0, 1.0, 1.0, 1.0], 2)]
    for n, workers in ((6, 2), (9, 3), (10, 4), (12, 5), (7, 1), (8, 3)):
        cases.append(((1 + d.whole(9, n)).float().tolist(), workers))

    def by_turns(seconds, workers):
        return max(sum(seconds[w::workers]) for w in range(workers))

    def in_blocks(seconds, workers):
        size = math.ceil(len(seconds) / workers)
        parts = [seconds[a : a + size] for a in range(0, len(seconds), size)]
        return max(map(sum, parts))

    slips = {
        "shards go to whoever is free, not by turns": by_turns,
        "you cut the list into blocks, give shards out one by one": in_blocks,
        "the last shards do not divide evenly: wait for the slowest worker": (
            lambda s, w: sum(s) / w
        ),
        "the workers work at the same time": lambda s, w: sum(s),
        "you sorted the shards, they come in their order": lambda s, w: oracle(
            sorted(s, reverse=True), w
        ),
        "this is when the first worker has nothing more to do": lambda s, w: first_free(
            s, w
        ),
    }
    hint = "keep a list of when each worker is free; give the next shard to the first"
    exercise(function, oracle, cases, slips, hint)


def first_free(seconds, workers: int) -> float:
    """When the first of the workers finds no shard left."""
    free = [0.0] * workers
    for each in seconds:
        free[free.index(min(free))] += each
    return min(free)
