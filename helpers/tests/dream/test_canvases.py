"""From coarse to fine: the plan of the canvases, and a run on it."""

import numpy as np
import pytest
import torch

from helpers.dream import Settings
from helpers.dream.drawers import make
from helpers.dream.files import again, save
from helpers.dream.settings import opening, plan
from helpers.tests.dream.test_dream import (  # noqa: F401
    OPTIONS,
    codes,
    guide,
    settings,
    start,
)

PLAN = ((16, 0.5, 1.0), (32, 0.5, 0.5))


def sizes(**more) -> list[tuple]:
    return [(c.width, c.height, c.steps, c.rate) for c in plan(Settings(**more))]


def test_no_plan_is_one_canvas():
    assert sizes(steps=150, canvases=()) == [(128, 128, 150, 1.0)]


def test_coarse_halves_once_or_twice_and_keeps_all_steps():
    assert sizes(steps=100, canvases="coarse") == [
        (64, 64, 50, 1.0),
        (128, 128, 50, 0.5),
    ]
    large = sizes(steps=101, width=256, height=128, canvases="coarse")
    assert [row[:2] for row in large] == [(64, 32), (128, 64), (256, 128)]
    assert sum(row[2] for row in large) == 101


def test_a_plan_of_ones_own():
    rows = ((32, 0.25, 1), (64, 0.25, 0.7), (96, 0.5, 0.3))
    found = sizes(width=96, height=48, steps=8, canvases=rows)
    assert found == [(32, 16, 2, 1), (64, 32, 2, 0.7), (96, 48, 4, 0.3)]


@pytest.mark.parametrize(
    "rows, said",
    [
        (((128, 0.5, 1), (64, 0.5, 1)), "must grow"),
        (((64, 0.5, 1), (96, 0.5, 1)), "last canvas"),
        (((64, 0.5, 1), (128, 0.4, 1)), "sum to 1"),
        (((64, 0.5, "fast"), (128, 0.5, 1)), "three numbers"),
        (((64, 0.5, float("nan")), (128, 0.5, 1)), "three numbers"),
        (((64, 0.5), (128, 0.5)), "three numbers"),
        (((0, 0.5, 1), (128, 0.5, 1)), "whole pixels, 1 or more"),
        (((127.9, 0.5, 1), (128, 0.5, 1)), "whole pixels"),
        (((64, 0.5, 1e-320), (128, 0.5, 1)), "rate from 0.000001"),
        (({64, 0.5, 1.0}, (128, 0.5, 1)), "three numbers"),
        (({64: 0, 0.5: 0, 1.0: 0}, (128, 0.5, 1)), "three numbers"),
        (np.array([[64, 0.5, 1], [128, 0.5, 0.5]]), "coarse"),
        (np.array([]), "coarse"),
        (None, '"off"'),
        (((64, 0, 1), (128, 1, 1)), "share above 0"),
        (((64, 0.5, -1), (128, 0.5, 1)), "rate from 0.000001"),
        ("fine", "coarse"),
        (7, "coarse"),
        ((64, 128), "three numbers"),
    ],
)
def test_a_plan_that_makes_no_sense_is_one_sentence(rows, said):
    with pytest.raises(ValueError, match=said) as caught:
        plan(Settings(canvases=rows))
    assert "\n" not in str(caught.value)


def test_off_is_one_canvas():
    assert Settings(canvases="off") == Settings(canvases=())


@pytest.mark.parametrize("drawer", ["lines", "pixel", "fourier"])
def test_all_losses_on_a_canvas_of_one_pixel(drawer, guide, codes):  # noqa: F811
    """A single pixel has no neighbour, and no loss breaks over that."""
    dream = start(
        guide, codes, drawer=drawer, options={"block": 1} if drawer == "pixel" else {},
        start="white", width=8, height=8, steps=2, canvases=((1, 0.5, 1), (8, 0.5, 1)),
        losses=dict.fromkeys(("smoothness", "symmetry", "edges", "saturation"), 1.0),
        spots=(), overlay=(),
    )  # fmt: skip
    assert all(torch.isfinite(frame.picture).all() for frame in dream.steps())


def test_more_canvases_than_steps():
    with pytest.raises(ValueError, match="steps"):
        plan(Settings(steps=1, canvases="coarse"))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_drawer_grows_and_carries_its_picture_over(name, guide, codes):  # noqa: F811
    dream = start(
        guide, codes, drawer=name, options=OPTIONS[name], canvases=PLAN, steps=6,
        losses={"smoothness": 0.1}, spots=(),
    )  # fmt: skip
    small = dream.drawer
    assert (small.width, small.height) == (16, 12)
    frames = list(dream.steps())
    assert len(frames) == 6 and [f.step for f in frames] == list(range(6))
    assert {tuple(f.picture.shape) for f in frames} == {(3, 24, 32)}
    assert (dream.drawer.width, dream.drawer.height) == (32, 24)
    with torch.no_grad():
        before = torch.nn.functional.interpolate(small.draw(), (24, 32), mode="bicubic")
    moved = (frames[3].picture - before[0]).abs().mean()
    fresh = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
    assert moved < (frames[3].picture - fresh).abs().mean()
    assert dream.best.step >= 3  # a coarse picture is never the result


def test_one_canvas_draws_what_no_plan_draws(guide, codes):  # noqa: F811
    a = start(guide, codes, canvases=()).run(progress=False)
    b = start(guide, codes, canvases=((32, 1.0, 1.0),)).run(progress=False)
    assert torch.equal(a.picture, b.picture)


def test_the_plan_travels_in_the_picture(guide, codes, tmp_path):  # noqa: F811
    dream = start(guide, codes, canvases=PLAN, start="white")
    frame = dream.run(progress=False)
    path = save(tmp_path / "x.png", frame, dream.settings)
    twin = again(path, [guide], codes)
    assert twin.settings == dream.settings
    assert torch.equal(twin.run(progress=False).picture, frame.picture)


def test_a_canvas_smaller_than_a_block(guide, codes):  # noqa: F811
    with pytest.raises(ValueError, match="smaller than one code or block"):
        start(guide, codes, options={"block": 8}, canvases=((8, 0.5, 1), (32, 0.5, 1)))


def test_masks_overlays_and_stay_follow_the_canvas(guide, codes, tmp_path):  # noqa: F811
    from PIL import Image

    path = str(tmp_path / "mask.png")
    Image.new("L", (32, 24), 255).save(path)
    more = {"spots": (("a cat", path),), "overlay": (path, 0.2, 1), "start": path}
    dream = start(guide, codes, canvases=PLAN, losses={"stay": 0.5}, **more)
    assert dream.run(progress=False).picture.shape == (3, 24, 32)


def test_white_is_where_it_begins(guide, codes):  # noqa: F811
    dream = start(guide, codes, start="white")
    with torch.no_grad():
        assert dream.drawer.draw().min() > 0.99


@pytest.mark.parametrize("name", ["pixel", "lines", "fourier"])
def test_codes_draw_first_and_hand_their_picture_over(name, guide, codes, tmp_path):  # noqa: F811
    more = {"drawer": name, "options": OPTIONS[name], "steps": 10, "spots": ()}
    more["start"] = "dream"
    dream = start(guide, codes, **more)
    hands = [c.drawer for c in dream.plan]
    assert hands == ["vqgan", "vqgan", None]
    assert [c.steps for c in dream.plan] == [4, 4, 2]
    assert type(dream.drawer).__name__ == "VQGANDrawer"
    assert dream.record["vqgan"]
    frames = list(dream.steps())
    assert (
        type(dream.drawer).__name__ == type(dream.open(dream.plan[-1], "cpu")).__name__
    )
    assert dream.best.step >= 8  # what the codes drew is never the result
    far = (frames[8].picture - torch.rand(3, 24, 32)).abs().mean()
    assert (frames[8].picture - frames[7].picture).abs().mean() < 0.6 * far
    path = save(tmp_path / "x.png", dream.best)
    twin = again(path, [guide], codes).run(progress=False)
    assert torch.equal(twin.picture, dream.best.picture)


def test_who_dreams_first():
    assert opening(Settings()) == opening(Settings(prompt="ten o’clock")) == "sketch"
    assert opening(Settings(prompt="سیب قرمز")) == "sketch"
    assert opening(Settings(prompt="سیب", drawer="pixel")) == "sketch"
    assert opening(Settings(start="dream")) == opening(Settings(steps=9)) == "white"
    assert opening(Settings(drawer="lines")) == "sketch"
    assert opening(Settings(drawer="lines", start="dream")) == "dream"
    assert opening(Settings(drawer="lines", steps=9)) == "white"
    assert opening(Settings(drawer="pixel", start="noise")) == "noise"
    more = {"width": 70, "height": 42, "steps": 80, "start": "dream"}
    rows = plan(Settings(drawer="pixel", options={"block": 7}, **more))
    assert [(c.width, c.height, c.steps, c.drawer) for c in rows] == [
        (36, 20, 30, "vqgan"),
        (72, 40, 30, "vqgan"),
        (70, 42, 20, None),
    ]
    rows = ((64, 0.5, 1), (128, 0.5, 0.5))
    rows = plan(Settings(drawer="fourier", canvases=rows, start="dream"))
    assert [c.width for c in rows] == [64, 128, 64, 128]
    with pytest.raises(ValueError, match="at least|or more"):
        Settings(drawer="pixel", start="dream", steps=4)


@pytest.mark.parametrize("size", [(32, 24), (90, 60)])
def test_strokes_trace_a_picture(size):
    y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, n) for n in size[::-1]), indexing="ij"
    )
    disc = ((x**2 + y**2) < 0.4).float()
    picture = torch.stack([torch.ones_like(disc), 1 - disc, 1 - disc])[None]
    drawer = make("lines", size, strokes=24)
    drawer.place(drawer.fit(picture))
    before = (drawer.draw() - picture).square().mean()
    drawer.paint(picture)
    after = (drawer.draw() - picture).square().mean()
    assert after < 0.3 * before and after < 0.03
    assert torch.equal(drawer.paper, torch.ones(3))  # the colour of the border
