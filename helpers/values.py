"""Checks of plain values: each fault is one sentence that says what, where, what to do.

Numbers of numpy and torch become plain ones, so that everything fits into a PNG.
"""

import math
import numbers
import operator

import numpy as np
import torch
from torch import Tensor


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


def seed_after(seed, after: int) -> int:
    """The seed so many places after a seed; behind the largest comes 0 again."""
    return (whole("The seed", seed, 0, LARGEST_SEED) + after) % (LARGEST_SEED + 1)


def number(what: str, value, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from ``low`` to ``high``. Raises ValueError with one sentence."""
    if isinstance(value, (np.ndarray, Tensor)) and not value.ndim:
        value = value.item()
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


def members(value) -> list | None:
    """What a list, an iterator, a table's column ... holds; None for a single thing."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return None
    try:
        return list(value)
    except TypeError:  # an array without dimensions, too
        return None


def tensor(what: str, value) -> Tensor:
    """A tensor, also out of lists and arrays. Raises ValueError with one sentence."""
    try:
        return value if isinstance(value, Tensor) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"{what} are numbers in a tensor, not {short(value)}."
        ) from None


def finite(x: Tensor) -> bool:
    """No NaN and no inf? One of them spoils the sum, which is the quick question."""
    return bool(x.sum().isfinite() or x.isfinite().all())


def floats(what: str, x, *shape: int) -> Tensor:
    """Finite floats of the shape (B, *shape). Raises ValueError with one sentence."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{what} are a tensor, not {type(x).__name__}.")
    if x.shape[1:] != shape or not x.is_floating_point():
        wanted = ", ".join(map(str, shape))
        raise ValueError(
            f"{what} are floats of shape (B, {wanted}) here, not {x.dtype} of shape "
            f"{tuple(x.shape)}."
        )
    if not finite(x):
        raise ValueError(f"{what} hold values that are no numbers (NaN or inf).")
    return x.float()


def ready(model):
    """A CLIP that is loaded. Raises ValueError with one sentence for its name, say."""
    if not hasattr(model, "embed_images"):
        raise ValueError(
            f"What looks here is a ready CLIP, not {type(model).__name__}: clip.load()."
        )
    return model


def alike(a, b) -> tuple[Tensor, Tensor]:
    """Vectors (..., D) and (M, D) as floats of one width, on the device of the first.

    Raises ValueError with one sentence for what is none, and for two widths.
    """
    a, b = tensor("Vectors", a), tensor("Vectors", b)
    if not a.ndim or b.ndim != 2 or a.is_complex() or b.is_complex():
        raise ValueError(
            "Vectors are floats of the shape (N, D), not "
            f"{tuple(a.shape)} and {tuple(b.shape)}."
        )
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"These vectors have {a.shape[-1]} and {b.shape[-1]} numbers: they come "
            "from two models; let one model make both."
        )
    a, b = a.float(), b.to(a.device).float()
    if not (finite(a) and finite(b)):
        raise ValueError("Vectors are finite; these hold values that are no numbers.")
    return a, b


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
