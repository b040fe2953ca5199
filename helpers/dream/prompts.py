"""Prompts: what a picture should look like, in words, pictures, vectors or noise.

A line such as ``a red fox:2 | blurry:-0.5:-0.95`` holds several prompts. Dims: N cuts
of the picture, D embedding.
"""

import math
import re
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
TAIL = re.compile(rf"^(.*?[^\d\s])\s*:({NUMBER})(?::({NUMBER}))?$", re.DOTALL)
QUOTED = re.compile(
    rf'^"((?:[^"\\]|\\.)*)"\s*(?::({NUMBER})(?::({NUMBER}))?)?$', re.DOTALL
)


@dataclass(frozen=True, eq=False)
class Prompt:
    """One wish.

    ``text`` is its title; ``vector`` (D,) or, one for each guide, a list of them, if it
    is no text. weight: below 0 means away from it. stop: the distance at which it is
    content; below 0 for one with such a weight, so -0.95 stops pushing beyond 0.95.
    ``begin``, ``end``: the share of the steps in which it counts (a story).
    ``mask`` (H, W) in [0, 1]: only there the picture is looked at (a spot prompt).
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf
    vector: object = None
    picture: object = None
    mask: Tensor | None = None
    begin: float = 0.0
    end: float = 1.0

    def __str__(self) -> str:
        """The prompt in the notation that ``parse`` reads."""
        plain = re.fullmatch(r"[^\"|\\:\d]*[^\"|\\:\d\s]", self.text)
        text = self.text
        if not plain or text != text.strip():
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        tail = "" if self.weight == 1 and self.stop == -math.inf else f":{self.weight}"
        return text + tail + ("" if self.stop == -math.inf else f":{self.stop}")

    def counts(self, progress: float) -> bool:
        """Does it take part at this share (0 to 1) of the steps?"""
        return self.begin <= progress < self.end or (self.end == 1 == progress)


def split(line: str) -> list[str]:
    """Cut a line at ``|``, but not inside quotation marks."""
    parts, current, inside, skip = [], "", False, False
    for letter in line:
        if skip:
            skip = False
        elif letter == "\\" and inside:
            skip = True
        elif letter == '"':
            inside = not inside
        elif letter == "|" and not inside:
            parts.append(current)
            current = ""
            continue
        current += letter
    return [*parts, current]


def parse(line: str) -> list[Prompt]:
    """Read ``text:weight:stop | text ...``.

    Weight and stop are numbers behind the text; a number behind a digit, as in "a clock
    at 12:30", belongs to the text. Text in "quotation marks" may hold anything. Raises
    ValueError with one sentence.
    """
    if not isinstance(line, str):
        raise TypeError(f"A prompt must be text, not {type(line).__name__}.")
    out = [one(part.strip()) for part in split(line) if part.strip()]
    if not out:
        raise ValueError("The prompt is empty: type what the picture should show.")
    check(out)
    return out


def one(part: str) -> Prompt:
    """Read one prompt of a line."""
    found = QUOTED.match(part)
    if found:
        text = re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)
    elif part.startswith('"'):
        raise ValueError(f"The quotation marks in {part} do not close.")
    else:
        found = TAIL.match(part)
        text = found[1] if found else part
    weight = float(found[2]) if found and found[2] else 1.0
    stop = float(found[3]) if found and found[3] else -math.inf
    rest = (
        re.search(r"[^\d\s:/]:([^\s:/\\]+)$", text) if not QUOTED.match(part) else None
    )
    if rest:
        raise ValueError(
            f'The weight "{rest[1]}" in "{part}" is not a number; put the text in '
            "quotation marks if the colon belongs to it."
        )
    if not re.search(r"\w", text) and not re.search(r"[^\x00-\x7f]", text):
        raise ValueError(f'The prompt "{part}" holds no word, only punctuation.')
    return Prompt(text, weight, stop)


def check(prompts: list[Prompt]) -> None:
    """Raise ValueError if the prompts cannot lead anywhere."""
    if not prompts:
        raise ValueError("There is no prompt: give at least one.")
    for p in prompts:
        if not math.isfinite(p.weight):
            raise ValueError(f'The weight of "{p.text}" must be a finite number.')
        if p.weight == 0:
            raise ValueError(f'The weight of "{p.text}" is 0: it would do nothing.')
        if not 0 <= p.begin < p.end <= 1:
            raise ValueError(
                f'"{p.text}" begins at {p.begin} and ends at {p.end}; these are shares '
                "of the steps, 0 <= begin < end <= 1."
            )
        if p.weight < 0 <= p.stop:
            raise ValueError(
                f'The stop {p.stop} of "{p.text}" would never let it count: with a '
                "weight below 0 the stop is below 0 too, such as -0.95 to push no "
                "further than a distance of 0.95."
            )
        if p.stop > math.pi**2 / 2:
            raise ValueError(
                f'The stop {p.stop} of "{p.text}" is above the largest distance '
                f"({math.pi**2 / 2:.2f}): it would never count."
            )
    if all(p.weight < 0 for p in prompts):
        raise ValueError(
            "All weights are below 0: the picture needs something to go towards."
        )


def story(line: str) -> list[Prompt]:
    """Prompts that follow each other: chapters parted by ``^`` share the steps."""
    chapters = [c for c in line.split("^") if c.strip()]
    if not chapters:
        raise ValueError("The story is empty: type chapters with ^ between them.")
    out = []
    for n, chapter in enumerate(chapters):
        begin, end = n / len(chapters), (n + 1) / len(chapters)
        out += [replace(p, begin=begin, end=end) for p in parse(chapter)]
    return out


def noise_prompt(seed: int, size: int, weight: float = 1.0) -> Prompt:
    """A random direction of ``size`` numbers: chance as a wish."""
    g = torch.Generator().manual_seed(seed)
    vector = F.normalize(torch.randn(size, generator=g), dim=0)
    return Prompt(f"noise {seed}", weight, vector=vector)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between unit vectors: (..., D), (..., D) -> (...).

    0 for the same direction, pi^2 / 2 for the opposite one. (Crowson writes it as
    2 arcsin(|a - b| / 2)^2.)
    """
    half = (a - b).norm(dim=-1).div(2).clamp(max=1 - 1e-6)
    return 2 * half.arcsin().pow(2)


def wish(cuts: Tensor, goal: Tensor, weight: float, stop: float) -> Tensor:
    """The loss of one prompt: (N, D) embeddings of cuts, (D,) goal -> scalar.

    Below ``stop`` a cut is content and pulls no more. A negative weight pushes away:
    the distance gets its sign before it is compared, so a stop of -0.95 lets a cut rest
    once it is further than 0.95 (Crowson's Prompt does the same).
    """
    d = distance(cuts, goal) * math.copysign(1, weight)
    held = torch.where(d > stop, d, d.detach())
    return abs(weight) * held.mean()


def wishes(pictures=(), noises=(), spots=(), embed: int = 0, read=None) -> list[Prompt]:
    """The wishes of settings that are no plain words.

    pictures: (path, weight) each; noises: (seed, weight), directions of ``embed``
    numbers; spots: (text, path of a mask), where ``read`` turns a path into a picture
    (1, 3, H, W). Raises ValueError with one sentence for a black mask.
    """
    out = [Prompt(str(path), weight, picture=path) for path, weight in pictures]
    out += [noise_prompt(seed, embed, weight) for seed, weight in noises]
    for text, path in spots:
        mask = read(path).mean((0, 1))  # (H, W)
        if mask.max() < 0.02:
            raise ValueError(f"The mask {path} is black: no spot is left to see.")
        out += [replace(p, mask=mask) for p in parse(text)]
    return out
