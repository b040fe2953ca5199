"""Checks of plain values: each fault is one sentence that says what, where, what to do.

Numbers of numpy and torch become plain ones, so that everything fits into a PNG.
"""

import math
import numbers
import operator

import torch


def short(value, size: int = 40) -> str:
    """A value on one line, cut to ``size`` characters, for a sentence."""
    if isinstance(value, str) and len(value) > 20 * size:
        value = value[: 20 * size]
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= size else text[: size - 4] + " ..."


def whole(what: str, value, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``. Raises ValueError with one sentence."""
    good = not isinstance(value, bool) and hasattr(value, "__index__")
    try:
        number = operator.index(value) if good else None
    except Exception:  # an array, a tensor of floats
        number = None
    if number is None or isinstance(number, bool) or not low <= number <= high:
        raise ValueError(
            f"{what} must be a whole number from {low:,} to {high:,}, not "
            f"{short(value)}."
        )
    return number


LARGEST_SEED = 2**63 - 1


def generator(seed, what: str = "The seed") -> torch.Generator:
    """A CPU generator of random numbers, so that a seed means the same everywhere.

    Raises ValueError with one sentence for what is no seed.
    """
    return torch.Generator().manual_seed(whole(what, seed, 0, LARGEST_SEED))


def number(what: str, value, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from ``low`` to ``high``. Raises ValueError with one sentence."""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        found = float(value) if good else math.nan
    except (OverflowError, ValueError):
        found = math.nan
    if not math.isfinite(found) or not low <= found <= high:
        span = "" if low == -math.inf else f" from {low:g} to {high:g}"
        raise ValueError(f"{what} must be a number{span}, not {short(value)}.")
    return found if isinstance(value, float) or found != int(found) else int(found)


def flag(what: str, value) -> bool:
    """True or False and nothing else. Raises ValueError with one sentence."""
    if type(value) is not bool:
        raise ValueError(f"{what} is True or False, not {short(value)}.")
    return value


def one_of(what: str, value, known) -> str:
    """A name out of a list. Raises ValueError with one sentence."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"There is no {what} {quoted(value)}; choose from {', '.join(known)}."
        )
    return value


def quoted(value) -> str:
    """A name in quotation marks; anything else as it is written in Python."""
    if isinstance(value, str) and len(value) < 40 and value.isprintable():
        return f'"{value}"'
    return short(value)


def rows(what: str, value, form: str) -> tuple:
    """A list or tuple as a tuple, lists in it too. ``form``: how it is written."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} is written {form}, not {short(value)}.")
    return frozen(value)


def frozen(value, depth: int = 0):
    """Lists become tuples, also inside: plain data that nobody can change.

    Raises ValueError with one sentence for lists in lists without end.
    """
    if depth > 8:
        raise ValueError("Settings hold lists in lists in lists: none is that deep.")
    if isinstance(value, dict):
        return {k: frozen(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(frozen(v, depth + 1) for v in value)
    return value
