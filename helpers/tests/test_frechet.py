"""Fréchet distance, sharpness and PSNR against their definitions."""

import pytest
import torch

from helpers import clip
from helpers.frechet import frechet, psnr, sharpness
from helpers.workshop.evaluate_vqgan import STAGES, patches


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


@pytest.mark.parametrize("count", [1, 3])
def test_patches_are_what_an_early_stage_of_the_judge_gives(count):
    eyes = clip.load("judge", "cpu")
    size = eyes.model.config.image_size
    pictures = torch.rand(count, 3, size, size)
    seen = []
    stage = eyes.model.visual.trunk.blocks[STAGES - 1]
    hook = stage.register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        eyes.model.encode_image(pictures)
    hook.remove()
    rows = patches(eyes, pictures)
    want = seen[0].permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(rows, want, atol=1e-3, rtol=1e-3)
    assert len(rows) == count * (size // 4) ** 2
