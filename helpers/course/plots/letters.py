"""Persian in figures: matplotlib before 3.11 sets it unjoined, from left to right."""

import unicodedata
from functools import wraps

from matplotlib import ft2font
from matplotlib.text import Text

MIRROR = str.maketrans("()[]{}«»", ")(][}{»«")


def is_arabic(letter: str) -> bool:
    """A letter as it is typed; one that has the form of its place is done already."""
    return "\u0600" <= letter <= "\u06ff" and unicodedata.category(letter) == "Lo"


def as_seen(text):
    """A text with its Arabic letters joined and in order; done twice it stays."""
    if not isinstance(text, str) or not any(map(is_arabic, text)):
        return text
    from arabic_reshaper import reshape
    from bidi import get_display

    joined = "".join(c for c in reshape(text) if unicodedata.category(c) != "Cf")
    lines = [get_display(line) for line in joined.split("\n")]
    return "\n".join(map(mirrored, lines))


def mirrored(line: str) -> str:
    """Brackets that were turned round with their line open to the right again."""
    first = next((c for c in line if c in "()[]{}«»"), "")
    return line.translate(MIRROR) if first in tuple(")]}»") else line


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
