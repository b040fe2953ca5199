"""The bookkeeping of training: a run that was cut off goes on as if it were whole."""

import pytest
import torch
from torch import nn

from helpers.vqgan.losses import PatchDiscriminator
from helpers.workshop import run as run_module
from helpers.workshop.recipes.vqgan import together
from helpers.workshop.run import MIX, Average, Clock, Run, in_pairs, rate


def learn(path, steps: int, stop: int, resume: bool) -> tuple[torch.Tensor, Run]:
    """Fit a line to noise for ``steps`` steps; leave after step ``stop``."""
    torch.manual_seed(3)
    model, g = nn.Linear(4, 1), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    average, parts = Average(model, 0.9), {"model": model, "optimiser": optimiser}
    run = Run("line", path, parts, average, g, steps, resume)
    for step in run:
        x = torch.randn(8, 4, generator=g)
        optimiser.zero_grad()
        (model(x).squeeze(1) - x.sum(1)).square().mean().backward()
        optimiser.step()
        average.update(model, step)
        if step == stop:
            run.save(step, note="here")
            break
    return average.state["weight"], run


def test_a_run_that_was_cut_off_ends_like_one_that_was_not(tmp_path):
    whole, _ = learn(tmp_path / "a.checkpoint", 12, 11, resume=False)
    learn(tmp_path / "b.checkpoint", 12, 4, resume=True)
    rest, run = learn(tmp_path / "b.checkpoint", 12, 11, resume=True)
    assert run.first == 5 and run.saved["note"] == "here"
    assert torch.equal(whole, rest)
    fresh, run = learn(tmp_path / "b.checkpoint", 12, 11, resume=False)
    assert run.first == 0 and torch.equal(whole, fresh)


def test_it_is_time_to_save_soon_and_at_the_end(tmp_path):
    model = nn.Linear(2, 1)
    parts, g = {"model": model}, torch.Generator()
    run = Run("line", tmp_path / "x", parts, Average(model, 0.9), g, 50)
    assert [step for step in range(50) if run.due(step)] == [20, 49]
    run.last -= 91
    assert run.due(3)


def test_a_mean_is_the_mean_and_buffers_are_copied():
    model = nn.BatchNorm1d(3)
    average, start = Average(model, 0.9), model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    model(torch.randn(4, 3))
    average.update(model, 1000)
    torch.testing.assert_close(average.state["weight"], start + 0.1)
    assert average.state["num_batches_tracked"] == 1 and average.finite()
    average.state["bias"][0] = float("nan")
    assert not average.finite()


def test_a_clock_goes_by_steps_or_by_seconds(monkeypatch):
    rows = list(Clock(4))
    assert rows == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    now = [100.0]
    monkeypatch.setattr(run_module.time, "time", lambda: now[0])
    clock, due = Clock(10**9, seconds=100), []
    for step, _ in clock:
        now[0] += 8
        due += [step] if clock.due else []
    assert clock.step == 13 and clock.spent() == 104
    assert due == [2, 4, 6, 8, 10, 12]  # more than 15 seconds later
    assert list(Clock(5, seconds=-1)) == []  # no time was left


def test_a_rate_warms_up_and_falls_to_a_hundredth():
    assert rate(0.0, 2.0) < 0.02 and rate(0.02, 2.0) == 2.0
    assert rate(0.3, 1.0) > rate(0.9, 1.0) > rate(1.0, 1.0)
    assert rate(1.0, 1.0) == pytest.approx(0.01) == rate(1.2, 1.0)


def test_real_and_fake_are_judged_with_the_same_statistics():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8, 1)
    real = torch.rand(4, 3, 32, 32)
    a, b = together(discriminator, real, real)
    assert torch.allclose(a, b, atol=1e-5)
    a, b = together(discriminator, real, 0.2 * real)
    assert not torch.allclose(a, b, atol=1e-2)
    assert not torch.allclose(a, discriminator(real), atol=1e-2)  # apart, each its own
    discriminator.eval()
    a, b = together(discriminator, real, 0.2 * real)
    assert torch.allclose(a, discriminator(real), atol=1e-5)
    assert torch.allclose(b, discriminator(0.2 * real), atol=1e-5)


@pytest.mark.parametrize("count", [1, 5])
def test_pictures_mixed_in_pairs_know_what_they_show(count):
    g = torch.Generator().manual_seed(0)
    images = torch.eye(count)[:, None, None].expand(-1, 3, 2, -1).clone()
    mixed, own = in_pairs(images, g)  # picture i is the i-th unit vector
    want = own[:, None] * torch.eye(count)
    want += (1 - own)[:, None] * torch.eye(count).roll(1, 0)
    torch.testing.assert_close(mixed[:, 0, 0], want)
    assert (own >= 1 - MIX).all() and (own < 1).all()
