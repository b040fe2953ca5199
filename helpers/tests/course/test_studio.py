"""The picture panels, pressed without a browser."""

import pytest
import torch

from helpers import clip, vqgan
from helpers.course.studio import Studio, TokenPainter
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


def test_painter_paints_and_starts_again():
    grid = torch.zeros(6, 6, dtype=torch.long)
    panel = TokenPainter(codes(), grid)
    assert "press Paint" in repr(panel) and panel.image.value
    before = panel.image.value
    panel.row.value, panel.column.value = 1, 2
    panel.code.value, panel.brush.value = 7, 2
    panel.button.click()
    assert panel.codes[1:3, 2:4].tolist() == [[7, 7], [7, 7]]
    assert panel.codes.sum() == 28 and panel.image.value != before
    assert "4 changed" in panel.status.value
    panel.undo.click()
    assert torch.equal(panel.codes, grid)


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
