"""What one step of the guided loop shows."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Frame:
    """What one step shows: the picture (3, H, W) in [0, 1], and the numbers.

    The picture has its last size from the first step on, whatever canvas it is on.
    ``score``: mean cosine of the whole picture with the wishes that count now (None
    between previews); ``losses``: {term: value}. ``rows``: what is drawn as numbers,
    where the drawer has some (codes, strokes); ``record``: all that decided the run.
    """

    step: int
    picture: Tensor
    score: float | None
    losses: dict
    rows: tuple | None = field(default=None, repr=False)
    record: dict | None = field(default=None, repr=False)
