"""Checks for exercises and for "our helper is the same thing".

An exercise check prints one line: "not attempted yet", or how many checks passed; a
wrong answer raises AssertionError that says what came, what was expected and why.
"""

import torch
import torch.nn.functional as F


def same(mine, helper, tolerance: float = 1e-5) -> None:
    """Assert that two results are equal (tensors within ``tolerance``); print it."""
    if isinstance(mine, torch.Tensor):
        torch.testing.assert_close(mine, helper, atol=tolerance, rtol=tolerance)
    else:
        assert mine == helper, f"mine gives {mine!r}, the helper {helper!r}"
    print("same as the helper")


def exercise(function, cases: list, explain: str) -> None:
    """Run ``function`` on each (args, expected, hint); print one line.

    expected may be a tensor, a number, a list or any value that compares.
    """
    done = 0
    for args, expected, hint in cases:
        try:
            got = function(*args)
        except NotImplementedError:
            print("not attempted yet")
            return
        if isinstance(expected, torch.Tensor):
            fits = (
                isinstance(got, torch.Tensor)
                and got.shape == expected.shape
                and torch.allclose(got.to(expected.dtype), expected, atol=1e-4)
            )
            shown = (
                f"shape {tuple(got.shape)}, starting {got.flatten()[:3].tolist()}"
                if isinstance(got, torch.Tensor)
                else repr(got)
            )
            wanted = (
                f"shape {tuple(expected.shape)}, "
                f"starting {expected.flatten()[:3].tolist()}"
            )
        elif isinstance(expected, float):
            fits = got is not None and abs(float(got) - expected) < 1e-4
            shown, wanted = repr(got), repr(expected)
        else:
            fits, shown, wanted = got == expected, repr(got), repr(expected)
        assert fits, f"received {shown}, expected {wanted}; {hint}. {explain}"
        done += 1
    print(f"{done} checks passed")


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine_matrix(function) -> None:
    """01, exercise 1: rows of a against rows of b."""
    cases = []
    for n, m, d in ((1, 1, 4), (3, 5, 8), (7, 2, 16)):
        a, b = seeded(n, d, seed=n), 3 * seeded(m, d, seed=m + 9)
        want = F.cosine_similarity(a[:, None], b[None], dim=-1)
        hint = "divide every row by its length, then multiply"
        cases.append(((a, b), want, hint))
    exercise(function, cases, "Rows of a go down, rows of b across.")


def retrieval(function) -> None:
    """01, exercise 2: recall at k of a square score matrix."""
    cases = []
    for n, k in ((1, 1), (6, 1), (6, 3), (20, 5)):
        scores = seeded(n, n, seed=n + k)
        order = scores.argsort(1, descending=True)[:, :k]
        want = (order == torch.arange(n)[:, None]).any(1).float().mean().item()
        hint = "count the rows whose own column is among the k largest"
        cases.append(((scores, k), want, hint))
    exercise(function, cases, "Row i belongs to column i.")


def many_positives(function) -> None:
    """01, exercise 3: the picture half of the loss, several right captions."""
    cases = []
    for ids in ([0], [0, 1, 2], [0, 0, 1], [2, 1, 2, 1, 2]):
        n = len(ids)
        logits = 3 * seeded(n, n, seed=n)
        ids = torch.tensor(ids)
        target = (ids[:, None] == ids[None]).float()
        target = target / target.sum(1, keepdim=True)
        want = F.cross_entropy(logits, target).item()
        hint = "share the target evenly over the captions of the same concept"
        cases.append(((logits, ids), want, hint))
    exercise(function, cases, "Average over the pictures.")


def hit_rate(function) -> None:
    """00, exercise 1: share of places at which two lists agree."""
    cases = [
        (([3], [3]), 1.0, "one query, one hit"),
        (([3], [4]), 0.0, "one query, no hit"),
        (([1, 2, 3, 4], [1, 0, 3, 0]), 0.5, "two of four agree"),
    ]
    exercise(function, cases, "Return a share between 0 and 1.")
