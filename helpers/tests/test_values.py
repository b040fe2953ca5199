"""The quick question whether all numbers are finite, against torch's own."""

import pytest
import torch

from helpers.values import finite

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(3, 2),
        torch.empty(0, 4),
        torch.tensor([1, NAN]),
        torch.tensor([INF, 1]),
        torch.tensor([INF, -INF]),
        torch.full((9,), 3e38),  # the sum is inf, no number is
        torch.full((9,), 6e4).half(),
    ],
)
def test_finite_says_what_torch_says(x):
    assert finite(x) == bool(x.isfinite().all())
