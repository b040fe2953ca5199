"""Metrics against counting by hand."""

import pytest
import torch

from helpers import metrics
from helpers.metrics import frechet, psnr, sharpness


def test_ranks_and_recall_by_hand():
    targets = torch.eye(4)
    queries = torch.tensor([[0.9, 0.1, 0, 0], [0.5, 0.4, 0.3, 0.2], [0, 0, 0.1, 0.9]])
    right = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]).bool()
    rank = metrics.ranks(queries, targets, right)
    assert rank.tolist() == [0, 3, 0]
    assert metrics.recall_at(rank, 1) == pytest.approx(2 / 3)
    assert metrics.recall_at(rank, 4) == 1


def test_a_tie_counts_against_the_query():
    same = torch.ones(1, 3)
    rank = metrics.ranks(same, torch.ones(5, 3), torch.tensor([[1, 0, 0, 0, 0]]).bool())
    assert rank.tolist() == [4]


def test_top_k_and_balanced():
    images = torch.tensor([[1.0, 0.2], [0.3, 1.0], [1.0, 0.9]])
    classes, labels = torch.eye(2), torch.tensor([0, 1, 1])
    assert metrics.top_k(images, classes, labels, 1) == pytest.approx(2 / 3)
    assert metrics.top_k(images, classes, labels, 5) == 1
    guess = torch.tensor([0, 1, 0])
    assert metrics.balanced_accuracy(guess, labels) == pytest.approx((1 + 0.5) / 2)


def test_same():
    assert metrics.same(["a", "b"], ["b", "a", "c"]).int().tolist() == [
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_about_rounds_to_steps_of_five():
    assert [metrics.about(x) for x in (0, 0.52, 0.53, 1)] == [
        f"about {n} %" for n in (0, 50, 55, 100)
    ]


@pytest.mark.parametrize(("n", "d"), [(40, 1), (60, 5), (9, 20)])
def test_frechet_against_the_general_square_root(n, d):
    g = torch.Generator().manual_seed(n)
    a = torch.randn(n, d, generator=g, dtype=torch.double)
    b = 2 * torch.randn(n, d, generator=g, dtype=torch.double) + 1
    A, B = (torch.cov(x.T).view(d, d) for x in (a, b))
    roots = torch.linalg.eigvals(A @ B).sqrt().real.sum()
    want = (a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * roots
    assert abs(frechet(a, b) - want.item()) < 1e-3
    assert frechet(a, a) < 1e-6


def test_frechet_of_shifted_copies_is_the_shift():
    a = torch.randn(500, 3)
    assert abs(frechet(a, a + torch.tensor([3.0, 0, 4.0])) - 25) < 1e-3
    with pytest.raises(ValueError, match="at least two"):
        frechet(a[:1], a)


def test_blur_is_less_sharp_and_psnr_is_its_formula():
    x = torch.rand(3, 3, 16, 16)
    blur = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert sharpness(blur) < sharpness(x)
    torch.testing.assert_close(
        psnr(x * 0, x * 0 + 0.1), torch.full((3,), 20.0), atol=1e-3, rtol=0
    )
