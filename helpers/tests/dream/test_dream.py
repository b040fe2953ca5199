"""The guided loop: drawers, cutouts, losses, seeds, memory, files and bad input."""

import gc
import warnings
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from helpers import clip, dream
from helpers.course import studio
from helpers.dream import (
    Dream,
    Settings,
    canvas,
    cutouts,
    drawers,
    files,
    losses,
    memory,
)
from helpers.dream.prompts import Prompt
from helpers.tests.dream import tiny
from helpers.tests.dream.tiny import OPTIONS


@pytest.fixture(scope="module")
def guide():
    return clip.load("scratch", "cpu")


@pytest.fixture(scope="module")
def codes():
    return tiny.codes()


def settings(**more) -> Settings:
    return tiny.settings(**{"cuts": 3} | more)


def start(guide, codes, **more) -> Dream:
    return Dream(settings(**more), [guide], codes)


# -- drawers ----------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", [(32, 24), (16, 40)])
def test_every_drawer_draws_and_learns(name, size, codes):
    drawer = drawers.make(name, size, "cpu", codes, **OPTIONS[name])
    drawer.start(torch.Generator().manual_seed(0))
    picture = drawer.draw()
    assert picture.shape == (1, 3, size[1], size[0])
    assert 0 <= picture.min() and picture.max() <= 1
    groups = drawer.parameters()
    optimiser = torch.optim.Adam(groups)
    goal = torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1)
    first = F.mse_loss(picture, goal.expand_as(picture)).item()
    for _ in range(25):
        optimiser.zero_grad()
        F.mse_loss(drawer.draw(), goal.expand_as(picture)).backward()
        optimiser.step()
        drawer.hold()
    assert F.mse_loss(drawer.draw(), goal.expand_as(picture)).item() < first


@pytest.mark.parametrize("name", ["pixel", "fourier"])
def test_painted_picture_comes_back(name):
    drawer = drawers.make(name, (32, 32), **({"block": 1} if name == "pixel" else {}))
    y, x = torch.meshgrid(*[torch.linspace(0.2, 0.8, 32)] * 2, indexing="ij")
    picture = torch.stack([x, y, 1 - x])[None]
    drawer.paint(picture)
    torch.testing.assert_close(drawer.draw(), picture, atol=0.02, rtol=0)


def test_vqgan_drawer_starts_from_codes_and_stays_in_range(codes):
    drawer = drawers.VQGANDrawer((16, 16), codes)
    grid = torch.randint(20, (1, 4, 4))
    drawer.from_codes(grid)
    want = (codes.from_codes(grid) + 1) / 2
    torch.testing.assert_close(drawer.draw().detach(), want)
    with torch.no_grad():
        drawer.z += 100
    drawer.hold()
    assert (drawer.z <= codes.quantize.codebook.max(0).values.view(1, -1, 1, 1)).all()
    other = drawers.CodesDrawer((16, 16), codes)
    other.from_codes(grid)
    torch.testing.assert_close(other.draw().detach(), want, atol=1e-5, rtol=1e-5)


def test_a_line_lies_where_its_points_are():
    drawer = drawers.make("lines", (80, 40), strokes=1)
    drawer.start(torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawer.points.copy_(torch.tensor([[[0.0, 0.5], [0.5, 0.5], [1.0, 0.5]]]))
        drawer.thickness.fill_(-2.5)
        drawer.colour.copy_(torch.tensor([[-9.0, -9, -9, 9]]))
    picture = drawer.draw()[0].mean(0)
    assert picture[20].max() < 0.1 and picture[0].min() > 0.95


def test_clamp_lets_only_gradients_through_that_lead_back():
    x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    canvas.Clamp.apply(x, 0, 1).sum().backward()
    # descending moves x down: wrong at -1, fine at 0.5, back inside at 2
    assert x.grad.tolist() == [0.0, 1.0, 1.0]


def test_sizes_are_rounded_or_refused(codes):
    assert canvas.check_size((129, 40), 8) == (128, 40)
    assert canvas.check_size((1, 1), 8) == (8, 8)
    for size, reason in (((0, 5), "nothing to draw"), ((9999, 9999), "16 million")):
        with pytest.raises(ValueError, match=reason):
            canvas.check_size(size, 1)
    with pytest.raises(ValueError, match="width, height"):
        canvas.check_size("big", 1)
    with pytest.raises(ValueError, match="no drawer"):
        drawers.make("crayon", (8, 8))


# -- cutouts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", cutouts.RECIPES)
@pytest.mark.parametrize(("count", "shape"), [(1, (32, 32)), (5, (24, 48))])
def test_views_have_the_size_and_pass_gradients(name, count, shape):
    picture = torch.rand(1, 3, *shape).requires_grad_(True)
    g = torch.Generator().manual_seed(0)
    out = cutouts.views(picture, count, 16, cutouts.RECIPES[name], g)
    assert out.shape == (count, 3, 16, 16) and out.isfinite().all()
    out.sum().backward()
    assert picture.grad.abs().sum() > 0
    again = cutouts.views(
        picture, count, 16, cutouts.RECIPES[name], torch.Generator().manual_seed(0)
    )
    assert torch.equal(out, again)


def test_recipe_none_is_the_picture_itself():
    picture = torch.rand(1, 3, 16, 16)
    g = torch.Generator().manual_seed(0)
    out = cutouts.views(picture, 2, 16, cutouts.RECIPES["none"], g)
    torch.testing.assert_close(out, picture.expand(2, -1, -1, -1), atol=1e-5, rtol=0)


def test_crops_keep_the_share_of_the_area_they_should():
    recipe = cutouts.Recipe(zoom=1.0, bend=0.0, mirror=0.0)
    g = torch.Generator().manual_seed(0)
    M = cutouts.homographies(400, (64, 64), recipe, g)
    area = M[:, 0, 0] * M[:, 1, 1]
    assert 0.2 < area.min() and area.max() <= 1.0 and area.std() > 0.1
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1]])
    where = corners @ M.transpose(1, 2)
    assert where[..., :2].abs().max() <= 1 + 1e-5  # a crop stays inside


def test_hue_turns_around_grey():
    turn = cutouts.turn_hue(torch.tensor([0.0, 1.0, 2 * torch.pi / 3]))
    torch.testing.assert_close(turn[0], torch.eye(3))
    torch.testing.assert_close(turn @ torch.ones(3), torch.ones(3, 3))
    red = turn[2] @ torch.tensor([1.0, 0, 0])  # a third of the circle: red to green
    torch.testing.assert_close(red, torch.tensor([0.0, 1, 0]), atol=1e-5, rtol=0)


# -- losses -----------------------------------------------------------------------


def test_losses_against_simple_pictures():
    plain = torch.full((1, 3, 8, 6), 0.5)
    left = plain.clone()
    left[..., :3] = 0.0
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1.0
    assert losses.smoothness(plain) == 0 < losses.smoothness(left)
    assert losses.symmetry(plain) == 0 < losses.symmetry(left)
    assert losses.saturation(red) < losses.saturation(plain) == 1
    assert losses.edges(left) < losses.edges(plain)
    two = losses.colours("red, #000000")
    assert losses.palette(red, two) == 0 < losses.palette(plain, two)
    assert losses.stay(plain, plain) == 0
    assert losses.smoothness(torch.rand(1, 3, 1, 1)) == 0


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"shine": 1}, "no loss"),
        ({"symmetry": "much"}, "must be a number"),
        ({"palette": (1, "red")}, "at least two colours"),
        ({"palette": (1, "red, blurple")}, "is no colour"),
        ({"palette": 1}, "is given as"),
        ({"stay": 1}, "needs a picture"),
    ],
)
def test_bad_losses_are_one_sentence(weights, reason):
    with pytest.raises(ValueError, match=reason):
        losses.build(weights, None)


# -- the loop ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_every_drawer_works_with_every_wish_and_loss(name, guide, codes, tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    mask = Image.new("L", (32, 24), 0)
    mask.paste(255, (0, 0, 16, 24))
    mask.save(tmp_path / "mask.png")
    run = start(
        guide,
        codes,
        drawer=name,
        options=OPTIONS[name],
        prompt="an apple ^ یک سیب:2 | blur:-0.3",
        start=str(tmp_path / "red.png"),
        losses={"symmetry": 1, "palette": (1, "red, gold"), "edges": 1, "stay": 1}
        | {"saturation": 1, "smoothness": 1},
        pictures=((str(tmp_path / "red.png"), 0.5),),
        noises=((3, 0.1),),
        spots=(("a leaf", str(tmp_path / "mask.png")),),
        overlay=(str(tmp_path / "red.png"), 0.2, 2),
        tile=True,
    )
    frames = list(run.steps())
    assert [f.step for f in frames] == [0, 1, 2, 3]
    assert {"an apple", "symmetry", "palette", "noise 3", "a leaf"} <= set(
        frames[0].losses
    )
    assert "یک سیب" in frames[3].losses and "an apple" not in frames[3].losses
    assert frames[-1].picture.shape == (3, 24, 32)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(guide, codes, tmp_path):
    def picture(name, **more):
        run = start(guide, codes, drawer="vqgan", **more)
        frame = run.run(progress=False)
        return files.save(tmp_path / name, frame, run.settings).read_bytes()

    assert picture("a.png", seed=3) == picture("b.png", seed=3)
    assert picture("a.png", seed=3) != picture("c.png", seed=4)
    redo = files.again(tmp_path / "b.png", [guide], codes)
    frame = redo.run(progress=False)
    again = files.save(tmp_path / "d.png", frame, redo.settings)
    assert again.read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_it_goes_towards_the_words(guide):
    wish = settings(steps=16, cuts=4, prompt="a red circle", start="white")
    run = Dream(wish, [guide])
    frames = list(run.steps())
    assert run.best.score > frames[0].score + 0.1


def test_out_of_memory_halves_the_cuts_and_goes_on(guide, codes, monkeypatch):
    encode = guide.model.encode_image

    def small(x, *more):
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return encode(x, *more)

    monkeypatch.setattr(guide.model, "encode_image", small)
    run = start(guide, codes, cuts=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = list(run.steps())
    assert len(frames) == 4 and run.parts == 4
    assert "Out of memory" in run.notes[0]


def test_parts_give_the_gradient_of_the_whole(guide):
    def gradient(parts):
        run = Dream(settings(cuts=4, drawer="pixel"), [guide])
        run.parts = parts
        _, losses = run.gradients(0.0)
        return run.drawer.colours.grad, losses["a red apple"]

    (a, one), (b, other) = gradient(1), gradient(3)
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert abs(one - other) < 1e-5


def test_nan_stops_with_the_last_good_picture(guide, codes, monkeypatch):
    run = start(guide, codes, losses={"symmetry": 1.0})
    calls = []

    def broken(picture):
        calls.append(1)
        return picture.mean() * (float("nan") if len(calls) > 2 else 1.0)

    run.losses["symmetry"] = (1.0, broken)
    with pytest.warns(UserWarning, match='the term "symmetry" is no number'):
        frames = list(run.steps())
    assert len(frames) == 2 and run.best.picture.isfinite().all()


def test_interrupt_keeps_the_best(guide, codes):
    run = start(guide, codes)

    def stop(frame):
        raise KeyboardInterrupt

    frame = run.run(progress=False, watch=stop)
    assert frame.step == 0 and frame.picture.shape == (3, 24, 32)
    assert "Stopped" in run.notes[0]


def test_two_guides_and_vector_wishes(guide):
    vector = F.normalize(torch.randn(guide.model.config.embed), dim=0)
    run = Dream(settings(), [guide, guide], wishes=[Prompt("v", vector=vector)])
    assert "v" in next(run.steps()).losses
    with pytest.raises(ValueError, match="has 3 numbers"):
        Dream(settings(), [guide], wishes=[Prompt("v", vector=torch.ones(3))])


def test_the_estimate_leaves_nothing_behind(guide, codes):
    alive = []

    def watch(module, given, out):
        if isinstance(out, torch.Tensor):
            alive.append(weakref.ref(out))

    run = start(guide, codes, drawer="vqgan")
    hook = torch.nn.modules.module.register_module_forward_hook(watch)
    run.pieces()
    hook.remove()
    gc.collect()
    assert alive and all(out() is None for out in alive)


def test_memory_is_estimated_and_fitted(guide, codes):
    run = start(guide, codes, cuts=8)
    whole = memory.step(*run.pieces(), 8, 1)
    g = run.g.get_state()
    assert run.fit(whole / 3) < whole and run.parts > 1
    assert torch.equal(g, run.g.get_state())  # looking ahead changes nothing


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": "!!"}, "only punctuation"),
        ({"prompt": "a:0"}, "is 0"),
        ({"prompt": "a:-1"}, "below 0"),
        ({"steps": 0}, "At least one step"),
        ({"cuts": 0}, "At least one cut"),
        ({"every": 0}, "every"),
        ({"recipe": "soup"}, "no cutout recipe"),
        ({"optimiser": "luck"}, "no optimiser"),
        ({"drawer": "crayon"}, "no drawer"),
        ({"guides": ()}, "No guide"),
        ({"width": 0}, "nothing to draw"),
        ({"start": "/nowhere.png"}, "no picture at"),
        ({"options": {"block": 0}}, "at least one pixel"),
    ],
)
def test_bad_settings_are_one_sentence(more, reason, guide, codes):
    with pytest.raises(ValueError, match=reason):
        Dream(settings(**more), [guide] if more.get("guides", 1) else None, codes)


def test_a_tile_is_part_of_an_endless_pattern(codes):
    """Rolling its codes rolls the picture, far better than without wrapping."""
    drawer = drawers.VQGANDrawer((64, 64), codes)
    drawer.start(torch.Generator().manual_seed(0))
    off = {}
    for drawer.tile in (True, False):
        with torch.no_grad():
            first, z = drawer.draw(), drawer.z.clone()
            drawer.z.copy_(z.roll(5, 3))
            off[drawer.tile] = (drawer.draw() - first.roll(20, 3)).abs().mean()
            drawer.z.copy_(z)
    assert first.shape == (1, 3, 64, 64)
    assert off[True] < 0.5 * off[False]


def test_the_judge_may_not_guide(guide, codes):
    with pytest.raises(ValueError, match="judge never guides"):
        Dream(settings(guides=("judge",)))


def test_odd_sizes_are_said(guide, codes):
    run = start(guide, codes, drawer="vqgan", width=37, height=9)
    assert "became 36 x 8" in run.notes[0]
    assert run.run(progress=False).picture.shape == (3, 8, 36)


@pytest.mark.parametrize("drawer", ["vqgan", "codes"])
def test_start_from_a_code_grid_that_travels_in_the_picture(
    guide, codes, tmp_path, drawer
):
    run = start(guide, codes, drawer=drawer, canvases=())
    h, w = (n // run.drawer.unit for n in (run.drawer.height, run.drawer.width))
    grid = tuple(tuple((7 * y + x) % codes.count for x in range(w)) for y in range(h))
    run = start(guide, codes, drawer=drawer, start=grid)
    with torch.no_grad():
        goal = codes.from_codes(torch.tensor(grid)[None])
        torch.testing.assert_close(run.drawer.draw() * 2 - 1, goal, atol=2e-2, rtol=0)
    path = files.save(tmp_path / "x.png", run.run(False), run.settings)
    assert files.settings_of(path).start == grid


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (((1, 2),), "rows of"),
        (((10**6,) * 8,) * 6, "integers from 0 to"),
    ],
)
def test_wrong_code_grids(guide, codes, grid, reason):
    with pytest.raises(ValueError, match=reason):
        start(guide, codes, start=grid, drawer="vqgan")
    with pytest.raises(ValueError, match="A code grid starts"):
        start(guide, codes, start=grid, drawer="pixel")


def test_black_mask_and_broken_start(guide, codes, tmp_path):
    Image.new("L", (5, 5), 0).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match="is black"):
        start(guide, codes, spots=(("a", str(tmp_path / "black.png")),))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ValueError, match="not a picture"):
        start(guide, codes, start=str(tmp_path / "broken.png"))


# -- files ------------------------------------------------------------------------


def test_settings_come_back_from_the_png(guide, codes, tmp_path):
    s = settings(prompt='"a | b":2 | روباه', losses={"palette": (1.0, "red, gold")})
    frame = dream.Frame(0, torch.rand(3, 8, 8), 0.5, {})
    path = files.save(tmp_path / "a.png", frame, s)
    assert files.settings_of(path) == replace(s, losses={"palette": (1.0, "red, gold")})
    Image.new("RGB", (3, 3)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="carries no settings"):
        files.settings_of(tmp_path / "plain.png")
    with pytest.raises(FileNotFoundError, match="no picture at"):
        files.settings_of(tmp_path / "none.png")


def test_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermissionError, match="cannot be written"):
        files.gif(tmp_path / "file" / "a.gif", [torch.rand(3, 4, 4)])


def test_gif_holds_the_frames_and_mp4_where_ffmpeg_is(tmp_path):
    pictures = [torch.full((3, 9, 7), v) for v in (0.0, 0.5, 1.0)]
    with Image.open(files.gif(tmp_path / "a.gif", pictures)) as film:
        assert film.n_frames == 3 and film.size == (7, 9)
    path = files.mp4(tmp_path / "a.mp4", pictures)
    assert path is None or path.stat().st_size > 0


def test_contact_sheet(guide, codes):
    frames, figure = studio.contact_sheet(
        settings(steps=2), [1, 2], [guide], codes, progress=False
    )
    assert len(frames) == 2 and not torch.equal(frames[0].picture, frames[1].picture)
    with pytest.raises(ValueError, match="at least one seed"):
        studio.contact_sheet(settings(), [])
