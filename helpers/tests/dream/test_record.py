"""A PNG holds all that decided it; a run can be gone on from; a long run loses nothing.

Public cases: nerdyrodent/VQGAN-CLIP#29 and clipit_old#4 (a PNG that is no full recipe),
deep-daze#155 (going on with a drawing).
"""

import io
import json

import pytest
import torch
from PIL import Image, PngImagePlugin

from helpers.dream import Dream, Frame, files, generate, go_on, memory
from helpers.dream.prompts import Prompt
from helpers.dream.settings import COARSE
from helpers.pictures import to_image
from helpers.tests.dream.tiny import OPTIONS, codes, dream, guide, settings


@pytest.fixture
def picture(tmp_path):
    """A photograph, larger than the canvas, of which only a path is known."""
    g = torch.Generator().manual_seed(0)
    raw = (torch.rand(40, 60, 3, generator=g) * 255).byte().numpy()
    path = tmp_path / "photo.png"
    Image.fromarray(raw).save(path)
    return path


def saved(path, **more):
    run = dream(**more)
    return files.save(path, run.run(progress=False), run.settings)


def tampered(path, out, change):
    """The same PNG with another record."""
    with Image.open(path) as image:
        table = json.loads(image.info[files.KEY])
        change(table)
        text = PngImagePlugin.PngInfo()
        text.add_itxt(files.KEY, json.dumps(table))
        image.save(out, pnginfo=text)
    return out


# -- the record -------------------------------------------------------------------


def test_everything_that_decided_the_picture_is_in_the_file(picture, tmp_path):
    mask = torch.zeros(24, 32)
    mask[:, :16] = 1
    more = {
        "start": picture,
        "pictures": ((picture, 0.5),),
        "noises": ((3, 0.1),),
        "spots": (("a leaf", picture),),
        "overlay": (picture, 0.2, 2),
        "losses": {"stay": 1.0, "palette": (1.0, ("red", "gold"))},
        "wishes": [
            Prompt("v", 0.5, vector=torch.ones(16)),
            Prompt("half", mask=mask, begin=0.5),
            Prompt("seen", 0.3, picture=Image.open(picture)),
        ],
    }
    run = dream(**more)
    first = files.save(tmp_path / "a.png", run.run(progress=False), run.settings)
    picture.unlink()  # nothing but the PNG is left
    redo = files.again(first, [guide()], codes())
    assert len(redo.wishes) == 7 and redo.settings == run.settings
    second = files.save(tmp_path / "b.png", redo.run(progress=False))
    assert first.read_bytes() == second.read_bytes()


def test_the_canvases_of_a_picture_stay_when_coarse_means_others(tmp_path, monkeypatch):
    run = dream(canvases="coarse", steps=12)
    first = files.save(tmp_path / "a.png", run.run(progress=False))
    assert files.again(first, [guide()], codes()).settings.canvases == "coarse"
    monkeypatch.setitem(COARSE, 1, ((0.25, 1.0), (0.75, 0.1)))
    redo = files.again(first, [guide()], codes())
    assert redo.plan == run.plan and redo.settings.canvases != "coarse"
    second = files.save(tmp_path / "b.png", redo.run(progress=False))
    with Image.open(first) as a, Image.open(second) as b:
        assert a.tobytes() == b.tobytes()
    more = files.again(first, [guide()], codes(), steps=8)  # another picture
    assert more.settings.canvases == "coarse"


@pytest.mark.parametrize(
    "rows", [[[16, 16, 3, 1.0, None]], [["a", 16, 12, 1.0, None]], [[16]], 3, [None]]
)
def test_canvases_that_no_run_had(tmp_path, rows):
    def change(table):
        table["canvases"] = rows

    path = saved(tmp_path / "a.png", steps=12)
    with pytest.raises(ValueError, match="make sense"):
        files.again(tampered(path, tmp_path / "b.png", change))


def test_an_interrupted_run_is_drawn_again_to_the_same_picture(tmp_path):
    run = dream(steps=12, every=1, start="white")

    def stop(frame):
        if frame.step == 5:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Stopped at step 5: the best picture so far"):
        frame = run.run(progress=False, watch=stop)
    first = files.save(tmp_path / "a.png", frame)
    redo = files.again(first, [guide()])
    second = files.save(tmp_path / "b.png", redo.run(progress=False))
    assert first.read_bytes() == second.read_bytes()
    assert files.again(first, [guide()], seed=5).until is None  # another drawing


def test_any_frame_may_be_saved(tmp_path):
    frames = list(dream(steps=8, every=4).steps())
    first = files.save(tmp_path / "a.png", frames[2])
    frame = files.again(first, [guide()]).run(progress=False)
    assert frame.step == 2 and torch.equal(frame.picture, frames[2].picture)


def test_other_models_are_refused(tmp_path):
    path = saved(tmp_path / "a.png", drawer="vqgan")
    with pytest.raises(ValueError, match="other guides"):
        files.again(path, [guide(1)], codes())
    with pytest.raises(ValueError, match="other guides"):
        files.again(path, [guide(), guide()], codes())
    with pytest.raises(ValueError, match="other vqgan"):
        files.again(path, [guide()], codes(1))
    changed = guide()
    changed.model.state_dict()["logit_scale"].add_(1e-3)
    with pytest.raises(ValueError, match="other guides"):
        files.again(path, [changed], codes())
    with pytest.raises(ValueError, match='"tiny", which cannot be loaded'):
        files.again(path)
    with pytest.raises(ValueError, match="VQGAN that cannot be loaded"):
        files.again(path, [guide()])
    with pytest.raises(ValueError, match="no setting"):
        files.again(path, [guide()], codes(), stepz=3)


def test_what_no_file_can_hold_is_refused(tmp_path):
    run = dream(losses={"symmetry": 1.0})
    run.losses["symmetry"] = (1.0, lambda picture: picture.mean())
    path = files.save(tmp_path / "a.png", run.run(progress=False))
    with pytest.raises(ValueError, match="losses were put into the run by hand"):
        files.again(path, [guide()])
    mine = Frame(0, torch.rand(3, 24, 32), 0.5, {})
    path = files.save(tmp_path / "b.png", mine, settings())
    assert files.settings_of(path) == settings()
    with pytest.raises(ValueError, match="does not say which models"):
        files.again(path)
    with pytest.raises(ValueError, match="give its settings"):
        files.save(tmp_path / "c.png", mine)


def test_a_file_of_the_first_version_gives_its_settings_alone(tmp_path):
    def first(table):
        old = table["settings"]
        table.clear()
        table.update(old)

    path = tampered(saved(tmp_path / "a.png"), tmp_path / "b.png", first)
    assert files.settings_of(path) == settings()
    with pytest.raises(ValueError, match="does not say which models"):
        files.again(path)
    more = go_on(path, "a wolf", 2, [guide()])
    assert more.run(progress=False).picture.shape == (3, 24, 32)


def test_other_versions_are_said(tmp_path):
    path = saved(tmp_path / "a.png")

    def older(table):
        table["versions"]["torch"] = "1.7"

    path = tampered(path, tmp_path / "b.png", older)
    with pytest.warns(UserWarning, match="may differ a little: .* torch 1.7"):
        files.again(path, [guide()])


def test_settings_of_another_run_are_refused(tmp_path):
    frame = dream(seed=3).run(progress=False)
    with pytest.raises(ValueError, match="drawn with seed 3, not 4"):
        files.save(tmp_path / "a.png", frame, settings(seed=4))
    with pytest.raises(ValueError, match="save as a.png"):
        files.save(tmp_path / "a.jpg", frame)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", [0, "many", None, 10**9])
@pytest.mark.parametrize("field", ["steps", "seed", "canvases", "losses", "spots"])
def test_a_record_that_makes_no_sense_is_refused(field, steps, tmp_path):
    if field == "seed" and steps in (0, 10**9):
        return

    def spoil(table):
        table["settings"][field] = steps

    path = tampered(saved(tmp_path / "a.png"), tmp_path / "b.png", spoil)
    with pytest.raises(ValueError, match="carries no settings") as caught:
        files.settings_of(path)
    assert "\n" not in str(caught.value)


def test_foreign_files_are_refused(tmp_path, picture):
    path = saved(tmp_path / "a.png")
    raw = path.read_bytes()
    image = Image.open(path)
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "plain.png")
    (tmp_path / "cut.png").write_bytes(raw[:200])
    (tmp_path / "text.png").write_bytes(b"no picture")
    for name in ("a.jpg", "plain.png", "cut.png", "text.png", "."):
        with pytest.raises(ValueError, match="carries no settings of this course"):
            files.again(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no picture at"):
        files.again(tmp_path / "none.png")

    def steal(table):
        table["settings"]["start"] = str(picture)

    with pytest.raises(ValueError, match="by its path"):
        files.again(tampered(path, tmp_path / "b.png", steal))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png")
    raw = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(PermissionError, match="No space left"):
        saved(path, seed=1)
    assert path.read_bytes() == raw and len(list(tmp_path.iterdir())) == 1


# -- going on ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_going_on_begins_with_the_picture(name, tmp_path):
    run = dream(drawer=name, options=OPTIONS[name], canvases="coarse")
    path = files.save(tmp_path / "a.png", run.run(progress=False))
    for source in (path, run.best):
        more = go_on(source, "a wolf", 3, [guide()], codes())
        assert more.settings.prompt == "a wolf" and len(more.plan) == 1
        first = next(more.steps())
        apart = (first.picture - run.best.picture).abs().mean()
        assert apart < (0.05 if name == "fourier" else 0.004), name
    longer = go_on(path, steps=3, guides=[guide()], vqgan=codes())
    assert longer.settings.prompt == "a red apple" and longer.plan[0].rate == 0.5
    first = files.save(tmp_path / "b.png", longer.run(progress=False))
    path.unlink()
    redo = files.again(first, [guide()], codes())
    second = files.save(tmp_path / "c.png", redo.run(progress=False))
    assert first.read_bytes() == second.read_bytes()


def test_going_on_with_a_story_another_drawer_a_painted_picture(tmp_path):
    path = saved(tmp_path / "a.png", prompt='an egg ^ "a | b":2 | snow:0.5')
    assert go_on(path, guides=[guide()]).settings.prompt == '"a | b":2.0 | snow:0.5'
    other = go_on(path, drawer="fourier", options={}, guides=[guide()])
    assert other.settings.drawer == "fourier"
    path = saved(tmp_path / "b.png", drawer="vqgan")
    with Image.open(path) as image:
        text = PngImagePlugin.PngInfo()
        text.add_itxt(files.KEY, image.info[files.KEY])
        Image.new("RGB", image.size, "red").save(tmp_path / "c.png", pnginfo=text)
    assert isinstance(
        go_on(path, guides=[guide()], vqgan=codes()).settings.start, tuple
    )
    # with canvases of its own a run starts from the picture: its codes fit one only
    rows = ((16, 0.5, 1.0), (max(image.size), 0.5, 0.5))
    for canvases in (rows, "coarse"):
        again = go_on(path, canvases=canvases, guides=[guide()], vqgan=codes())
        assert isinstance(again.settings.start, str)
        assert len(list(again.steps())) > 0
    painted = go_on(tmp_path / "c.png", guides=[guide()], vqgan=codes())
    assert isinstance(painted.settings.start, str)
    with pytest.raises(ValueError, match="no setting"):
        go_on(path, step=3)
    with pytest.raises(ValueError, match="no record"):
        go_on(Frame(0, torch.rand(3, 8, 8), 0.5, {}))


# -- what a long run loses --------------------------------------------------------


def broken(run, error, after: int, times: int = 10**6):
    """Let the guide of a run fail after so many looks, so many times."""
    encode, calls = run.guides[0].model.encode_image, []

    def fail(x, *more):
        calls.append(1)
        if after < len(calls) <= after + times:
            raise error
        return encode(x, *more)

    run.guides[0].model.encode_image = fail


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
        MemoryError(),
    ],
)
@pytest.mark.filterwarnings("ignore:Out of memory. the")
def test_out_of_memory_keeps_the_best_picture(error):
    run = dream(steps=20, every=1)
    broken(run, error, 30)
    with pytest.warns(UserWarning, match="Out of memory after step .* is kept"):
        frame = run.run(progress=False)
    assert frame is run.best and frame.step < 19 and "is kept" in run.notes[-1]
    run = dream()
    run.pieces = lambda: (0.0, 0.0)
    broken(run, error, 0)
    with pytest.raises(RuntimeError, match="Out of memory in the first step"):
        run.run(progress=False)


def test_other_errors_are_not_hidden():
    run = dream()
    broken(run, RuntimeError("shapes differ"), 6)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run.run(progress=False)


def test_a_picture_of_nan_is_never_the_result():
    run = dream(steps=20, every=1, start="white")
    with pytest.warns(UserWarning, match="the picture is no number"):
        for frame in run.steps():
            if frame.step == 6:
                with torch.no_grad():
                    run.drawer.colours.fill_(float("nan"))
    assert run.best.picture.isfinite().all() and "is no number" in run.notes[-1]
    run = dream()
    with torch.no_grad():
        run.drawer.colours.fill_(float("nan"))
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="Nothing could"):
        run.run(progress=False)


def test_an_interrupt_before_the_first_step_still_gives_a_picture():
    run = dream()
    run.pieces = lambda: (0.0, 0.0)
    broken(run, KeyboardInterrupt(), 0, 1)
    with pytest.warns(UserWarning, match="Stopped at step 0"):
        frame = run.run(progress=False)
    assert frame.picture.shape == (3, 24, 32)


def test_a_run_is_drawn_once():
    run = dream()
    run.run(progress=False)
    with pytest.raises(RuntimeError, match="has been drawn"):
        run.run(progress=False)


def test_what_cannot_fit_is_said_before_it_is_drawn(monkeypatch):
    assert memory.room(torch.device("cpu")) > 100
    monkeypatch.setattr(memory, "room", lambda device: 50.0)
    with pytest.raises(ValueError, match="GB are free: draw smaller"):
        dream(drawer="vqgan", width=2048, height=2048)


def test_wrong_things_are_one_sentence():
    with pytest.raises(TypeError, match="needs Settings"):
        Dream({"prompt": "a"})
    with pytest.raises(TypeError, match="clip.load"):
        Dream(settings(), ["pocket"])
    with pytest.raises(TypeError, match="must be a Prompt"):
        dream(wishes=["a fox"])
    for vector in (torch.zeros(16), torch.ones(2, 2), [float("nan")] * 16, "fox"):
        with pytest.raises(ValueError, match="vector of"):
            dream(wishes=[Prompt("v", vector=vector)])
    with pytest.raises(ValueError, match="weight of 'a' must be a number"):
        dream(wishes=[Prompt("a", "2")])
    with pytest.raises(TypeError, match="save writes a Frame"):
        files.save("a.png", torch.rand(3, 8, 8), settings())
    with pytest.raises(ValueError, match="vectors for 1 guides"):
        dream(wishes=[Prompt("v", vector=[torch.ones(16)] * 2)])
    with pytest.raises(ValueError, match="no setting"):
        generate("a fox", step=3)


def test_a_text_longer_than_a_guide_reads_is_noted():
    with pytest.warns(UserWarning, match="longer than 16 tokens"):
        run = dream(prompt="many words " * 9)
    assert "tiny reads the first 14 of" in run.notes[0]


def test_the_film_is_whole_or_absent(tmp_path):
    with pytest.raises(ValueError, match="no picture to animate"):
        files.gif(tmp_path / "a.gif", [])
    assert list(tmp_path.iterdir()) == []
    path = files.gif(tmp_path / "b" / "a.gif", [torch.rand(3, 4, 4)])
    assert Image.open(io.BytesIO(path.read_bytes())).size == (4, 4)


def test_guides_wishes_and_vqgan_of_other_kinds(tmp_path):
    path, eye, book = saved(tmp_path / "a.png"), guide(), codes()
    acts = (
        lambda g: files.again(path, g, book),
        lambda g: go_on(path, None, 4, g, book),
        lambda g: Dream(settings(), g, book),
    )
    for act in acts:
        assert act(eye).guides == [eye] == act(iter([eye])).guides  # one is enough
        for bad in (3, "pocket", ["pocket"], [None]):
            with pytest.raises(TypeError, match="what clip.load gives"):
                act(bad)
    for bad in (None, 3, Prompt("a fox")):
        with pytest.raises(TypeError, match="a list of Prompts"):
            Dream(settings(), [eye], book, bad)
    for bad in (Prompt(3), Prompt("")):
        with pytest.raises(ValueError, match="must be text|only punctuation"):
            Dream(settings(), [eye], book, [bad])
    with pytest.raises(TypeError, match="what vqgan.load gives"):
        Dream(settings(drawer="codes", canvases=()), [eye], "pocket")


@pytest.mark.parametrize("ending", ["tiff", "avif", "jp2", "heic", "svg", "pdf", "JPG"])
def test_settings_travel_in_a_png_alone(ending, tmp_path):
    frame = dream().run(progress=False)
    with pytest.raises(ValueError, match="save as a.png"):
        files.save(tmp_path / f"a.{ending}", frame)
    for name in ("a", "a.PNG", "fox v1.5"):
        path = files.save(tmp_path / name, frame)
        assert files.settings_of(path).seed == frame.record["settings"]["seed"]


@pytest.mark.parametrize("by_hand", [-1, True, [3], 2.5])
def test_a_note_of_what_was_put_in_by_hand_may_be_damaged(by_hand, tmp_path):
    path = saved(tmp_path / "a.png")
    harm = tampered(path, tmp_path / "b.png", lambda t: t.update({"by hand": by_hand}))
    with pytest.raises(ValueError, match="that make sense"):
        files.again(harm, [guide()], codes())


def test_films_of_whatever_is_given(tmp_path):
    one, small = torch.rand(3, 8, 8), torch.rand(3, 4, 4)
    for good in (torch.stack([one, one]), [one, to_image(one)], (p for p in [one])):
        with Image.open(files.gif(tmp_path / "a.gif", good)) as film:
            assert film.size == (8, 8)
    for film in (files.gif, files.mp4):
        for bad in (None, 3, "x", [], [3], [one, small], torch.rand(0, 3, 8, 8)):
            with pytest.raises(ValueError):
                film(tmp_path / "b", bad)
    for bad in (float("nan"), -1, "x", None, 1e9):
        with pytest.raises(ValueError, match="seconds"):
            files.gif(tmp_path / "b", [one], bad)
    for bad in (0, -1, 1.5, "x", None):
        with pytest.raises(ValueError, match="rate"):
            files.mp4(tmp_path / "b", [one], bad)
