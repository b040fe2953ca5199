"""A sketch to begin with: DALL-E 2 draws eight or more, the guides choose one.

What a guide cannot find from a white sheet, such as the hands of a clock, it can keep
where a drawing shows it. The DALL-E of notebook 08 needs some seconds for that: eight
drawings at a time, until the guides like one.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from ..dalle import unclip
from ..dalle.dalle1 import liking
from ..pictures import to_image
from ..words import is_persian
from . import drawers, prompts
from .packed import text_of
from .settings import AFTER, Settings

COUNT, ROUNDS = 8, 4  # drawings at a time, and how often at most
STEPS = 8  # of the decoder: the guides like what more of them draw no better
APART = 1_000_003  # between the seeds of two rounds, so that seed 1 draws others than 0
GENTLE = 0.4  # factor on the rates, so that a dream of codes keeps the sketch
PAIR = ["pocket", "scratch"]  # whose mean cosine with a sketch says what it is worth:
LIKED, VAGUE = 0.45, 0.3  # one to keep, and one that needs the full rates


def sketched(s: Settings, guides, size: tuple[int, int], device, peek=None) -> Settings:
    """Settings that start from a sketch -> the same with the sketch put in.

    ``size``: (width, height) of the drawing. The start becomes a packed picture and the
    rate is lowered (``freedom``), so a PNG holds all that the run needs. What is
    sketched is the wish of the largest weight among those that count from the
    beginning. ``peek(picture)`` is called with each sketch that is the best so far, (3,
    H, W) in the shape of ``size``.
    """
    wishes = [w for w in prompts.parse(s.prompt) if w.weight > 0 and w.counts(0.0)]
    text = max(wishes, key=lambda wish: wish.weight).text

    def see(picture: Tensor) -> None:
        if peek is not None:
            peek(on_sheet(picture, size))

    best, liked = draw(text, s.seed, guides, maker(str(device), guides), see)
    factor = AFTER.get(s.drawer, GENTLE)
    if s.drawer in drawers.OF_CODES and known_scale(guides):
        factor = freedom(liked)
    start = text_of(to_image(on_sheet(best, size)))
    return replace(s, start=start, rate=max(1e-6, factor * s.rate))


def known_scale(guides) -> bool:
    """Are these the guides for whose cosines LIKED and VAGUE were chosen?"""
    return sorted(guide.name for guide in guides) == PAIR


def draw(
    text: str, seed: int, guides, painter, see=lambda picture: None
) -> tuple[Tensor, float]:
    """The drawing (3, 128, 128) that the guides like best, and how much (mean cosine).

    Eight are drawn; where the guides are ``PAIR``, another eight while none is liked by
    LIKED, ROUNDS times at most. ``see`` is shown each that is the best so far.
    """
    best, liked = None, 0.0
    for n in range(ROUNDS if known_scale(guides) else 1):
        at = unclip.a_seed(seed, n * APART)
        pictures = painter.draw(captions(text), at, steps=STEPS)
        likings = liking(pictures, text, guides)
        if best is None or likings.max() > liked:
            best, liked = pictures[int(likings.argmax())], float(likings.max())
            see(best)
        if liked >= LIKED:
            break
    return best, liked


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
    hands = [unclip.HANDS[i % len(unclip.HANDS)] for i in range(COUNT)]
    return [text if is_persian(text) else f"{hand} of {text}" for hand in hands]


def on_sheet(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A square picture (3, S, S), in the middle of white of the shape of ``size``."""
    side, (width, height) = picture.shape[-1], size
    across = max(0, round(side * width / height) - side)
    down = max(0, round(side * height / width) - side)
    edges = (across // 2, across - across // 2, down // 2, down - down // 2)
    return F.pad(picture, edges, value=1.0)
