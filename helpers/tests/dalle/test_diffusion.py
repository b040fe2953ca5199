"""Diffusion against its definitions."""

import math

import pytest
import torch

from helpers.dalle import diffusion


@pytest.mark.parametrize("shape", [(1, 3), (4, 3, 8, 8), (2, 5)])
@pytest.mark.parametrize("kind", ["x0", "v"])
def test_the_clean_picture_and_the_noise_come_back(shape, kind):
    g = torch.Generator().manual_seed(0)
    x, noise = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    t = torch.rand(shape[0], generator=g) * 0.9 + 0.05
    x_t = diffusion.add_noise(x, noise, t)
    said = x if kind == "x0" else diffusion.velocity(x, noise, t)
    clean, found = diffusion.clean_and_noise(said, x_t, t, kind)
    torch.testing.assert_close(clean, x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, noise, atol=1e-4, rtol=1e-4)


def test_the_schedule_keeps_variance_and_ends_in_noise():
    t = torch.linspace(0, 1, 11)
    a, s = diffusion.signal(t)
    torch.testing.assert_close(a**2 + s**2, torch.ones(11))
    assert a[0] > 0.999 and a[-1] < 0.02
    # half way the cosine schedule has half the variance
    assert abs(float(a[5]) ** 2 - 0.5) < 1e-3


def gaussian(spread: float):
    """The perfect x0-prediction when data are N(0, spread^2)."""

    def said_by(x, t):
        a, s = (diffusion.like(p, x) for p in diffusion.signal(t))
        return a * spread**2 / (a**2 * spread**2 + s**2) * x

    return said_by


def test_ddim_turns_noise_into_the_data_of_a_gaussian():
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 1, generator=g)
    out = diffusion.ddim(gaussian(0.3), noise, 200, "x0")
    assert abs(out.std().item() - 0.3) < 0.02
    # each draw is its noise, shrunk: DDIM is a map, not a lottery
    assert torch.corrcoef(torch.stack([out[:, 0], noise[:, 0]]))[0, 1] > 0.999


def test_ddim_back_and_forth_gives_the_start_again():
    g = torch.Generator().manual_seed(1)
    x = 0.3 * torch.randn(16, 2, generator=g)
    noise = diffusion.ddim_back(gaussian(0.3), x, 300, "x0")
    again = diffusion.ddim(gaussian(0.3), noise, 300, "x0")
    torch.testing.assert_close(again, x, atol=0.02, rtol=0.05)


def test_guidance_goes_beyond_the_condition():
    def network(x, t, told):
        return torch.where(told[:, None], 3.0, 1.0).expand(len(x), 2)

    x, t = torch.zeros(3, 2), torch.zeros(3)
    for guidance, wanted in ((0, 1.0), (1, 3.0), (2, 5.0)):
        said = diffusion.guided(network, guidance)(x, t)
        torch.testing.assert_close(said, torch.full((3, 2), wanted))


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        diffusion.ddim(gaussian(1), torch.zeros(1, 1), steps, "x0")
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        diffusion.ddim_back(gaussian(1), torch.zeros(1, 1), steps, "x0")


def test_the_clock_tells_times_apart():
    torch.manual_seed(0)
    clock = diffusion.Clock(16)
    rows = clock(torch.linspace(0, 1, 50))
    assert rows.shape == (50, 16)
    near = (rows[1:] - rows[:-1]).norm(dim=1)
    assert near.min() > 1e-3 and math.isfinite(near.max().item())


@pytest.mark.parametrize("more", [{"kind": "noise"}, {"kind": None}, {"begin": 5.0}])
def test_a_walk_of_another_kind_is_refused(more):
    # any other kind was taken for "v"
    asked = {"kind": "x0"} | more
    with pytest.raises(ValueError, match="kind of prediction|time at which"):
        diffusion.ddim(lambda x, t: x, torch.rand(2, 3), 2, **asked)
