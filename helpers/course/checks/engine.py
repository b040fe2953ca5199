"""How a check runs: cases drawn at random, an independent oracle, one clear line.

A check prints exactly one line: "not attempted yet", or how many cases passed. A wrong
answer raises AssertionError: what came, what was expected, what is likely wrong.
"""

import math
import numbers

import torch
import torch.nn.functional as F


class Draw:
    """Random numbers for the cases of one check; the same seed, the same cases."""

    def __init__(self, seed: int = 0):
        self.g = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.g)

    def unit(self, *shape: int) -> torch.Tensor:
        """Vectors of length 1 along the last dimension."""
        return F.normalize(self.normal(*shape), dim=-1)

    def colours(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.g)

    def whole(self, below: int, *shape: int) -> torch.Tensor:
        """Whole numbers 0 .. below - 1."""
        return torch.randint(below, shape, generator=self.g)

    def order(self, n: int) -> torch.Tensor:
        return torch.randperm(n, generator=self.g)


def copied(args: tuple) -> tuple:
    """The arguments anew, so that an answer which writes into them harms nobody."""
    kinds = (torch.Tensor, list)
    return tuple(
        (a.clone() if isinstance(a, torch.Tensor) else list(a))
        if isinstance(a, kinds)
        else a
        for a in args
    )


def told(value) -> str:
    """A value in a few words."""
    if isinstance(value, torch.Tensor):
        if value.ndim == 0:
            return told(value.item())
        if value.numel() <= 6:
            numbers_of = value.detach().tolist()
            return f"{rounded(numbers_of)} of shape {tuple(value.shape)}"
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, float | list | tuple):
        text = str(rounded(value))
        return text if len(text) <= 60 else f"{text[:56]} ..."
    return repr(value)[:60]


def rounded(value):
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def misfit(got, expected) -> str:
    """What is wrong with the type of an answer, "" if nothing is."""
    if got is None:
        return "None: nothing came back, a `return` is missing"
    kind = f"{type(got).__module__.split('.')[0]}.{type(got).__name__}"
    kind = kind.removeprefix("builtins.")
    if not isinstance(expected, torch.Tensor):
        if isinstance(got, torch.Tensor):
            if got.ndim:
                return f"a tensor of shape {tuple(got.shape)}, not one number"
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, numbers.Real):
            return f"a value of type {kind}, not one number"
        if isinstance(expected, int) and not isinstance(got, numbers.Integral):
            return f"{rounded(float(got))}, not a whole number: use int(...)"
        return ""
    if not isinstance(got, torch.Tensor):
        way = {
            "list": "torch.tensor(...) or torch.stack(...)",
            "tuple": "torch.tensor(...) or torch.stack(...)",
            "numpy.ndarray": "torch.from_numpy(...)",
        }.get(kind)
        makes = f": {way} makes one" if way else ""
        return f"a value of type {kind}, not a torch tensor{makes}"
    if got.shape != expected.shape:
        return f"a tensor of shape {tuple(got.shape)}, not {tuple(expected.shape)}"
    if expected.is_floating_point() and got.dtype not in (torch.float32, torch.float64):
        return f"a tensor of {got.dtype}, not of torch.float32"
    if not expected.is_floating_point() and (
        got.is_floating_point() or got.dtype == torch.bool
    ):
        return f"a tensor of {got.dtype}, not of whole numbers: use .long()"
    return ""


def agree(got, expected, tolerance: float = 1e-4) -> bool:
    """Are two answers of fitting type and shape equal?"""
    if misfit(got, expected):
        return False
    if not isinstance(expected, torch.Tensor):
        return math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    got, expected = got.detach().double(), expected.double()
    return torch.allclose(got, expected, atol=tolerance, rtol=tolerance)


def alike(got, other) -> bool:
    """Two answers, neither of which need be right; nan is like nan."""
    got, other = (torch.as_tensor(v).detach().double() for v in (got, other))
    near = got.shape == other.shape and torch.isclose(
        got, other, rtol=1e-4, atol=1e-4, equal_nan=True
    )
    return bool(near is not False and near.all())


def apart(got, expected) -> tuple[str, str]:
    """What came and what was expected, for tensors at the place that is worst."""
    if misfit(got, expected):
        return misfit(got, expected), told(expected)
    if not isinstance(expected, torch.Tensor) or expected.numel() <= 6:
        return told(got), told(expected)
    off = (got.detach().double() - expected.double()).abs()
    worst = int(off.nan_to_num(torch.inf).argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), off.shape)]
    one = told(got.detach().flatten()[worst])
    return f"{one} at {place}", f"{told(expected.flatten()[worst])} there"


def likely(function, slips: dict, cases: list[tuple], got, hint: str) -> str:
    """The slip that answers every case as the reader's function does, else the hint."""
    if isinstance(got, torch.Tensor | float) and torch.as_tensor(got).isnan().any():
        hint = f"nan comes from log 0, 0 / 0 or arccos beyond 1. {hint}"
    answers = []
    for args in cases:
        try:
            answers.append((args, function(*copied(args))))
        except Exception:  # what it cannot do says nothing
            continue
    for words, slip in slips.items() if answers else ():
        try:
            if all(alike(answer, slip(*copied(args))) for args, answer in answers):
                return words
        except Exception:  # nor need a slip be able to do every case
            continue
    return hint


def exercise(function, oracle, cases: list[tuple], slips: dict, hint: str) -> None:
    """Run ``function`` on the arguments of each case against ``oracle``; print a line.

    slips: what a reader may have done -> a function that does so, to name the fault.
    """
    for number, args in enumerate(cases, 1):
        expected, cause = oracle(*copied(args)), None
        try:
            got = function(*copied(args))
        except NotImplementedError as error:
            if number == 1 and not error.args:
                print("not attempted yet")
                return
            came, wanted, cause = "NotImplementedError", told(expected), error
            words = "one branch of your function is not written"
        except Exception as error:
            came, wanted, cause = type(error).__name__, told(expected), error
            said = str(error).splitlines()[0][:120] if str(error) else hint
            words = likely(function, slips, cases, None, said)
        else:
            if agree(got, expected):
                continue
            came, wanted = apart(got, expected)
            words = likely(function, slips, cases, got, hint)
        given = ", ".join(told(a) for a in args)
        raise AssertionError(
            f"received {came}, expected {wanted}, "
            f"for {given} (case {number} of {len(cases)}). Likely: {words}."
        ) from cause
    print(f"{len(cases)} checks passed")
