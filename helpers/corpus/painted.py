"""Training pictures whose captions name colours: drawings turned in hue, plain shapes.

Dims: B batch, S pixels a side. Works on the CPU and on a GPU alike; everything random
comes from the generators that are passed in.
"""

import json
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import paths
from . import colours, dataset
from .captions import article, caption

SHAPES = ("square", "circle", "triangle", "diamond", "heart", "star")
SHAPES_FA = ("مربع", "دایره", "مثلث", "لوزی", "قلب", "ستاره")


def hidden_names() -> frozenset[str]:
    """Names of the concepts that no training may show ("green heart" ...).

    From hidden_names.json beside the corpus if it is there (a machine that trains need
    not hold the pictures), else from the cards of the split.
    """
    listed = paths.CORPUS / "hidden_names.json"
    if listed.exists():
        names = json.loads(listed.read_text("utf-8"))
        return frozenset(name.lower() for name in names)
    cards = dataset.load("unseen_concept", size=16, progress=False).cards
    return frozenset(c["name"].lower() for c in cards)


def colour_word(name: str) -> str | None:
    """The colour that a name already holds, or None."""
    found = [w for w in name.lower().split() if w in colours.NAMES or w == "gray"]
    return found[0] if found else None


def phrase(name: str, rng: random.Random, style: str | None = None) -> str:
    """One wording of a name: bare, with its article, "a picture of", or its style."""
    draw = rng.random()
    if draw < 0.3:
        return name
    if draw < 0.5:
        return article(name)
    if draw < 0.7 or not style:
        return f"a picture of {article(name)}"
    return f"{style} of {article(name)}"


class Painted:
    """Seeded batches of drawings, some in another colour and called by it.

    ``split``: drawings with cards, whose ``rgba`` is moved to ``device``. ``turned``:
    share of a batch that is turned in hue; ``named``: how often the colour of an
    unturned drawing is told. A concept that is hidden is never made by turning.
    """

    def __init__(
        self, split, device, seed=0, turned=0.2, named=0.2, weight=None, hidden=None
    ):
        self.cards, self.rgba = split.cards, split.rgba.to(device)
        self.device, self.turned, self.named = device, turned, named
        self.rng = random.Random(seed)
        self.g = torch.Generator().manual_seed(seed)
        self.table = colours.turned_colours(self.rgba).cpu()  # (N, TURNS)
        self.hidden = hidden_names() if hidden is None else hidden
        self.weight = torch.ones(len(self.cards)) if weight is None else weight
        ids = {c: n for n, c in enumerate(sorted({c["concept"] for c in self.cards}))}
        self.concept = [ids[c["concept"]] for c in self.cards]
        self.count = len(ids)

    def name(self, i: int, colour: str) -> str | None:
        """The name of drawing ``i`` in that colour, None where it must not be made."""
        name = self.cards[i]["name"]
        word = colour_word(name)
        if word:
            new = " ".join(colour if w.lower() == word else w for w in name.split())
        else:
            new = f"{colour} {name}"
        return None if new.lower() in self.hidden else new

    def caption(self, i: int, step: int, persian: float) -> tuple[str, int, int]:
        """(caption, turn taken, what it shows) of drawing ``i``, ``step`` wished for.

        Two pictures show the same if the last number is the same.
        """
        card, rng = self.cards[i], self.rng
        at = int(self.table[i, step])
        word = colour_word(card["name"])
        dull = step and at == int(self.table[i, 0])  # grey stays grey
        tell = step or (at >= 0 and not word and rng.random() < self.named)
        new = self.name(i, colours.NAMES[at]) if at >= 0 and tell and not dull else None
        if new is None:  # as it is, called as it is called
            return caption(card, rng, persian), 0, self.concept[i]
        what = self.concept[i] + (self.count * (1 + at) if step else 0)
        if card.get("name_fa") and not word and rng.random() < persian:
            return f"{card['name_fa']} {colours.NAMES_FA[at]}", step, what
        return phrase(new, rng, card["style"]), step, what

    def __call__(self, batch: int, persian: float = 0.2):
        """(rgba (B, 4, S, S) uint8, captions, rows (B,), shown (B,))."""
        rows = torch.multinomial(self.weight, batch, generator=self.g, replacement=True)
        turned = torch.rand(batch, generator=self.g) < self.turned
        steps = torch.randint(1, colours.TURNS, (batch,), generator=self.g) * turned
        found = [
            self.caption(i, step, persian)
            for i, step in zip(rows.tolist(), steps.tolist(), strict=True)
        ]
        captions, taken, shown = map(list, zip(*found, strict=True))
        rgba = self.rgba[rows.to(self.device)]
        rgba = colours.turn_pictures(rgba, torch.tensor(taken, device=self.device))
        return rgba, captions, rows, torch.tensor(shown)


def shape(kind: int, x: Tensor, y: Tensor) -> Tensor:
    """True inside shape number ``kind`` of ``SHAPES``; x, y from -1 to 1."""
    if kind == 0:
        return (x.abs() < 0.8) & (y.abs() < 0.8)
    if kind == 1:
        return x**2 + y**2 < 0.8
    if kind == 2:
        return (y < 0.75) & (y > 2 * x.abs() - 0.85)
    if kind == 3:
        return x.abs() + y.abs() < 0.9
    if kind == 4:  # the heart curve
        u, v = x * 1.25, -y * 1.2 + 0.15
        return (u**2 + v**2 - 0.8) ** 3 - u**2 * v**3 * 1.4 < 0
    angle = torch.atan2(x, -y)
    part = (angle / (2 * torch.pi) * 5) % 1
    wave = 1 - 1.2 * torch.minimum(part, 1 - part)
    return (x**2 + y**2).sqrt() < 0.9 * wave


def shades(which: Tensor, g: torch.Generator) -> Tensor:
    """(B,) places in ``colours.NAMES`` -> (B, 3) colours that a person calls so."""
    base = colours.PLAIN[which]
    out = base.clone()
    for _ in range(6):
        tried = (base + 0.14 * torch.randn(base.shape, generator=g)).clamp(0, 1)
        right = colours.name_pixels(tried[:, :, None, None])[:, 0, 0] == which
        out = torch.where(right[:, None], tried, out)
    return out


def plain_shapes(count: int, size: int, hidden, rng, g, persian: float = 0.2):
    """Coloured shapes and plain grounds: (rgba (count, 4, S, S), captions, shown).

    A third are one plain colour to the edge. ``shown``: (count,), from 10 million up.
    """
    which = torch.randint(len(colours.NAMES), (count,), generator=g)
    kinds = torch.randint(len(SHAPES), (count,), generator=g)
    fill = torch.rand(count, generator=g) < 0.34
    paint = shades(which, g)
    line = torch.linspace(-1, 1, size)
    grid_y, grid_x = torch.meshgrid(line, line, indexing="ij")
    rgba = torch.zeros(count, 4, size, size)
    rgba[:, :3] = paint[:, :, None, None]
    captions, shown = [], []
    for n, (at, kind) in enumerate(zip(which.tolist(), kinds.tolist(), strict=True)):
        name, named_fa = colours.NAMES[at], colours.NAMES_FA[at]
        if fill[n] or f"{name} {SHAPES[kind]}" in hidden:
            rgba[n, 3] = 1
            forms = ("{0}", "the colour {0}", "plain {0}", "{0} background")
            text = rng.choice(forms).format(name)
            if rng.random() < persian:
                text = rng.choice(("{0}", "رنگ {0}")).format(named_fa)
            shown.append(10_000_000 + at)
        else:
            scale = 1.05 + 0.5 * rng.random()
            tilt = (rng.random() - 0.5) * 0.5
            x = (grid_x + tilt * grid_y * 0.5) * scale + (rng.random() - 0.5) * 0.3
            y = (grid_y - tilt * grid_x * 0.5) * scale + (rng.random() - 0.5) * 0.3
            rgba[n, 3] = shape(kind, x, y).float()
            text = phrase(f"{name} {SHAPES[kind]}", rng)
            if rng.random() < persian:
                text = f"{SHAPES_FA[kind]} {named_fa}"
            shown.append(10_000_100 + 100 * at + kind)
        captions.append(text)
    rgba = (rgba * 255).round().to(torch.uint8)
    return rgba, captions, torch.tensor(shown)


def side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Two drawings in one picture: (B, 4, S, S) uint8 twice -> (B, 4, S, S) uint8."""
    size = left.shape[-1]
    half = size // 2
    out = torch.zeros_like(left)
    top = size // 4
    for part, place in ((left, 0), (right, half)):
        x = part.float()
        x = torch.cat([x[:, :3] * x[:, 3:] / 255, x[:, 3:]], 1)
        x = F.interpolate(x, size=(half, half), mode="bilinear", antialias=True)
        x[:, :3] *= 255 / x[:, 3:].clamp(min=1)
        x = x.round().clamp(0, 255).to(torch.uint8)
        out[:, :, top : top + half, place : place + half] = x
    return out
