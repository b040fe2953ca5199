"""DALL-E 2's wish beside CLIP's: score distillation against its definition."""

import pytest
import torch
import torch.nn.functional as F

from helpers.dalle.diffusion import signal
from helpers.dream import distil, files, prompts, sketch
from helpers.tests.dalle.test_unclip import painter  # noqa: F401 (a fixture)
from helpers.tests.dream import tiny


@pytest.fixture
def small(painter, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sketch, "MAKERS", {"cpu": painter})
    return painter


@pytest.mark.parametrize("size", [(128, 128), (32, 24), (200, 300)])
def test_the_loss_is_that_of_the_paper(painter, size):  # noqa: F811
    g = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, *size, generator=g).requires_grad_()
    loss = distil.Distilled(painter, 3)(picture, "a bag")
    edge, (H, W) = min(size), size
    middle = picture[..., (H - edge) // 2 :, (W - edge) // 2 :][..., :edge, :edge]
    x = F.interpolate(middle, (128, 128), mode="bilinear", antialias=True)
    c = painter.model.decoder
    z = (painter.vqgan.encode(2 * x - 1) - c.mean) / c.spread
    g = torch.Generator().manual_seed(3)
    low, high = distil.TIMES
    t = low + (high - low) * torch.rand(1, generator=g)
    noise = torch.randn(z.shape, generator=g)
    a, s = signal(t)
    noised = (a * z + s * noise).detach()
    seen = painter.imagine(["a bag"], 3) * painter.model.config.embed**0.5
    with torch.no_grad():
        told, untold = (c(noised, t, seen, torch.tensor([b])) for b in (True, False))
        v = untold + distil.GUIDANCE * (told - untold)
        clean = a * noised - s * v
    torch.testing.assert_close(loss, (z - clean).square().mean())
    # equation 3: the slope is that of the latents alone
    (slope,) = torch.autograd.grad(loss, picture)
    (plain,) = torch.autograd.grad(z, picture, 2 * (z - clean).detach() / z.numel())
    torch.testing.assert_close(slope, plain)
    assert slope.abs().sum() > 0


def test_another_seed_and_other_words_say_something_else(painter):  # noqa: F811
    picture = torch.full((1, 3, 128, 128), 0.5)

    def ask(seed, text):
        return distil.Distilled(painter, seed)(picture, text).item()

    assert ask(1, "a bag") == ask(1, "a bag")
    assert len({ask(1, "a bag"), ask(2, "a bag"), ask(1, "dice")}) == 3


@pytest.mark.parametrize("start, given, kept", [
    ("sketch", "usual", distil.USUAL), ("white", "usual", 0.0), ("white", 0.5, 0.5),
    ("sketch", 0, 0.0),
])  # fmt: skip
def test_it_is_usual_where_a_sketch_is(small, start, given, kept, tmp_path):
    run = tiny.dream(start=start, distil=given, drawer="vqgan")
    assert run.settings.distil == kept
    frame = run.run(progress=False)
    assert ("DALL-E 2" in frame.losses) == (kept > 0)
    asked = tiny.settings(start=start, distil=given, drawer="vqgan")
    path = files.save(tmp_path / "a.png", frame, asked)
    again = files.again(path, [tiny.guide()], tiny.codes())
    assert torch.equal(again.run(progress=False).picture, frame.picture)
    if start == "sketch":
        new = files.again(path, [tiny.guide()], tiny.codes(), prompt="a boat")
        assert new.settings.distil == kept


def test_another_dalle_2_draws_another_picture(small, tmp_path):
    frame = tiny.dream(start="white", distil=1.0).run(progress=False)
    path = files.save(tmp_path / "a.png", frame)
    assert files.again(path, [tiny.guide()], tiny.codes())
    with torch.no_grad():
        small.model.prior.question[0] += 1
    try:
        with pytest.raises(ValueError, match="other DALL-E 2: unclip"):
            files.again(path, [tiny.guide()], tiny.codes())
    finally:
        with torch.no_grad():
            small.model.prior.question[0] -= 1


def test_it_pulls_and_changes_no_other_lot(small):
    a, b = (tiny.dream(start="white", distil=d, steps=2, every=1) for d in (0.0, 50.0))
    first, other = list(a.steps()), list(b.steps())
    assert first[0].losses["a red apple"] == other[0].losses["a red apple"]
    assert (first[1].picture != other[1].picture).any()
    assert a.g.get_state().equal(b.g.get_state())


def test_it_is_told_the_words_that_count_now(small):
    run = tiny.dream(prompt="a cup:0.5 | a fish | a bird:-2", distil=1.0)
    assert tiny.told(run, 0.5) == "emoji of a fish"
    story = tiny.dream(prompt="a cup ^ a fish", steps=4, distil=1.0)
    assert (
        tiny.told(story, 0.0) == "emoji of a cup"
        and tiny.told(story, 0.9) == "emoji of a fish"
    )
    assert tiny.told(tiny.dream(prompt="سیب", distil=1.0), 0) == "سیب"
    vector = [prompts.Prompt("a title", 9.0, vector=torch.ones(16))]
    assert tiny.told(tiny.dream(vector, distil=1.0), 0) == "emoji of a red apple"


@pytest.mark.parametrize("bad", [-1, "much", None, float("nan"), True, [1]])
def test_what_is_no_weight(bad):
    with pytest.raises(ValueError, match="distil"):
        tiny.settings(distil=bad)


def test_an_older_picture_had_none(tmp_path):
    path = files.save(tmp_path / "a.png", tiny.dream().run(progress=False))
    from helpers.tests.dream.test_record import tampered

    def older(table):
        del table["settings"]["distil"], table["settings"]["told"]

    old = tampered(path, tmp_path / "old.png", older)
    found = files.settings_of(old)
    assert found.distil == 0 and found.told == ()
