"""Prompts: what a picture should look like, in words, pictures, vectors or noise.

One grammar serves prompts and stories, and ``parse`` alone reads it::

    story   = chapter { "^" chapter }            chapters share the steps
    chapter = prompt { "|" prompt }              empty parts are skipped
    prompt  = text [ ":" weight [ ":" stop ] ]   a fox:2, blurry:-0.5:-0.95
    text    = words, or "words" that may hold anything

In quotation marks ``| ^ :`` are letters like others; outside them a backslash in front
does the same (``\\|``). A time (12:30), an address (http://a.b) and a colon before
a space and words ("a title: the fox") belong to the text. Whatever else looks like a
weight and is none is refused, with the right spelling. Dims: N cuts of the picture,
D embedding.
"""

import math
import numbers
import re
from dataclasses import dataclass, replace

import regex
import torch
import torch.nn.functional as F
from torch import Tensor

from ..values import generator, short, whole
from ..words import fold

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
TAIL = re.compile(rf"\s*:({NUMBER})(?::({NUMBER}))?$")
INNER = re.compile(rf"(?:[^\W\d_]|\x01)[)\]}}]*(:){NUMBER}(?=[\s;)\]}}>]|,(?!\d))")
ALMOST = re.compile(r"[+-]?\s*[\d.,/]*\d[\d.,/]*\s*%?")  # 0,5 and 1/2 and "- 2"
TIME = re.compile(r"(?<![\d:])\d{1,2}(?::\d\d){1,2}$")
DIGITS = str.maketrans("٫−", ".-")  # the Persian decimal mark, the long minus
MARKS = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
WIDE = "：﹕︓∶꞉︰ː׃։⁚⦂"  # they look like a colon
CURLY = re.compile(r"[“«]([^“”«»]*[|^][^“”«»]*)[”»]|„([^„“]*[|^][^„“]*)“")
HELD = re.compile(r'"(?:\\.|[^"\\])*"|\\.')  # in straight marks, or behind a backslash
OPTION = re.compile(r"(?<!\S)--[a-z]\w*(?=\s|$)")  # --no, --ar
WORD = regex.compile(r"[\p{L}\p{N}\p{So}\p{Sc}]|(?![\x00-\x7f])\p{Sm}")  # or ♥, →
POWER = re.compile(rf"(?<=\w)\^{NUMBER}(?=$|[\s,;)|^])")  # fox^2 is no chapter
EMPHASIS = re.compile(  # as other programs weigh their words
    rf"""
    (?P<word>[^\W\d_]\w*)\s?\*\s?(?P<by>{NUMBER})(?=$|[\s,;)])   # fox*2
    | (?:^|(?<=[\s,;(]))(?P<by2>{NUMBER})\*(?P<word2>[^\W\d_]\w*)  # 2*fox
    | (?P<open>[(\[{{])(?P=open)+(?P<in>[^()\[\]{{}}]+)[)\]}}]{{2,}}  # ((fox))
    | [(\[{{](?P<in2>[^()\[\]{{}}]+)[)\]}}]
      (?:\+{{1,4}}|-{{1,4}}|(?P<by3>\d*\.\d+))(?=$|[\s,;])
    """,  # (fox)++ and (fox)1.3
    re.VERBOSE,
)
SPECIAL = set('"|^\\:“”„«»') | set(WIDE) | set(MARKS)
LONGEST, MOST = 5000, 64  # characters of a line, prompts in it
WEIGHTS = (1e-4, 1e4)  # the size of a weight
FARTHEST = math.pi**2 / 2  # the largest distance of two directions


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
        tail = "" if self.weight == 1 and self.stop == -math.inf else f":{self.weight}"
        stop = "" if self.stop == -math.inf else f":{self.stop}"
        return spelt(self.text) + tail + stop

    @property
    def is_words(self) -> bool:
        """Is its text what it asks for, and not the title of a vector or picture?"""
        return self.vector is None and self.picture is None

    def counts(self, progress: float) -> bool:
        """Does it take part at this share (0 to 1) of the steps?"""
        return self.begin <= progress < self.end or (self.end == 1 == progress)


def vector_for(wish: Prompt, n: int, guides) -> Tensor:
    """The vector (D,) of a wish for guide n. Raises ValueError if it does not fit."""
    many, guide = isinstance(wish.vector, (list, tuple)), guides[n]
    if many and len(wish.vector) != len(guides):
        raise ValueError(
            f'"{wish.text}" has {len(wish.vector)} vectors for {len(guides)} guides: '
            "give one for each."
        )
    vector = wish.vector[n] if many else wish.vector
    if vector.shape[-1] != guide.model.config.embed:
        raise ValueError(
            f'The vector of "{wish.text}" has {vector.shape[-1]} numbers, '
            f"{guide.name} needs {guide.model.config.embed}."
        )
    return vector


def spelt(text: str) -> str:
    """A text as the notation has it: in quotation marks where it needs them."""
    odd = SPECIAL & set(text) or any(c.isdigit() for c in text)
    odd = odd or "--" in text
    if text and text == text.strip() and not odd:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class Part:
    """A piece of a line: its letters, which of them are plain, where each stands.

    A letter is plain ("p") or stands in quotation marks or behind a backslash ("l"); a
    quotation mark that opens or closes is "q".
    """

    letters: str = ""
    kinds: str = ""
    places: tuple = ()

    def __getitem__(self, cut: slice) -> "Part":
        return Part(self.letters[cut], self.kinds[cut], self.places[cut])

    def stripped(self) -> "Part":
        """Without blanks at its ends."""
        shown = self.plain
        a, b = len(shown) - len(shown.lstrip()), len(shown.rstrip())
        return self[a : max(a, b)]

    @property
    def plain(self) -> str:
        """Its letters, those that are not plain hidden behind U+0001."""
        pairs = zip(self.letters, self.kinds, strict=True)
        return "".join(c if k == "p" else "\x01" for c, k in pairs)


def refuse(why: str, line: str, at: int) -> ValueError:
    """The one sentence of a parser that stopped: why, at which letter, near what."""
    a, b = max(0, at - 12), at + 12
    near = " ".join(line[a:b].split())
    near = ("..." if a else "") + near + ("..." if b < len(line) else "")
    why = " ".join(why.split())  # what is typed may hold lines
    return ValueError(f"{why} (character {at + 1} of the prompt, near {near}).")


def scan(line: str) -> list[list[Part]]:
    """A line as chapters of parts; quotation marks and backslashes are understood."""
    chapters, letters, kinds, places = [[]], [], [], []

    def close() -> None:
        chapters[-1].append(Part("".join(letters), "".join(kinds), tuple(places)))
        letters.clear(), kinds.clear(), places.clear()

    i, opened = 0, None
    while i < len(line):
        letter, kind, at = line[i], "p" if opened is None else "l", i
        if letter == "\\" and line[i + 1 : i + 2] in set('"|^\\:'):
            i += 1
            letter, kind = line[i], "l"
        elif letter == '"':
            opened, kind = (i if opened is None else None), "q"
        i += 1
        if kind == "p" and letter in "|^":
            close()
            chapters += [[]] if letter == "^" else []
        elif kind != "p" or letter not in MARKS:
            letters.append(letter), kinds.append(kind), places.append(at)
    if opened is not None:
        raise refuse(
            'The quotation marks do not close: write \\" for a mark that belongs to '
            "the text",
            line,
            opened,
        )
    close()
    return chapters


def parse(line: str) -> list[Prompt]:
    """Read a prompt or a whole story: a list of prompts with their shares of the steps.

    ``text:weight:stop | text ... ^ the next chapter``; the grammar stands at the top of
    this file. Sizes of weights lie between 0.0001 and 10,000. Raises TypeError for what
    is no text, ValueError with one sentence that says where the parser stopped.
    """
    if not isinstance(line, str):
        raise TypeError(f"A prompt must be text, not {type(line).__name__}.")
    if len(line) > LONGEST:
        raise ValueError(
            f"The prompt has {len(line):,} characters: shorten it to {LONGEST:,}, "
            "since a CLIP reads some 30 to 70 words."
        )
    if bad := re.search(r"[\ud800-\udfff]", line):
        at = bad.start()
        raise ValueError(f"Character {at + 1} of the prompt is no text: remove it.")
    plain = HELD.sub(lambda held: "\x01" * len(held[0]), line)
    if curly := CURLY.search(plain):
        held = spelt(line[curly.start() + 1 : curly.end() - 1][:40])
        raise refuse(
            f"Curly quotation marks hold no | and no ^: write {held}",
            line,
            curly.start(),
        )
    if power := POWER.search(plain):
        raise refuse(
            "A ^ begins the next chapter of a story: write fox:2 for a weight, or put "
            'the text in quotation marks, as in "x^2"',
            line,
            power.start(),
        )
    chapters = [[p.stripped() for p in parts] for parts in scan(line)]
    chapters = [[p for p in parts if p.letters] for parts in chapters]
    chapters = [parts for parts in chapters if parts]
    if not chapters:
        what = "story is empty: type chapters" if "^" in line else "prompt is empty: "
        what += " with ^ between them" if "^" in line else "type what to show"
        raise ValueError(f"The {what}.")
    if sum(map(len, chapters)) > MOST:
        raise ValueError(f"The prompt has more than {MOST} parts: leave some out.")
    out = []
    for n, parts in enumerate(chapters):
        begin, end = n / len(chapters), (n + 1) / len(chapters)
        found = [replace(one(p, line), begin=begin, end=end) for p in parts]
        if all(p.weight < 0 for p in found):
            where = f" in chapter {n + 1}" if len(chapters) > 1 else ""
            raise ValueError(
                f"All weights are below 0{where}: the picture needs something to go "
                "towards."
            )
        out += found
    return out


story = parse  # a story is a prompt with chapters: one grammar, one parser


def one(part: Part, line: str) -> Prompt:
    """Read one prompt of a line."""
    text, numbers = cut(part, line)
    at = part.places[0]
    if option := OPTION.search(text.plain):
        raise refuse(
            f"{option[0]} is an option of another program: what to keep away from is "
            "written | cats:-0.5, and all else is a setting",
            line,
            text.places[option.start()],
        )
    if found := EMPHASIS.search(text.plain):
        held = next(found[k] for k in ("word", "word2", "in", "in2") if found[k])
        by = found["by"] or found["by2"] or found["by3"] or "1.3"
        held = held.split(",")[0].strip().replace("\x01", "")[:30]
        raise refuse(
            f"{short(found[0].replace(chr(1), '.'))} is how another program weighs its "
            f"words: write {spelt(held)}:{by} as a part of its own between |, or put "
            "the text in quotation marks if it is meant so",
            line,
            text.places[found.start()],
        )
    if text.kinds[0] == "q" == text.kinds[-1] and text.kinds.count("q") == 2:
        text = text[1:-1]
    prompt = Prompt(text.letters, *numbers)
    if fault := amiss(prompt):
        raise refuse(fault, line, at)
    return prompt


def cut(part: Part, line: str) -> tuple[Part, list[float]]:
    """A part as text and numbers: no number, a weight, or weight and stop."""
    shown = part.plain.translate(DIGITS)
    found = TAIL.search(shown)
    for inner in INNER.finditer(shown):  # a fox:2 in snow, (fox:1.3) as others write
        if "://" not in shown[: inner.start(1)].split()[-1]:
            raise refuse(
                "A weight stands at the end of a prompt: part prompts with |, as in "
                '"a fox:2 | snow", or put the text in quotation marks if this is none',
                line,
                part.places[inner.start(1)],
            )
    if re.fullmatch(r"[+-]\d+|[+-]?\d*\.\d+", shown.strip()):
        raise refuse(
            f"This is a number and no text: write fox:{shown.strip()} for a weight, or "
            "put it in quotation marks if it is the text",
            line,
            part.places[0],
        )
    if not found:
        check_tail(part, shown, line)
        return part, []
    text = shown[: found.start()]
    if not text:
        raise refuse("No text stands before this weight", line, part.places[0])
    if text[-1].isdigit() and TIME.search(shown):
        return part, []
    address = text.rpartition("://")[2] if "://" in text.split()[-1] else "/"
    if text[-1].isdigit() or text[-1] in ":" + WIDE or "/" not in address:
        raise misspelt(part, shown.rindex(":"), line)
    check_tail(part[: len(text)], text, line)
    return part[: len(text)], [float(n) for n in found.groups() if n]


def check_tail(part: Part, shown: str, line: str) -> None:
    """Raise ValueError if the end of a text looks like a weight; ``shown``: plain."""
    if wide := re.search(rf"(?<!\d)[{WIDE}]\s*{NUMBER}(?=$|[\s,;)])", shown):
        raise misspelt(part[: wide.end()], wide.start(), line)
    at = shown.rfind(":")
    before, after = shown[: max(at, 0)], shown[at + 1 :]
    if at < 0 or "\x01" in after:
        return
    word, digit = after.strip(), before[-1:].isdigit()
    if re.fullmatch(NUMBER, word) or not digit and ALMOST.fullmatch(word):
        if not before.strip():
            raise refuse("No text stands before this weight", line, part.places[0])
        if not (digit and after == word):
            raise misspelt(part, at, line)
        return
    if word and (not before.strip() or before[-1].isspace() or before[-1] in ":/"):
        return
    if word and digit and word[0].isdigit():
        return  # 12:30pm
    if not re.search(r"[\s/\\]", after):
        raise refuse(
            f"The weight {short(word)} is not a number: give one, as in fox:2, or put "
            "the text in quotation marks if the colon belongs to it",
            line,
            part.places[at],
        )


def misspelt(part: Part, at: int, line: str) -> ValueError:
    """Refuse what looks like a weight at a colon, with both right spellings."""

    def brief(text: str) -> str:
        text = " ".join(text.split())
        return text if len(text) <= 30 else "..." + text[-27:]

    number = "".join(part.letters[at + 1 :].split()).translate(DIGITS)
    if re.fullmatch(r"[+-]?\d+,\d+", number):
        number = number.replace(",", ".")
    number = number if re.fullmatch(NUMBER, number) else "0.5"
    text = spelt(brief(part.letters[:at].strip().rstrip(":")))
    return refuse(
        f"This looks like a weight and is none: write {text}:{number} for a weight, "
        f'"{brief(part.letters)}" in quotation marks if it belongs to the text',
        line,
        part.places[at],
    )


def amiss(p: Prompt) -> str:
    """What is wrong with one prompt, without a full stop; "" if nothing is."""
    title = short(p.text)
    if not isinstance(p.text, str):
        return f"The text of a wish must be text, not {title}"
    if p.vector is None and p.picture is None and not WORD.search(fold(p.text, False)):
        return f"The prompt {title} holds no word, only punctuation"
    for name in ("weight", "stop", "begin", "end"):
        value = getattr(p, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return f"The {name} of {title} must be a number, not {short(value)}"
    if not math.isfinite(p.weight):
        return f"The weight of {title} must be a finite number"
    if p.weight == 0:
        return f"The weight of {title} is 0: it would do nothing, so leave it out"
    if not WEIGHTS[0] <= abs(p.weight) <= WEIGHTS[1]:
        return f"The weight of {title} must have a size from 0.0001 to 10,000"
    if math.isnan(p.stop) or p.stop == math.inf:
        return f"The stop of {title} must be a finite number"
    if not 0 <= p.begin < p.end <= 1:
        return (
            f"{title} begins at {p.begin} and ends at {p.end}; these are shares of the "
            "steps, 0 <= begin < end <= 1"
        )
    if p.weight < 0 <= p.stop:
        return (
            f"The stop {p.stop:g} of {title} would never let it count: with a weight "
            "below 0 the stop is below 0 too, such as -0.95 to push no further than a "
            "distance of 0.95"
        )
    if p.stop > FARTHEST:
        return (
            f"The stop {p.stop:g} of {title} is above the largest distance "
            f"({FARTHEST:.2f}): it would never count"
        )
    return ""


def check(prompts: list[Prompt]) -> None:
    """Raise ValueError or TypeError if the prompts cannot lead anywhere."""
    if not prompts:
        raise ValueError("There is no prompt: give at least one.")
    for p in prompts:
        if not isinstance(p, Prompt):
            raise TypeError(f"A wish must be a Prompt, not {short(p)}.")
        if fault := amiss(p):
            raise ValueError(fault + ".")
    if all(p.weight < 0 for p in prompts):
        raise ValueError(
            "All weights are below 0: the picture needs something to go towards."
        )


def noise_prompt(seed: int, size: int, weight: float = 1.0) -> Prompt:
    """A random direction of ``size`` numbers: chance as a wish."""
    size = whole("The size of a direction", size, 1, 2**20)
    vector = F.normalize(torch.randn(size, generator=generator(seed)), dim=0)
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


def wishes(pictures=(), noises=(), spots=(), sizes=(), read=None) -> list[Prompt]:
    """The wishes of settings that are no plain words.

    pictures: (picture, weight) each; noises: (seed, weight), one direction for each
    guide, whose embeddings have ``sizes`` numbers; spots: (text, mask), where ``read``
    turns a mask into a picture (1, 3, H, W). Raises ValueError with one sentence for a
    black mask.
    """
    out = [
        Prompt(f"picture {n + 1}", weight, picture=picture)
        for n, (picture, weight) in enumerate(pictures)
    ]
    for seed, weight in noises:
        noise = [noise_prompt(seed, size, weight) for size in sizes]
        out.append(replace(noise[0], vector=[p.vector for p in noise]))
    for text, picture in spots:
        mask = read(picture).mean((0, 1))  # (H, W)
        if mask.max() < 0.02:
            raise ValueError(
                f"The mask of {short(text)} is black: paint the spot to be seen white."
            )
        out += [replace(p, mask=mask) for p in parse(text)]
    return out
