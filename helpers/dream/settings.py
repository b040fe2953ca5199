"""All that decides a dreamed picture, as plain data, checked whole when it is made."""

import random
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import torch

from .. import paths, weights
from ..clip.official import OFFICIAL
from ..pictures import PATHS, check_file
from ..values import (
    LARGEST_SEED,
    flag,
    frozen,
    number,
    one_of,
    quoted,
    rows,
    short,
    whole,
)
from ..vqgan.published import PUBLISHED, config
from . import cutouts, drawers, losses, prompts
from .canvas import check_size
from .packed import is_packed, unpack

OPTIMISERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "radam": torch.optim.RAdam,
}
STARTS = ("usual", "white", "noise", "gradient", "dream", "sketch")
ASKED = ("start", "rate", "distil", "told")  # what a sketch changes, kept in the record
DREAMT, LEAST = 0.75, 10  # share of the steps that a dream takes, of so many at least
AFTER = {"pixel": 0.1, "lines": 1.0, "fourier": 0.15}  # rates that leave it its shapes
MOST_INK = 2**24  # strokes times pixels: about 4 GB a step


@dataclass(frozen=True)
class Settings:
    """All that decides a picture; the same settings give the same picture.

    Everything is plain data, so it fits into a PNG and comes back from it. Lists become
    tuples, numbers of numpy plain ones, a ``Path`` text. Raises ValueError with one
    sentence for what makes no sense: all is checked here, before anything is drawn.
    ``seed=None`` draws a seed, keeps and prints it.
    """

    prompt: str = "a sunflower"  # "text:weight:stop | text", chapters parted by "^"
    seed: int | None = 0  # 0 to 2**63 - 1; None draws one
    steps: int = 60  # some 30 seconds at 128 x 128 on two cores
    width: int = 128
    height: int = 128
    drawer: str = "vqgan"  # or codes, pixel, lines, fourier
    options: dict = field(default_factory=dict)  # of the drawer, such as {"block": 8}
    guides: tuple = ("pocket", "scratch")  # CLIP models; several are averaged
    vqgan: str = "pocket"
    cuts: int = 8  # views a step
    recipe: str = "pixray"  # of cutouts.RECIPES
    optimiser: str = "adam"
    rate: float = 1.0  # factor on the learning rates of the drawer
    drops: tuple = (0.75,)  # shares of the steps after which the rate falls to a third
    canvases: str | tuple = "coarse"  # or "off", or (side, share, rate) ..., see plan
    start: str | tuple = "usual"  # see opening; or a path, or rows of codes
    losses: dict = field(default_factory=dict)  # see losses.check
    distil: str | float = "usual"  # weight of DALL-E 2's wish, see distil.py; 0 is off
    told: tuple = ()  # (words, caption that DALL-E 2 is told instead of them)
    pictures: tuple = ()  # picture prompts: (path, weight)
    noises: tuple = ()  # noise prompts: (seed, weight)
    spots: tuple = ()  # spot prompts: (text, path of a mask; white counts)
    overlay: tuple = ()  # (path, opacity, every how many steps)
    tile: bool = False  # wrap the picture around its edges
    every: int = 5  # steps between two previews
    bf16: bool = False  # half the precision: faster where the machine knows it

    def __post_init__(self):
        check(self)

    def __repr__(self) -> str:
        """The settings that are not the default; packed pictures are cut short."""
        plain = (f for f in fields(self) if getattr(self, f.name) != usual(f))
        said = [f"{f.name}={short(getattr(self, f.name), 80)}" for f in plain]
        return f"Settings({', '.join(said)})"


def usual(f):
    """The default of a field."""
    return f.default_factory() if f.default_factory is dict else f.default


def check(s: Settings) -> None:
    """Make all fields plain data. Raises ValueError with one sentence if one is bad."""
    if not isinstance(s.prompt, str):
        raise ValueError(f"The prompt must be text, not {short(s.prompt)}.")
    out = {"seed": a_seed(s.seed), **sizes(s)}
    wishes = prompts.parse(s.prompt)
    chapters = len({p.begin for p in wishes})
    if chapters > out["steps"]:
        raise ValueError(
            f"{chapters} chapters need as many steps, not {out['steps']}: raise steps."
        )
    one_of("cutout recipe", s.recipe, cutouts.RECIPES)
    one_of("optimiser", s.optimiser, OPTIMISERS)
    out["options"] = drawers.check(s.drawer, s.options)
    out |= models(s)
    out["rate"] = number("rate", s.rate, 1e-6, 1e3)
    drops = rows("drops", s.drops, "as shares of the steps, such as (0.75,)")
    if len(drops) > 16:
        raise ValueError(f"drops holds at most 16 shares, not {len(drops)}.")
    out["drops"] = tuple(number("A share in drops", d, 0, 1) for d in drops)
    out["tile"], out["bf16"] = flag("tile", s.tile), flag("bf16", s.bf16)
    out["canvases"] = canvas_rows(s.canvases)
    out["start"] = a_start(s.start, s.drawer)
    out["losses"] = losses.check(s.losses)
    out["distil"] = a_distil(s.distil)
    out["told"] = frozen(s.told)
    if out["told"] and not two_texts(out["told"]):
        raise ValueError(f"told is (words, caption for DALL-E 2), not {short(s.told)}.")
    if "stay" in out["losses"] and s.start in ("usual", "white", "noise", "dream"):
        losses.build({"stay": 1.0}, None)  # says what is missing
    out |= extras(s)
    for name, value in out.items():
        object.__setattr__(s, name, value)
    if opening(s) == "dream" and s.steps < LEAST:
        raise ValueError(f"A dream first needs {LEAST} steps or more, not {s.steps}.")
    fitting(s)


def a_seed(value) -> int:
    """A seed; a drawn one, printed, for None."""
    if value is not None:
        return whole("The seed (or None, which draws one)", value, 0, LARGEST_SEED)
    drawn = random.SystemRandom().randrange(2**31)
    print(f"The seed was drawn: seed={drawn} gives this picture again.")
    return drawn


def sizes(s: Settings) -> dict:
    """Steps, cuts, previews and size."""
    if isinstance(s.steps, int) and s.steps < 1:
        raise ValueError(f"At least one step is needed, not {short(s.steps)}.")
    if isinstance(s.cuts, int) and s.cuts < 1:
        raise ValueError(f"At least one cut is needed, not {short(s.cuts)}.")
    out = {
        "steps": whole("steps", s.steps, 1, 100_000),
        "cuts": whole("cuts", s.cuts, 1, 4096),
        "every": whole("every (steps between previews)", s.every, 1, 10**9),
    }
    for name in ("width", "height"):
        value = getattr(s, name)
        if isinstance(value, int) and value < 1:
            check_size((s.width, s.height), 1)
        out[name] = whole(name, value, 1, 2**24)
    check_size((out["width"], out["height"]), 1)
    return out


@lru_cache
def stride(name: str) -> int:
    """Pixels a side of one code of a VQGAN, by its name; reads no weights."""
    return config(name).stride


def models(s: Settings) -> dict:
    """The names of guides and VQGAN."""
    guides = (s.guides,) if isinstance(s.guides, str) else s.guides
    guides = rows("guides", guides, 'as names, such as ("pocket", "scratch")')
    if not guides:
        raise ValueError("No guide is named: at least one CLIP model must look.")
    if len(guides) > 16:
        raise ValueError(f"A picture has at most 16 guides, not {len(guides)}.")
    for name in guides:
        if not isinstance(name, str):
            raise ValueError(f"A guide is the name of a CLIP, not {short(name)}.")
        if name == "judge":
            raise ValueError("The judge never guides: it would judge its own work.")
        known(name, "clip")
    if not isinstance(s.vqgan, str):
        raise ValueError(f"vqgan is the name of a VQGAN, not {short(s.vqgan)}.")
    if uses_codes(s):
        known(s.vqgan, "vqgan")
    return {"guides": guides}


@lru_cache
def known(name: str, kind: str) -> None:
    """Raise ValueError unless a model of this name, or a file at this path, exists."""
    others = {"clip": OFFICIAL, "vqgan": PUBLISHED}[kind]
    if name in others:
        return
    if len(name) > 200 or not name.isprintable():
        raise ValueError(f"There is no {kind} model {quoted(name)}.")
    try:
        there = weights.find(kind, name, others).is_file()
    except OSError as error:
        raise ValueError(str(error)) from None
    if not there:
        raise ValueError(f"There is no weights file at {name}.")


def a_picture(what: str, value) -> str:
    """A picture in settings: a path that exists, or a packed picture."""
    if not isinstance(value, PATHS):
        raise ValueError(f"{what} is the path of a picture, not {short(value)}.")
    if is_packed(value):
        unpack(value)
        return value
    try:
        check_file(value)
        return str(paths.given(value))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def a_start(value, drawer: str):
    """Where a drawing starts, as plain data."""
    if isinstance(value, str) and value in STARTS:
        return value
    if not isinstance(value, (list, tuple)):
        return a_picture(f"The start (or {', '.join(STARTS)})", value)
    value = frozen(value)
    if drawer not in (*drawers.OF_CODES, "lines"):
        raise ValueError(
            f'A code grid starts the drawers "vqgan" and "codes", not "{drawer}".'
        )
    if not value or not all(isinstance(row, tuple) and row for row in value):
        raise ValueError(
            f"A code grid is rows of whole numbers, ((1, 2), (3, 4)), not "
            f"{short(value)}."
        )
    if sum(map(len, value)) > 2**20:
        raise ValueError("The code grid has more than a million codes: draw smaller.")
    if drawer == "lines":
        return tuple(
            tuple(number("A number of a stroke", n, -1e6, 1e6) for n in row)
            for row in value
        )
    return tuple(
        tuple(whole("A code of the start", n, 0, 2**31) for n in row) for row in value
    )


def two_texts(value) -> bool:
    """Is it (text, text)?"""
    fits = isinstance(value, tuple) and len(value) == 2
    return fits and all(isinstance(v, str) and 0 < len(v) <= 1000 for v in value)


def a_distil(value) -> str | float:
    """The weight of DALL-E 2's wish, or "usual"."""
    if isinstance(value, str) and value == "usual":
        return value
    return number('distil (or "usual")', value, 0, 1e4)


def extras(s: Settings) -> dict:
    """Picture, noise and spot prompts, and the overlay."""

    def pairs(name: str, form: str) -> tuple:
        table = rows(name, getattr(s, name), f"as rows of {form}")
        if len(table) > prompts.MOST:
            raise ValueError(f"{name} holds more than {prompts.MOST} rows.")
        for row in table:
            if not isinstance(row, tuple) or len(row) != 2:
                raise ValueError(f"A row of {name} is {form}, not {short(row)}.")
        return table

    def weight(name: str, value) -> float:
        value = number(f"A weight in {name}", value, -1e4, 1e4)
        if abs(value) < 1e-4:
            raise ValueError(f"A weight in {name} is {value:g}: it would do nothing.")
        return value

    out = {
        "pictures": tuple(
            (a_picture("A picture prompt", path), weight("pictures", w))
            for path, w in pairs("pictures", "(path, weight)")
        ),
        "noises": tuple(
            (whole("A seed in noises", n, 0, LARGEST_SEED), weight("noises", w))
            for n, w in pairs("noises", "(seed, weight)")
        ),
        "spots": tuple(
            (text, a_picture("The mask of a spot", path))
            for text, path in pairs("spots", "(text, path of a mask)")
        ),
    }
    for text, _ in out["spots"]:
        if not isinstance(text, str):
            raise ValueError(f"A spot begins with text, not {short(text)}.")
        prompts.parse(text)
    over = rows("overlay", s.overlay, "(path, opacity, every how many steps)")
    if over:
        if len(over) != 3:
            raise ValueError(
                "overlay is (path, opacity, every how many steps), not "
                f"{short(s.overlay)}."
            )
        over = (
            a_picture("The overlay", over[0]),
            number("The opacity of the overlay", over[1], 0, 1),
            whole("The steps between two overlays", over[2], 1, 10**9),
        )
    return out | {"overlay": over}


def fitting(s: Settings) -> None:
    """What several fields say together: strokes and codes against pixels."""
    strokes = s.options.get("strokes", 48)
    if s.drawer == "lines" and strokes * s.width * s.height > MOST_INK:
        raise ValueError(
            f"{strokes} strokes on {s.width} x {s.height} pixels need too much memory: "
            f"at this size draw at most {MOST_INK // (s.width * s.height)}."
        )
    for canvas in plan(s):
        check_canvas(canvas, stride(s.vqgan) if canvas.drawer else unit(s))


def unit(s: Settings) -> int:
    """Pixels a side of one code or block of the drawer that is named."""
    if s.drawer in drawers.OF_CODES:
        return stride(s.vqgan)
    return s.options.get("block", 4) if s.drawer == "pixel" else 1


def check_canvas(canvas: "Canvas", least: int) -> None:
    """Raise ValueError for a canvas smaller than one code or block."""
    if min(canvas.width, canvas.height) < least:
        raise ValueError(
            f"A canvas of {canvas.width} x {canvas.height} is smaller than one code or "
            f"block of {least} pixels: draw larger."
        )


def uses_codes(s: Settings) -> bool:
    """Does a VQGAN draw, from the beginning or at first?"""
    return s.drawer in drawers.OF_CODES or opening(s) == "dream"


def opening(s: Settings):
    """Where these settings start: "white", "noise", "gradient", or what is named here.

    "sketch": DALL-E 2 draws first (sketch.py), and its drawing becomes the start. It is
    the usual one: alone, squares and strokes follow every whim of a guide, and codes
    find no clock on a white sheet. "dream": the codes of the VQGAN draw first, on
    white, and another drawer goes on from their picture.
    """
    if s.start == "dream" and s.drawer in drawers.OF_CODES:
        return "white"
    if s.start != "usual":
        return s.start
    return "sketch" if s.steps >= LEAST else "white"


def opening_of_old(s: Settings):
    """Where "usual" began in a PNG: those of today hold their sketch instead."""
    if s.start != "usual" or s.steps < LEAST:
        return s.start
    return "white" if s.drawer in drawers.OF_CODES else "dream"


@dataclass(frozen=True)
class Canvas:
    """One size on which is drawn for a while: pixels, steps, factor on the rates.

    ``drawer``: who draws on it; None is the drawer of the settings.
    """

    width: int
    height: int
    steps: int
    rate: float
    drawer: str | None = None


COARSE = {  # how many halvings, then (share of the steps, rate) from coarse to fine
    0: ((1.0, 1.0),),
    1: ((0.5, 1.0), (0.5, 0.5)),
    2: ((0.4, 1.0), (0.3, 0.5), (0.3, 0.4)),
}


def canvas_rows(value) -> str | tuple:
    """The canvases of settings, each (side, share, rate), as plain numbers."""
    if isinstance(value, str) and value in ("coarse", "off"):
        return value if value == "coarse" else ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            'The canvases are "coarse", "off" (one alone) or rows of (side, share, '
            f"rate), not {short(value)}."
        )
    if len(value) > 16:
        raise ValueError(f"There are at most 16 canvases, not {len(value)}.")
    out = []
    for row in value:
        try:
            if not isinstance(row, (list, tuple)):
                raise TypeError
            side, share, rate = (number("", n) for n in row)
        except (TypeError, ValueError):
            raise ValueError(
                "A canvas is (side, share of the steps, rate), three numbers: "
                f"{short(row)}."
            ) from None
        if side < 1 or side % 1 or not 0 < share <= 1 or not 1e-6 <= rate <= 1e3:
            raise ValueError(
                "A canvas has a side of whole pixels, 1 or more, a share above 0 and "
                f"at most 1, and a rate from 0.000001 to 1000: {short(row)}."
            )
        out.append((side, share, rate))
    return tuple(out)


def plan(s: Settings) -> list[Canvas]:
    """The canvases of a run, from coarse to fine; one if ``s.canvases`` is "off" (()).

    Few codes force large shapes; a finer canvas then adds the edges. Each canvas is
    (side, share, rate): the longer side in pixels, the share of the steps, the factor
    on the learning rates. "coarse" halves the size once, above 160 pixels twice, where
    a code or block still fits; a run that starts from rows of codes stays on one. A
    dream takes the first steps, and "coarse" means its canvases.
    Raises ValueError with one sentence for a plan that makes no sense.
    """
    size, rows, least = (s.width, s.height), s.canvases, unit(s)
    if opening(s) != "dream":
        if rows == "coarse":
            rows = coarse(size, least, isinstance(s.start, tuple))
        return spread(size, rows, s.steps)
    grid = stride(s.vqgan)
    first = min(s.steps - 1, max(1, round(DREAMT * s.steps)))
    near = tuple(max(grid, round(n / grid) * grid) for n in size)
    dream = spread(near, coarse(near, grid), first)
    rows = [(max(size), 1.0, AFTER[s.drawer])] if rows == "coarse" else rows
    return [replace(c, drawer="vqgan") for c in dream] + spread(
        size, rows, s.steps - first
    )


def coarse(size: tuple[int, int], least: int, whole: bool = False) -> list[tuple]:
    """Rows of canvases that grow to ``size``; ``least`` pixels hold a code or block."""
    long = max(size)
    halvings = 0 if whole else 1 if long <= 160 else 2
    while halvings and min(size) < 2**halvings * least:
        halvings -= 1
    sides = [long // 2**n for n in range(halvings, -1, -1)]
    return [(a, *b) for a, b in zip(sides, COARSE[halvings], strict=True)]


def spread(size: tuple[int, int], rows, steps: int) -> list[Canvas]:
    """Rows (side, share, rate) as canvases with their sizes and steps."""
    long = max(size)
    rows = rows or [(long, 1.0, 1.0)]
    sides, shares = [row[0] for row in rows], [row[1] for row in rows]
    if sides != sorted(sides):
        raise ValueError(f"The canvases must grow, but their sides are {sides}.")
    if sides[-1] != long:
        raise ValueError(
            f"The last canvas must have the size of the picture, {long} pixels, not "
            f"{sides[-1]}."
        )
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"The shares of the steps must sum to 1, not {sum(shares):g}.")
    if steps < len(rows):
        raise ValueError(
            f"{len(rows)} canvases need as many steps, not {steps}: give more steps, "
            "or canvases=()."
        )
    ends = [round(steps * sum(shares[: n + 1])) for n in range(len(rows))]
    counts = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    if min(counts) < 1:
        raise ValueError(f"Of {steps} steps a canvas would get none: {shares}.")
    out = []
    for (side, _, rate), count in zip(rows, counts, strict=True):
        width, height = size
        if side != long:
            width, height = (max(1, round(n * side / long)) for n in size)
        out.append(Canvas(width, height, count, rate))
    return out
