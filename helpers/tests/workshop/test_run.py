"""The bookkeeping of training: a run that was cut off goes on as if it were whole."""

import pytest
import torch
from torch import nn

from helpers.clip import CLIP, Config
from helpers.vqgan.losses import PatchDiscriminator
from helpers.workshop.recipes.scratch import two_optimisers
from helpers.workshop.recipes.vqgan import together
from helpers.workshop.run import MIX, Average, Run, in_pairs


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


def test_every_weight_of_clip_has_one_optimiser():
    model = CLIP(Config(vocab=300, layers=1, text_layers=1))
    both = two_optimisers(model, 1e-3)
    held = [p for o in both.values() for g in o.param_groups for p in g["params"]]
    assert len(held) == len(list(model.parameters()))
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert all(g["peak"] for o in both.values() for g in o.param_groups)
    if "muon" in both:
        assert all(p.ndim == 2 for p in both["muon"].param_groups[0]["params"])


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
