"""Batches for the models that learn from our drawings alone.

Worker processes draw the lots and write the captions (``Plans``); the device paints the
pictures (``Pictures``), so that neither waits for the other. Dims: B batch, T tokens,
S pixels a side.
"""

import copy
import random
import warnings

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from ... import corpus
from ...corpus import colours, painted
from ...pictures import on_background
from ...words import is_persian

SHARES = {"plain": 0.08, "pairs": 0.08, "grounds": 0.08}  # the rest: drawings
PERSIAN = 0.2  # of the captions, where there is a Persian name
NOTHING = "nothing"  # the caption of a picture that shows nothing
GROUND, PAIR = 20_000_000, 100_000_000  # where the numbers of what they show begin
PAIRS = ("{0} and {1}", "{0} next to {1}", "{0} beside {1}", "a picture of {0} and {1}")
GROUNDS = ("{0} on a {1} background", "{0} on {1}", "{1} background with {0}")


class Plans(IterableDataset):
    """An endless row of plans: which drawings, in which colours, under which captions.

    ``split`` and ``table`` as ``painted.Painted`` holds them. ``plain``: captions and
    ``shown`` of ready-made plain shapes. ``forced``: rows of which ``force`` are in
    every batch, first and as they are (their places in ``forced``: "forced").
    A plan is a dict of arrays: "drawings" (rows), "turns", "grounds" (rows, colour
    number), "pairs" (rows, rows), "plain", the caption "tokens" (B + 1, T; the last is
    ``NOTHING``), "shown" and "also" (B,): what a picture shows, and the plainer name
    that is true of it too (-1: none), and "order": all is shuffled by it, but for the
    forced ones.
    """

    def __init__(self, paint, plain, tokenizer, batch, seed=0, forced=(), force=0):
        self.paint, self.plain, self.tokenizer = paint, plain, tokenizer
        self.batch, self.seed = batch, seed
        self.forced, self.force = list(forced), force if len(forced) else 0
        self.known: dict[str, list[int]] = {}
        self.counts = {k: round(v * batch) for k, v in SHARES.items()}
        self.counts["drawings"] = batch - sum(self.counts.values())

    def tokens(self, texts: list[str]) -> np.ndarray:
        """Token ids, cut after the longest text."""
        t, rows = self.tokenizer, []
        for text in texts:
            ids = self.known.get(text)
            if ids is None:
                ids = t.encode(text)[: t.context - 2]
                ids = self.known[text] = [t.start, *ids, t.end]
            rows.append(ids)
        out = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for place, ids in enumerate(rows):
            out[place, : len(ids)] = ids
        return out

    def __iter__(self):
        info = get_worker_info()
        paint = copy.copy(self.paint)
        paint.rgba = None  # lies on the device, which a worker must not touch
        seed = 1000 * self.seed + (info.id if info else 0)
        paint.rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
        while True:
            yield self.plan(paint, g)

    def base(self, paint, i: int) -> int:
        """The plain concept of a drawing, -1 if its name names a colour."""
        return -1 if painted.colour_word(paint.cards[i]["name"]) else paint.concept[i]

    def plan(self, paint, g) -> dict:
        rng, n = paint.rng, self.counts
        need = n["drawings"] + n["grounds"] + 2 * n["pairs"]
        rows = torch.multinomial(paint.weight, need, replacement=True, generator=g)
        rows = rows.tolist()
        chosen = [rng.randrange(len(self.forced)) for _ in range(self.force)]
        rows[: self.force] = [self.forced[k] for k in chosen]
        texts, shown, also, turns = [], [], [], []
        drawings = [rows.pop(0) for _ in range(n["drawings"])]
        for place, i in enumerate(drawings):
            turned = place >= self.force and rng.random() < paint.turned
            step = rng.randrange(1, colours.TURNS) if turned else 0
            text, taken, what = paint.caption(i, step, PERSIAN)
            if taken and rng.random() < 0.2 and not is_persian(text):
                text = f"{text}, {paint.cards[i]['style']}"
            texts.append(text), turns.append(taken), shown.append(what)
            also.append(self.base(paint, i) if taken else -1)
        grounds = [rows.pop(0) for _ in range(n["grounds"])]
        tints = [rng.randrange(len(colours.NAMES)) for _ in grounds]
        for i, tint in zip(grounds, tints, strict=True):
            card, colour = paint.cards[i], colours.NAMES[tint]
            text = rng.choice(GROUNDS).format(corpus.article(card["name"]), colour)
            if card.get("name_fa") and rng.random() < PERSIAN:
                text = f"{card['name_fa']} روی زمینه {colours.NAMES_FA[tint]}"
            elif rng.random() < 0.2:
                text = f"{card['style']} of {text}"
            texts.append(text)
            shown.append(GROUND + len(colours.NAMES) * paint.concept[i] + tint)
            also.append(paint.concept[i])
        pairs = [(rows.pop(0), rows.pop(0)) for _ in range(n["pairs"])]
        for i, j in pairs:
            left, right = paint.cards[i], paint.cards[j]
            names = [corpus.article(c["name"]) for c in (left, right)]
            text = rng.choice(PAIRS).format(*names)
            if left.get("name_fa") and right.get("name_fa") and rng.random() < PERSIAN:
                text = f"{left['name_fa']} و {right['name_fa']}"
            texts.append(text), also.append(-1)
            a, b = sorted((paint.concept[i], paint.concept[j]))
            shown.append(PAIR + a * paint.count + b)
        plain = [rng.randrange(len(self.plain[0])) for _ in range(n["plain"])]
        texts += [self.plain[0][k] for k in plain]
        shown += [int(self.plain[1][k]) for k in plain]
        also += [-1] * len(plain)
        rest = list(range(self.force, self.batch))
        rng.shuffle(rest)
        order = [*range(self.force), *rest]
        things = [p for p, k in enumerate(order) if k < self.batch - n["plain"]]
        return {
            "drawings": np.array(drawings),
            "turns": np.array(turns),
            "grounds": np.array([*zip(grounds, tints, strict=True)]).reshape(-1, 2),
            "pairs": np.array(pairs).reshape(-1, 2),
            "plain": np.array(plain),
            "tokens": self.tokens([texts[k] for k in order] + [NOTHING]),
            "shown": np.array(shown)[order],
            "also": np.array(also)[order],
            "order": np.array(order),
            "forced": np.array(chosen, dtype=np.int64),
            "things": np.array(things),  # places that hold more than a plain colour
        }


class Numbered(Dataset):
    """Plan number n of machine ``rank``, the same whenever it is asked for."""

    def __init__(self, plans: Plans, rank: int = 0):
        self.plans, self.rank = plans, rank
        self.paint = copy.copy(plans.paint)
        self.paint.rgba = None  # lies on the device, which a worker must not touch

    def __getitem__(self, step: int) -> dict:
        number = seed_of(self.plans.seed, step, self.rank)
        self.paint.rng = random.Random(number)
        return self.plans.plan(self.paint, torch.Generator().manual_seed(number))


def seed_of(seed: int, step: int, rank: int) -> int:
    """One number for one step of one machine, so that nothing depends on the past."""
    return (seed * 1_000_003 + step) * 10_007 + rank


def loader(plans, workers: int, steps: range | None = None):
    """An iterator over plans, made ahead by ``workers`` processes.

    ``steps``: which of the ``Numbered`` ones, where they have numbers.
    """
    more = {"prefetch_factor": 4, "multiprocessing_context": "fork"} if workers else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return iter(
            DataLoader(
                plans,
                batch_size=None,
                sampler=steps,
                num_workers=workers,
                collate_fn=same,
                **more,
            )
        )


def same(plan: dict) -> dict:
    return plan


class Pictures:
    """Paint the pictures of a plan on the device: (B, 4, S, S) uint8."""

    def __init__(self, paint: painted.Painted, plain: Tensor):
        self.rgba, self.plain = paint.rgba, plain.to(paint.rgba.device)
        many = torch.arange(len(colours.NAMES)).repeat_interleave(64)
        g = torch.Generator().manual_seed(paint.g.initial_seed())
        tones = painted.shades(many, g).view(-1, 64, 3)
        self.tones = (tones * 255).to(self.rgba.device, torch.uint8)

    def at(self, rows) -> Tensor:
        return self.rgba[torch.as_tensor(rows, device=self.rgba.device)]

    def __call__(self, plan: dict) -> Tensor:
        device = self.rgba.device
        drawings = self.at(plan["drawings"])
        turned = plan["turns"].nonzero()[0]
        if len(turned):
            steps = torch.as_tensor(plan["turns"][turned], device=device)
            where = torch.as_tensor(turned, device=device)
            drawings[where] = colours.turn_pictures(drawings[where], steps)
        parts = [drawings]
        if len(plan["grounds"]):
            rows, tints = plan["grounds"].T
            tone = torch.randint(64, (len(tints),), device=device)
            back = self.tones[torch.as_tensor(tints.copy(), device=device), tone]
            back = back[:, :, None, None]
            front = self.at(rows.copy())
            whole = on_background(front, back.expand(-1, -1, *front.shape[2:]))
            parts.append(torch.cat([whole, torch.full_like(front[:, 3:], 255)], 1))
        if len(plan["pairs"]):
            left, right = plan["pairs"].T
            parts.append(
                painted.side_by_side(self.at(left.copy()), self.at(right.copy()))
            )
        if len(plan["plain"]):
            parts.append(self.plain[torch.as_tensor(plan["plain"], device=device)])
        return torch.cat(parts)[torch.as_tensor(plan["order"], device=device)]
