"""Words: texts that look the same become the same text, once for the whole course.

Captions, classes and queries all pass through ``fold`` before they become tokens.
"""

import unicodedata

import regex

HIDDEN = regex.compile(
    r"""
    (?<=\p{Arabic}\p{M}*)\u200c+(?=\p{Arabic})(*SKIP)(*FAIL) # parts Persian words
    |(?<=[\p{InBengali}\p{InDevanagari}\p{InGujarati}\p{InGurmukhi}\p{InKannada}
        \p{InMalayalam}\p{InOriya}\p{InSinhala}\p{InTamil}\p{InTelugu}])
        [\u200c\u200d](*SKIP)(*FAIL)                        # chooses an Indic form
    |(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\U000e0020-\U000e007f])
        (?:\u200d(?=\p{Extended_Pictographic})|[\ufe0e\ufe0f\U000e0020-\U000e007f])
        (*SKIP)(*FAIL)                                     # builds an emoji
    |(?<=[0-9#*])\ufe0f?\u20e3(*SKIP)(*FAIL)                # a key, such as 1 in a box
    |\p{Prepended_Concatenation_Mark}(*SKIP)(*FAIL)         # Cf by name, but visible
    |[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Cc}\p{Cs}\ufffc] # dictation leaves it
    """,
    regex.VERBOSE,
)
SHAPES = regex.compile(  # letters by their place, joined as fi, as wide as Chinese
    r"[\ufb00-\ufb04\ufb06\ufb50-\ufdff\ufe70-\ufefc\uff01-\uff5e]+"
)
MARKS = regex.compile(r"\u0640|(?<=\p{Arabic}\p{M}*)[\u064c\u064d\u0651\u0652\u0670]")
PERSIAN = str.maketrans(
    dict.fromkeys("كڪ", "ک")
    | dict.fromkeys("يىےۍې", "ی")
    | dict.fromkeys("ۀةہھەۃۂ", "ه")
    | dict.fromkeys("ٱ", "ا")
    | {"\u200c": " "}
    | {chr(0x660 + n): chr(0x6F0 + n) for n in range(10)}
)


def fold(text: str, persian: bool = True) -> str:
    """One form for texts that look the same; upper and lower case stay as they are.

    Composed letters (NFC), Arabic letters without the forms of their place, Latin ones
    of the usual width and not joined (fi is one sign in many a PDF), no marks that are
    invisible (direction, joiners that join nothing, soft hyphens, controls), one space
    for any white space. What builds an emoji or an Indic letter stays.
    ``persian``: Arabic letters, digits and the half-space too become the Persian ones
    that our captions hold, and strokes that only lengthen or double a letter go.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = SHAPES.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFC", text)
    text = HIDDEN.sub("", regex.sub(r"[\s\u2800]+", " ", text))  # 2800: no dot of 8
    if persian:
        text = MARKS.sub("", text).translate(PERSIAN)
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_persian(text: str) -> bool:
    """Does a text have letters of the Arabic script?"""
    return any("\u0600" <= letter <= "\u06ff" for letter in text)
