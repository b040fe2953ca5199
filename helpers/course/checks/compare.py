"""What you wrote and the helper give the same: compare both sides, name them."""

from collections.abc import Callable, Sequence

import torch


def difference(mine, other, tolerance: float, where: str) -> float | None:
    """The largest difference of two results; None if they hold no fractions."""
    if isinstance(mine, torch.Tensor) or isinstance(other, torch.Tensor):
        kinds = [type(v).__name__ for v in (mine, other)]
        assert kinds == ["Tensor"] * 2, f"{where}: a {kinds[0]} and a {kinds[1]}"
        assert mine is not other, f"{where}: both sides are one and the same tensor"
        torch.testing.assert_close(
            mine, other, atol=tolerance, rtol=tolerance, msg=lambda m: f"{where}: {m}"
        )
        if not mine.is_floating_point():
            return None
        return (mine - other).abs().max().item() if mine.numel() else 0.0
    if isinstance(mine, list | tuple) and isinstance(other, list | tuple):
        assert len(mine) == len(other), f"{where}: {len(mine)} and {len(other)} parts"
        parts = [
            difference(m, o, tolerance, where) for m, o in zip(mine, other, strict=True)
        ]
        return max((p for p in parts if p is not None), default=None)
    if isinstance(mine, float) and isinstance(other, float):
        off = abs(mine - other)
        assert off <= tolerance * (1 + abs(other)), f"{where}: {mine} and {other}"
        return off
    assert mine == other, f"{where}: {mine!r} and {other!r}"
    return None


def same(
    mine,
    other,
    tolerance: float = 1e-5,
    *,
    cases: Sequence[tuple] | None = None,
    what: str = "",
) -> None:
    """Assert that two sides agree, and print what was compared.

    Either two functions and ``cases``, a list of argument tuples, on which both are
    run; or two results, with ``what`` to name them ("my W, zeroshot.classifier").
    """
    if cases is None:
        assert not (isinstance(mine, Callable) and isinstance(other, Callable)), (
            "two functions need cases=[(arguments, ...), ...]"
        )
        what = what or "both sides"
        off = difference(mine, other, tolerance, what)
        shape = f" of shape {tuple(mine.shape)}" if getattr(mine, "shape", ()) else ""
        count = f"1 case{shape}"
    else:
        names = [getattr(f, "__qualname__", type(f).__name__) for f in (mine, other)]
        what = what or ", ".join(names)
        assert mine is not other, f"{what}: both sides are one and the same function"
        assert len(cases), f"{what}: no case to compare"
        offs = [
            difference(
                mine(*c), other(*c), tolerance, f"{what}, case {n} of {len(cases)}"
            )
            for n, c in enumerate(cases, 1)
        ]
        off = max((o for o in offs if o is not None), default=None)
        count = "1 case" if len(cases) == 1 else f"{len(cases)} cases"
    print(f"{what}: the same in {count}{largest(off, tolerance)}")


def largest(off: float | None, tolerance: float) -> str:
    """The largest difference as a bound that no machine's rounding changes."""
    if off is None:
        return ""
    bound = tolerance
    while off > bound:  # numbers far above 1 are compared by their digits
        bound *= 10
    return f", largest difference below {bound:g}"
