"""Persian in figures: before 3.11 matplotlib sets letters unjoined, from left to right.

``join_letters()`` gives each letter the form in which it joins its neighbours, and each
line the order in which it is seen: what a title needs of Unicode's two algorithms.
"""

import re
import unicodedata
from functools import cache, wraps

from matplotlib import ft2font
from matplotlib.text import Text

UNITS = re.compile("ل[\u0622\u0623\u0625\u0627]|.", re.S)  # lam and alef are one form
KINDS = {(False, False): "isolated", (False, True): "initial", (True, False): "final"}
SIDES = {"L": "L", "R": "R", "AL": "R", "EN": "N", "AN": "N"}  # N: a number
MIRROR = str.maketrans("()[]{}<>«»", ")(][}{><»«")


@cache
def forms() -> dict[tuple[str, str], str]:
    """{(isolated, initial, medial or final; letter): the letter in that form}."""
    found = {}
    for code in (*range(0xFB50, 0xFC00), *range(0xFE80, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        units = UNITS.findall("".join(chr(int(letter, 16)) for letter in letters))
        if len(units) == 1:
            found[kind.strip("<>"), units[0]] = chr(code)
    return found


def joined(line: str) -> str:
    """Every Arabic letter of a line in the form that its neighbours ask for."""
    known, units = forms(), UNITS.findall(line)
    seen = [n for n, unit in enumerate(units) if not unicodedata.combining(unit[0])]
    out = list(units)
    for place, n in enumerate(seen):
        before = units[seen[place - 1]] if place else ""
        after = units[seen[place + 1]] if place + 1 < len(seen) else ""
        back = ("initial", before) in known and ("final", units[n]) in known
        on = ("initial", units[n]) in known and ("final", after) in known
        out[n] = known.get((KINDS.get((back, on), "medial"), units[n]), units[n])
    return "".join(unit for unit in out if unicodedata.category(unit[0]) != "Cf")


def ordered(line: str) -> str:
    """A line in the order in which it is seen, from left to right."""
    sides = [SIDES.get(unicodedata.bidirectional(c), "") for c in line]
    if "R" not in sides:
        return line
    base = last = next(side for side in sides if side in ("L", "R"))
    for n, side in enumerate(sides):
        sides[n] = "L" if side == "N" and last == "L" else side
        last = side if side in ("L", "R") else last
    sides = [base if c in "()[]{}" else s for c, s in zip(line, sides, strict=True)]
    levels = []
    for n, side in enumerate(sides):
        if not side:  # a space, a sign: as what stands on both sides of it
            around = (sides[n::-1], sides[n:])
            around = {next((s for s in row if s), base) for row in around}
            around = {"R" if s == "N" else s for s in around}
            side = around.pop() if len(around) == 1 else base
        levels.append({"R": 1, "N": 2, "L": 2 * (base == "R")}[side])
    order = list(range(len(line)))
    for level in (2, 1):
        at = 0
        while at < len(order):
            end = at
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[at:end] = order[at:end][::-1]
            at = end + 1
    return "".join(
        line[n].translate(MIRROR) if levels[n] == 1 else line[n] for n in order
    )


def as_seen(text):
    """A text with its Arabic letters joined and in order; done twice it stays."""
    if not isinstance(text, str) or not any(("isolated", c) in forms() for c in text):
        return text
    return "\n".join(ordered(joined(line)) for line in text.split("\n"))


def join_letters() -> None:
    """Let this matplotlib set Persian as it is read; a newer one does so by itself."""
    plain = Text.set_text
    if hasattr(ft2font, "__libraqm_version__") or hasattr(plain, "joins"):
        return

    @wraps(plain)
    def set_text(self, s):
        plain(self, as_seen(s))

    set_text.joins = True
    Text.set_text = set_text
