"""The picture panels, pressed without a browser."""

import sys
import types

import pytest
import torch

from helpers import clip, vqgan
from helpers.course.studio import Studio, TokenPainter, draw_all
from helpers.dream import Settings
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
    assert "press Paint" in repr(panel) and "holds code" in panel.status.value
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


def test_the_marker_follows_sliders_and_brush():
    panel = TokenPainter(codes(), torch.zeros(6, 9, dtype=torch.long))
    for field, value in (("brush", 4), ("row", 5), ("column", 8)):
        before = panel.image.value
        getattr(panel, field).value = value
        assert panel.image.value != before, field
    assert "row 5, column 8" in panel.status.value


def test_a_click_paints_the_cell_below_it_and_a_swatch_chooses_a_code(monkeypatch):
    heard = []

    class Event:
        def __init__(self, source, watched_events):
            assert watched_events == ["click"]

        def on_dom_event(self, handle):
            heard.append(handle)

    fake = types.ModuleType("ipyevents")
    fake.Event = Event
    monkeypatch.setitem(sys.modules, "ipyevents", fake)
    panel = TokenPainter(codes(), torch.arange(54).view(6, 9) % 20)
    panel.palette.children[1].click()
    code = panel.code.value
    assert f"code {code}" == panel.palette.children[1].tooltip
    panel.brush.value = 1
    size = {"boundingRectWidth": 560, "boundingRectHeight": 187}
    for x, y, cell in ((5, 5, (0, 0)), (285, 180, (5, 0)), (555, 100, (3, 8))):
        heard[0]({"relativeX": x, "relativeY": y} | size)
        assert int(panel.codes[cell]) == code, cell
        assert (panel.row.value, panel.column.value) == cell
    monkeypatch.setitem(sys.modules, "ipyevents", None)  # absent: row and column serve
    assert TokenPainter(codes(), torch.zeros(2, 2, dtype=torch.long)).mouse is None


@pytest.mark.slow
def test_studio_draws_stops_and_saves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = studio()
    panel.button.click()
    assert panel.image.value[:4] == b"\x89PNG" and "best: step" in panel.status.value
    assert panel.bar.value == 100 and not panel.button.disabled
    panel.keep.click()
    assert (tmp_path / "a-red-apple-0.png").exists()
    assert "saved as a-red-apple-0.png" in panel.status.value
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
    for prompt, reason in (("", "empty"), ("fox:0", "is 0"), ("...", "punctuation")):
        panel.prompt.value = prompt
        panel.button.click()
        assert reason in panel.status.value
    panel.prompt.value, panel.begin.value = "a fox", "upload"
    panel.button.click()
    assert "Upload a picture first" in panel.status.value


def test_draw_all_gives_the_previews_and_says_nothing(capsys):
    brief = Settings(
        prompt="a red apple", steps=4, cuts=1, guides=("scratch",), drawer="pixel",
        width=32, height=32, every=2,
    )  # fmt: skip
    found = draw_all({"an apple": brief}, {"scratch": clip.load("scratch", "cpu")})
    assert list(found) == ["an apple"]
    assert [f.step for f in found["an apple"]] == [0, 1, 2, 3]  # ends of canvases, too
    assert capsys.readouterr().out == ""
