"""Text of panels: what stands in a field, what a line says. No widget is made here."""

from ..values import members, short


def sentence(error: BaseException) -> str:
    """What went wrong as one line, also where the error itself says nothing."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else error
    lines = str(text).strip().splitlines() or [""]
    if not lines[0]:
        return f"That did not work ({type(error).__name__}); change a field, try again."
    return brief(lines[0], 240)


def typed(value) -> str:
    """What stands in a text field at first: a text, or a list of them with commas.

    Raises ValueError with one sentence.
    """
    rows = [value] if isinstance(value, str) else members(value)
    if rows is None or not all(isinstance(row, str) for row in rows):
        raise ValueError(f"A field holds text, not {short(value)}.")
    return ", ".join(rows)


def sendable(text: str) -> str:
    """A text that goes to a browser: bytes of a file name that are none are spelt."""
    return text.encode("utf-8", "backslashreplace").decode()


def brief(text: str, most: int) -> str:
    """A text of at most so many letters, which a browser takes."""
    text = sendable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
