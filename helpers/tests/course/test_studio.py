"""The picture panels, pressed without a browser."""

from types import SimpleNamespace

import pytest
import torch

from helpers import clip, vqgan
from helpers.course import studio as module
from helpers.course.studio import Studio, TokenPainter, draw_all, left_over
from helpers.dream import Settings, files, sketch
from helpers.dream.settings import Canvas, plan
from helpers.vqgan import Config

TINY = Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=20, fold=2)


def codes() -> vqgan.VQGAN:
    torch.manual_seed(0)
    return vqgan.VQGAN(TINY).eval()


def studio() -> Studio:
    panel = Studio([clip.load("scratch", "cpu")], codes(), "a red apple", False)
    panel.steps.value, panel.cuts.value = 10, 2
    panel.drawer.value = "pixel"
    return panel


def test_painter_paints_takes_back_and_starts_again():
    grid = torch.arange(6).repeat(6, 1)
    panel = TokenPainter(codes(), grid)
    assert "click the picture" in repr(panel) and "holds code" in panel.status.value
    assert panel.image.value[:4] == b"\x89PNG"
    panel.row.value, panel.column.value = 1, 2
    panel.code.value, panel.brush.value = 7, 2
    panel.button.click()
    assert panel.codes[1:3, 2:4].tolist() == [[7, 7], [7, 7]]
    assert "4 changed" in panel.status.value
    panel.code.value = 9
    panel.button.click()
    panel.undo.click()
    assert panel.codes[1:3, 2:4].tolist() == [[7, 7], [7, 7]]
    panel.again.click()
    assert torch.equal(panel.codes, grid)
    for _ in range(3):
        panel.undo.click()
    assert torch.equal(panel.codes, grid) and "nothing" in panel.status.value


def test_a_sketch_is_shown_before_the_first_step(monkeypatch):
    panel, seen = studio(), []

    def draw(text, seed, guides, painter, see):
        for shade in (0.2, 0.7):
            see(torch.full((3, 128, 128), shade))
            seen.append((panel.image.value, panel.status.value))
        return torch.full((3, 128, 128), 0.7), 0.5, ""

    monkeypatch.setattr(sketch, "draw", draw)
    panel.steps.value = 11  # a sketch needs ten
    panel.act()
    assert len({image for image, _ in seen}) == 2
    assert all("sketch" in text for _, text in seen)
    assert "step" in panel.status.value


def test_the_marker_follows_sliders_and_brush():
    panel = TokenPainter(codes(), torch.zeros(6, 9, dtype=torch.long))
    for field, value in (("brush", 4), ("row", 5), ("column", 8)):
        before = panel.image.value
        getattr(panel, field).value = value
        assert panel.image.value != before, field
    assert "row 5, column 8" in panel.status.value


def test_every_cell_is_a_button_and_a_swatch_chooses_a_code():
    panel = TokenPainter(codes(), torch.arange(54).view(6, 9) % 20)
    glass = panel.cells.children[1].children
    assert len(glass) == 54 and panel.cells.children[0] is panel.image
    panel.palette.children[1].click()
    code = panel.code.value
    assert f"code {code}" == panel.palette.children[1].tooltip
    assert panel.palette.children[1].layout.border != (
        panel.palette.children[2].layout.border
    )
    panel.brush.value = 1
    for cell in ((0, 0), (5, 0), (3, 8)):
        glass[9 * cell[0] + cell[1]].click()
        assert int(panel.codes[cell]) == code, cell
        assert (panel.row.value, panel.column.value) == cell
    panel.code.value = 19  # stands nowhere near: it is decoded for its colour
    panel.tool.value = "pick up"
    glass[0].click()
    assert panel.code.value == code and panel.tool.value == "paint"
    assert 'download="painting.png"' in panel.link.value


@pytest.mark.slow
def test_studio_draws_stops_and_saves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = studio()
    panel.button.click()
    assert panel.image.value[:4] == b"\x89PNG" and "best: step" in panel.status.value
    assert panel.bar.value == 100 and not panel.button.disabled
    for name in ("a-red-apple-0.png", "a-red-apple-0-2.png"):  # none is overwritten
        panel.keep.click()
        assert files.settings_of(tmp_path / name).prompt == "a red apple"
        assert f"saved as {name}" in panel.status.value
    assert 'download="a-red-apple-0.png"' in panel.link.value
    show, seen = panel.show, []

    def stop(frame):
        show(frame)
        seen.append(frame.step)
        panel.stop.click()

    panel.show = stop
    panel.button.click()
    assert seen[0] == 0 and panel.dream.last.step == 0


def test_bad_prompts_end_in_the_status_line(tmp_path, monkeypatch):
    panel = studio()
    panel.steps.min, panel.steps.value = 1, 2
    panel.button.click()  # what follows a good run is not mistaken for it
    assert "best: step" in panel.status.value
    for prompt, reason in (("", "empty"), ("fox:0", "is 0"), ("...", "punctuation")):
        panel.prompt.value = prompt
        panel.button.click()
        assert reason in panel.status.value
    panel.prompt.value, panel.begin.value = "a fox", "upload"
    panel.button.click()
    assert "Upload a picture first" in panel.status.value


def test_the_studio_draws_on_one_canvas_or_from_coarse_to_fine():
    panel = studio()
    panel.prompt.value = "a fox"
    assert len(plan(panel.settings())) > 1
    panel.canvases.value = "off"
    assert len(plan(panel.settings())) == 1


def test_a_studio_opens_with_a_picture_and_keeps_those_of_an_older_one(monkeypatch):
    monkeypatch.setattr(Studio, "past", [])
    first = studio()
    assert "drawn earlier" in first.status.value and not first.keep.disabled
    first.steps.min, first.steps.value = 1, 2
    first.button.click()
    second = studio()
    assert second.image.value == first.image.value
    assert len(second.shelf.children) == 1 and first.halt
    first.halt = True
    first.drawing = None
    second.shelf.children[0].children[1].click()
    assert second.drawing.name == "a-red-apple-0.png"


def test_a_folder_that_takes_no_file_is_said_and_the_link_serves(monkeypatch):
    panel = studio()

    def refuse(*args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "open", refuse, raising=False)
    panel.keep.click()
    assert "takes no file (Read-only file system)" in panel.status.value
    assert "use the link" in panel.status.value and "base64" in panel.link.value


def test_one_run_at_a_time_and_an_error_keeps_the_best_picture(monkeypatch):
    panel = studio()
    panel.steps.value, before = 10, panel.show

    def fail(frame):
        before(frame)
        panel.button.click()  # refused: this very run goes on
        panel.act()
        if frame.step:
            raise RuntimeError("the lamp went out\nand more")

    monkeypatch.setattr(panel, "show", fail)
    panel.button.click()
    assert "best: step" in panel.status.value
    assert "the lamp went out The best picture is kept." in panel.status.value
    assert not panel.button.disabled and panel.stop.disabled


def test_the_studio_hands_on_all_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(tmp_path))
    panel = studio()
    panel.palette.value, panel.symmetry.value, panel.tile.value = (
        "navy, gold",
        True,
        True,
    )
    found = panel.settings()
    assert found.losses == {"symmetry": 1.0, "palette": (2.0, "navy, gold")}
    assert found.tile and found.seed == 0
    panel.seed.value = 10**20
    panel.button.click()
    assert "seed is a whole number" in panel.status.value


def test_time_left_counts_large_canvases_more():
    plan = [Canvas(64, 64, 10, 1.0), Canvas(128, 128, 10, 0.5)]
    assert left_over(plan, 20, 9.0) == 0
    assert left_over(plan, 10, 5.0) == pytest.approx(8.0)  # 0.625 against 1 a step
    assert left_over(plan[1:], 5, 5.0) == pytest.approx(5.0)


def test_draw_all_gives_the_previews_and_says_nothing(capsys):
    brief = Settings(
        prompt="a red apple", steps=4, cuts=1, guides=("scratch",), drawer="pixel",
        width=32, height=32, every=2,
    )  # fmt: skip
    found = draw_all({"an apple": brief}, {"scratch": clip.load("scratch", "cpu")})
    assert list(found) == ["an apple"]
    assert [f.step for f in found["an apple"]] == [0, 1, 2, 3]  # ends of canvases, too
    assert capsys.readouterr().out == ""


def test_a_page_says_meanwhile_how_far_its_drawings_are(monkeypatch):
    # newcomer.md 3: drawing cells showed nothing while they ran
    said = []
    shown = SimpleNamespace(update=lambda data, raw: said.append(data["text/plain"]))
    monkeypatch.setattr("IPython.get_ipython", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda *args, **more: shown)
    frame = SimpleNamespace(score=0.5, step=2)
    run = SimpleNamespace(steps=lambda: [frame])
    monkeypatch.setattr(module, "Dream", lambda *args: run)
    brief = Settings(prompt="a red apple", steps=4, guides=("scratch",))
    assert draw_all({"one": brief, "two": brief}, {"scratch": None})["two"] == [frame]
    assert said[0] == "picture 1 of 2, one: step 3 of 4" and said[-1] == ""
    assert "picture 2 of 2, two: step 3 of 4" in said
