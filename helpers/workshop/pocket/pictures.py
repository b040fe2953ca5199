"""The pictures that teach ``pocket``, drawn on the fly on the device that trains.

Dims: B batch, S pixels a side, K wordings, D embedding. Every caption is written and
tokenised before training; a batch is a few look-ups in tables on the device.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus
from ...clip.tokenizer import WORD, Tokenizer
from ...corpus import augment, colours
from ...corpus.painted import (
    SHAPES,
    Painted,
    colour_word,
    plain_shapes,
    shades,
    side_by_side,
)
from ...pictures import on_background
from ...words import fold

KINDS = {"plain": 0.5, "turned": 0.18, "pair": 0.12, "ground": 0.1, "shape": 0.07}
# the rest of a batch is plain colour to the edge
PLAIN_WORDINGS, TURNED_WORDINGS = 8, 2
NOBODY = -1  # a picture that shows no concept of the corpus


def tokens(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Texts -> (N, T) int16, as ``tokenizer`` gives them, but in a tenth of the time.

    Nothing here needs mending, so ``clean`` is skipped; what is too long is cut.
    """
    out = torch.zeros(len(texts), tokenizer.context, dtype=torch.int16)
    rows, room = out.numpy(), tokenizer.context - 2
    for row, text in zip(rows, texts, strict=True):
        words = WORD.findall(fold(text).lower())
        ids = [i for word in words for i in tokenizer.encode_word(word)][:room]
        ids = [tokenizer.start, *ids, tokenizer.end]
        row[: len(ids)] = ids
    return out


class Words:
    """A growing list of different texts; ``add`` says where a text stands."""

    def __init__(self):
        self.at: dict[str, int] = {}

    def add(self, text: str) -> int:
        return self.at.setdefault(text, len(self.at))


@dataclass
class Batch:
    """Pictures (B, 3, S, S), caption rows, and what they show.

    ``shown`` (B,): equal numbers mean the same; ``also`` (B, 2): concepts that are true
    of the picture as well (-1: none); ``plain``: how many of the first are unchanged.
    """

    pictures: Tensor
    captions: Tensor
    shown: Tensor
    also: Tensor
    plain: int


class Pictures:
    """All that batches are made of. ``words`` collects the captions.

    ``prepare`` writes the tables (Python alone, so it can run beside other work);
    ``ready`` brings them to the device.
    """

    def __init__(self, split, device, hidden, seed: int = 0, size: int = 1):
        self.split, self.device, self.hidden, self.size = split, device, hidden, size
        self.painted = Painted(split, device, seed, hidden=hidden)
        self.words, self.rng = Words(), random.Random(seed)
        self.g = torch.Generator(device).manual_seed(seed)
        self.cpu = torch.Generator().manual_seed(seed)
        self.concept = self.painted.concept
        names = zip(self.concept, split.cards, strict=True)
        self.named = {c["name"].lower(): n for n, c in names}

    def wordings(self, i: int, turn: int, many: int) -> tuple[list[int], int, int, int]:
        """Caption rows of drawing ``i``, the turn taken, what it (also) shows."""
        p, base = self.painted, self.concept[i]
        rows = []
        for _ in range(many):
            text, taken, shown = p.caption(i, turn, 0.2)
            rows.append(self.words.add(text))
        also = NOBODY
        if taken:
            name = p.name(i, colours.NAMES[int(p.table[i, turn])]) or ""
            if name.lower() in self.named:
                shown = self.named[name.lower()]
            elif not colour_word(self.split.cards[i]["name"]):
                also = base
        return rows, taken, shown, also

    def coloured(self, i: int) -> tuple[str, int]:
        """A name for drawing ``i`` in a pair, and its turn (0: as it is)."""
        p, rng = self.painted, self.rng
        turn = rng.randrange(colours.TURNS) if rng.random() < 0.5 else 0
        at = int(p.table[i, turn])
        name = self.split.cards[i]["name"]
        new = p.name(i, colours.NAMES[at]) if at >= 0 else None
        dull = turn and at == int(p.table[i, 0])
        if new is None or dull or (not turn and rng.random() < 0.5):
            return name, 0
        return new, turn

    def prepare(self) -> None:
        rng, add, cards = self.rng, self.words.add, self.split.cards
        colour = self.painted.table = self.painted.table.numpy()
        count = len(cards)
        plain, turned = [], []
        for i in range(count):
            plain.append(self.wordings(i, 0, PLAIN_WORDINGS)[0])
            for turn in range(1, colours.TURNS):
                if colour[i, turn] < 0 or colour[i, turn] == colour[i, 0]:
                    continue  # no colour that has a name, or no other than before
                rows, taken, shown, also = self.wordings(i, turn, TURNED_WORDINGS)
                if taken:
                    turned.append([i, turn, shown, also, *rows])
        pairs, grounds = [], []
        for n in range(40_000 // self.size):
            i, j = rng.randrange(count), rng.randrange(count)
            (one, a), (two, b) = self.coloured(i), self.coloured(j)
            both = corpus.article(one), corpus.article(two)
            forms = "{} and {}", "{} and {}", "{} next to {}", "a picture of {} and {}"
            text = rng.choice(forms).format(*both)
            fa = cards[i].get("name_fa"), cards[j].get("name_fa")
            if a == b == 0 and all(fa) and rng.random() < 0.2:
                text = f"{fa[0]} و {fa[1]}"
            also = [
                self.concept[k] if not t or not colour_word(cards[k]["name"]) else -1
                for k, t in ((i, a), (j, b))
            ]
            pairs.append([i, j, a, b, *also, 20_000_000 + n, add(text)])
        for _ in range(30_000 // self.size):
            i, at = rng.randrange(count), rng.randrange(len(colours.NAMES))
            name, ground = cards[i]["name"], colours.NAMES[at]
            forms = "{} on a {} background", "{} on {}", "{}, {} background"
            forms += ("a picture of {} on a {} background",)
            text = rng.choice(forms).format(corpus.article(name), ground)
            if cards[i].get("name_fa") and rng.random() < 0.2:
                text = f"{cards[i]['name_fa']} روی زمینه {colours.NAMES_FA[at]}"
            # one thing on one ground, whoever drew it, shows the same
            shown = 30_000_000 + self.concept[i] * len(colours.NAMES) + at
            grounds.append([i, at, self.concept[i], shown, add(text)])
        rgba, captions, shown, also = [], [], [], []
        for _ in range(max(1, 24 // self.size)):
            x, texts, what = plain_shapes(
                160, 128, self.hidden, rng, self.cpu, persian=0.15
            )
            keep = what >= 10_000_100  # shapes; plain colours are made below
            rgba.append(x[keep])
            for text, number in zip(texts, what.tolist(), strict=True):
                if number < 10_000_100:
                    continue
                at, kind = divmod(number - 10_000_100, 100)
                same = self.named.get(f"{colours.NAMES[at]} {SHAPES[kind]}")
                shown.append(number if same is None else same)
                captions.append(add(text))
        which = torch.arange(max(220, 6600 // self.size)) % len(colours.NAMES)
        fills = shades(which, self.cpu)
        forms = "{}", "the colour {}", "plain {}", "{} background", "a {} square"
        rows = []
        for at in which.tolist():
            name = colours.NAMES[at]
            text = rng.choice(forms).format(name)
            if text == f"a {name} square" and f"{name} square" in self.hidden:
                text = name
            if rng.random() < 0.15:
                text = rng.choice(("{}", "رنگ {}")).format(colours.NAMES_FA[at])
            rows.append(add(text))
        self.tables = {
            "plain": torch.tensor(plain),
            "turned": torch.tensor(turned or [[0] * 6]),
            "pairs": torch.tensor(pairs),
            "grounds": torch.tensor(grounds),
            "concept": torch.tensor(self.concept),
            "shapes": torch.cat(rgba),
            "shape_rows": torch.tensor([shown, captions]).T,
            "fills": fills,
            "fill_rows": torch.stack([which + 10_000_000, torch.tensor(rows)], 1),
        }
        self.grounds = shades(torch.arange(11).repeat_interleave(64), self.cpu)

    def ready(self) -> None:
        device = self.device
        self.tables = {k: v.to(device) for k, v in self.tables.items()}
        self.grounds = self.grounds.view(11, 64, 3).to(device)

    def some(self, count: int, upto: int) -> Tensor:
        return torch.randint(upto, (count,), generator=self.g, device=self.g.device).to(
            self.device
        )

    @torch.no_grad()
    def __call__(self, batch: int, size: int) -> Batch:
        t, rgba = self.tables, self.painted.rgba
        parts, captions, shown, also = [], [], [], []
        many = {k: max(1, round(share * batch)) for k, share in KINDS.items()}

        def enter(x, rows, what, one=None, two=None):
            none = torch.full_like(what, NOBODY)
            parts.append(x)
            captions.append(rows)
            shown.append(what)
            one, two = (none if k is None else k for k in (one, two))
            also.append(torch.stack([one, two], 1))

        i = self.some(many["plain"], len(rgba))
        rows = t["plain"][i, self.some(len(i), PLAIN_WORDINGS)]
        enter(rgba[i], rows, t["concept"][i])
        n = t["turned"][self.some(many["turned"], len(t["turned"]))]
        rows = n[:, 4:].gather(1, self.some(len(n), TURNED_WORDINGS)[:, None])[:, 0]
        x = colours.turn_pictures(rgba[n[:, 0]], n[:, 1])
        enter(x, rows, n[:, 2], n[:, 3])
        n = t["pairs"][self.some(many["pair"], len(t["pairs"]))]
        left = colours.turn_pictures(rgba[n[:, 0]], n[:, 2])
        right = colours.turn_pictures(rgba[n[:, 1]], n[:, 3])
        enter(side_by_side(left, right), n[:, 7], n[:, 6], n[:, 4], n[:, 5])
        n = t["grounds"][self.some(many["ground"], len(t["grounds"]))]
        paint = self.grounds[n[:, 1], self.some(len(n), 64)]
        paint = (paint * 255).round().to(torch.uint8)[:, :, None, None]
        x = rgba[n[:, 0]]
        x = on_background(x, paint.expand(-1, -1, *x.shape[-2:]))
        x = torch.cat([x, torch.full_like(x[:, :1], 255)], 1)
        enter(x, n[:, 4], n[:, 3], n[:, 2])
        k = self.some(many["shape"], len(t["shapes"]))
        enter(t["shapes"][k], t["shape_rows"][k, 1], t["shape_rows"][k, 0])
        x = augment.random_views(torch.cat(parts), size, self.g, keep_colours=True)
        x = augment.framed(x, self.g, 0.15)
        k = self.some(max(1, batch - len(x)), len(t["fills"]))
        shape = (len(k), 3, size // 16, size // 16)
        noise = augment.uniform(shape, self.g, self.device) - 0.5
        noise = F.interpolate(noise, size=(size, size), mode="bilinear")
        fill = t["fills"][k][:, :, None, None] + 0.08 * noise
        enter(fill.clamp(0, 1), t["fill_rows"][k, 1], t["fill_rows"][k, 0])
        x = torch.cat([x, parts[-1]])
        captions, shown, also = map(torch.cat, (captions, shown, also))
        return Batch(x, captions, shown, also, many["plain"])
