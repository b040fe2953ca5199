"""A sketch to begin with: DALL-E 2 draws eight or more, the guides choose one.

What a guide cannot find from a white sheet, such as the hands of a clock, it can keep
where a drawing shows it. The DALL-E of notebook 08 needs some seconds for that: eight
drawings at a time, until the guides like one.
"""

from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..corpus import article
from ..dalle import drawings, unclip
from ..dalle.dalle1 import liking
from ..pictures import to_image
from ..values import seed_after
from ..words import is_persian
from . import drawers, prompts
from .packed import text_of
from .settings import AFTER, Settings

COUNT = 8  # drawings at a time, four times at most
STEPS = 8  # of the decoder: the guides like what more of them draw no better
NEAR, SAME = 0.45, 0.97  # cosines of two texts: nearly the same thing, the very same
PLAIN = 0.05  # worth of a white border, in cosine: the guides like smudges, too
APART = 1_000_003  # between the seeds of two rounds, so that seed 1 draws others than 0
GENTLE = 0.4  # factor on the rates, so that a dream of codes keeps the sketch
PAIR = ["pocket", "scratch"]  # whose mean cosine with a sketch says what it is worth:
LIKED, VAGUE = 0.45, 0.3  # one to keep, and one that needs the full rates


def sketched(s: Settings, guides, size: tuple[int, int], device, peek=None) -> Settings:
    """Settings that start from a sketch -> the same with the sketch put in.

    ``size``: (width, height) of the drawing. The start becomes a packed picture and the
    rate is lowered (``freedom``), so a PNG holds all that the run needs.
    ``peek(picture)`` is called with each sketch that is the best so far, (3, H, W) in
    the shape of ``size``.
    """
    text = first(s.prompt)

    def see(picture: Tensor) -> None:
        if peek is not None:
            peek(on_sheet(picture, size))

    best, liked, told = draw(text, s.seed, guides, maker(str(device), guides), see)
    factor = AFTER.get(s.drawer, GENTLE)
    if s.drawer in drawers.OF_CODES and known_scale(guides):
        factor = freedom(liked)
    start = text_of(to_image(on_sheet(best, size)))
    rate = max(1e-6, factor * s.rate)
    return replace(s, start=start, rate=rate, told=(text, told) if told else ())


def first(prompt: str) -> str:
    """What is sketched: of the texts that count from the beginning, the weightiest."""
    wishes = [w for w in prompts.parse(prompt) if w.weight > 0 and w.counts(0.0)]
    return max(wishes, key=lambda wish: wish.weight).text


def known_scale(guides) -> bool:
    """Are these the guides for whose cosines LIKED and VAGUE were chosen?"""
    return sorted(guide.name for guide in guides) == PAIR


def draw(
    text: str, seed: int, guides, painter, see=lambda picture: None
) -> tuple[Tensor, float, str]:
    """The best drawing (3, 128, 128), how much the guides like it, what it shows.

    Liking is the mean cosine with the text; a white border counts a little, too. Eight
    are drawn; where the guides are ``PAIR``, more while the best is not liked by LIKED
    (``tellings``). What it shows is "" for the text, or a caption with another name.
    ``see`` is shown each that is the best so far.
    """
    best, most = None, 0.0
    for n, (told, renamed) in enumerate(tellings(text, painter)):
        lot = seed_after(seed, n * APART)
        pictures = painter.draw(told, lot, steps=STEPS)
        likings = liking(pictures, text, guides)
        worth = likings + PLAIN * border(pictures).cpu()
        at = int(worth.argmax())
        if best is None or worth[at] > most:
            most = float(worth[at])
            best = pictures[at], float(likings[at]), told[at] if renamed else ""
            see(pictures[at])
        if best[1] >= LIKED or not known_scale(guides):
            break
    return best


def border(pictures: Tensor) -> Tensor:
    """How much of the outermost pixels of (B, 3, H, W) is nearly white: (B,)."""
    white = (pictures.amin(1) > 0.9).float()
    edge = [white[:, 0], white[:, -1], white[:, :, 0], white[:, :, -1]]
    return torch.cat(edge, 1).mean(1)


def tellings(text: str, painter):
    """What DALL-E 2 is told, round after round: (eight captions, by other names?).

    First the text. It may not know those words, but what they mean by another name
    ("hot beverage" for "a cup of coffee"): then the nearest of the names that it
    learnt. At last the text again.
    """
    yield captions(text), False
    names = nearest(text, painter)
    for part in (names[:4], names[4:8]):
        if part:
            yield in_every_hand(part), True
    for _ in range(1 if names else 3):
        yield captions(text), False


def nearest(text: str, painter) -> list[str]:
    """Names that DALL-E 2 learnt for nearly the same; none where it knows the text.

    At most eight, the nearest first, with their articles.
    """
    names, vectors = learnt(painter)
    near = vectors @ painter.eyes.embed_texts([text])[0]
    if near.max() > SAME:
        return []
    order = near.argsort(descending=True)[:8]
    return [names[n] for n in order.tolist() if near[n] > NEAR]


@lru_cache(maxsize=2)
def learnt(painter) -> tuple[list[str], Tensor]:
    """The names that DALL-E 2 learnt, and their embeddings (N, D)."""
    names = [article(name) for name in drawings.names()]
    return names, painter.eyes.embed_texts(names)


def freedom(liking: float) -> float:
    """How far a dream may leave its sketch: a factor on the rates, GENTLE to 1.

    ``liking``: mean cosine of ``PAIR`` with the sketch. A good one is kept; one that
    the guides hardly know again (two things at once, a scene) is painted over.
    """
    share = (LIKED - liking) / (LIKED - VAGUE)
    return GENTLE + (1 - GENTLE) * min(1.0, max(0.0, share))


MAKERS: dict[str, unclip.Painter] = {}  # by device


def maker(device: str, eyes=()) -> unclip.Painter:
    """DALL-E 2, kept for the next dream; ``eyes``: CLIPs that are there already.

    Raises ValueError with one sentence.
    """
    try:
        if device not in MAKERS:
            MAKERS[device] = unclip.load(device=device, eyes=eyes)
        return MAKERS[device]
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f'DALL-E 2 cannot draw: start="white" with distil=0 needs none. {error}'
        ) from None


def captions(text: str) -> list[str]:
    """What DALL-E 2 is told: a text in every hand, or, in Persian, as it is."""
    return [text] * COUNT if is_persian(text) else in_every_hand([text])


def in_every_hand(things: list[str]) -> list[str]:
    """Eight captions of a few things: all in one hand, then in the next."""
    hands = [unclip.HANDS[n // len(things) % len(unclip.HANDS)] for n in range(COUNT)]
    return [f"{hand} of {things[n % len(things)]}" for n, hand in enumerate(hands)]


def on_sheet(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A square picture (3, S, S), in the middle of white of the shape of ``size``."""
    side, (width, height) = picture.shape[-1], size
    across = max(0, round(side * width / height) - side)
    down = max(0, round(side * height / width) - side)
    edges = (across // 2, across - across // 2, down // 2, down - down // 2)
    return F.pad(picture, edges, value=1.0)
