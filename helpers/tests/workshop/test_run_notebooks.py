"""Storing notebooks: figures in few bytes, cells under names that stay."""

import base64
import io
import time

import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image, ImageDraw

from helpers.workshop import run_notebooks as r

STUB = "raise NotImplementedError"


def png(image) -> bytes:
    return r.encoded(image, "PNG")


def chart() -> Image.Image:
    image = Image.new("RGB", (300, 200), "white")
    draw = ImageDraw.Draw(image)
    for n in range(40):
        draw.line((0, 5 * n, 300, 200 - 3 * n), fill=(6 * n, 40, 255 - 6 * n), width=2)
    return image


def photograph() -> Image.Image:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((400, 300), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("picture", [chart, photograph])
def test_figures_get_smaller_and_look_the_same(picture):
    raw = png(picture())
    kind, few = r.small(raw)
    assert kind == {chart: "image/png", photograph: "image/jpeg"}[picture]
    assert len(few) < 0.75 * len(raw) and r.small(raw) == (kind, few)  # the same bytes
    shown = np.asarray(Image.open(io.BytesIO(few)).convert("RGB"), float)
    assert np.abs(shown - np.asarray(picture(), float)).mean() < 6


def test_a_small_figure_stays_as_it_is():
    once = r.small(png(chart()))
    assert r.small(once[1]) == once


def book():
    cells = [
        v4.new_markdown_cell("# 05 · VQGAN+CLIP\n\nwords", id="c01"),
        v4.new_code_cell("# Setup: find\nimport sys", id="c02"),
        v4.new_markdown_cell("## How it works\n\nIt does.", id="c03"),
        v4.new_code_cell("def words_to_picture(x):\n    return x", id="c04"),
        v4.new_code_cell("frames = list(run)", id="05-loop"),
        v4.new_code_cell("frames = list(run)"),  # an id by chance
        v4.new_markdown_cell("More.", id="c06"),
        v4.new_code_cell("frames = 3", id="c07"),
        v4.new_code_cell(
            "def f():\n    raise NotImplementedError\n\n\nchecks.great_circle(f)",
            id="c08",
        ),
        v4.new_markdown_cell(
            "<details><summary>Solution</summary></details>", id="c09"
        ),
    ]
    figure = v4.new_output(
        "display_data", {"image/png": base64.b64encode(b"").decode()}
    )
    figure.data = {"image/png": base64.b64encode(png(chart())).decode(), r.WIDGET: {}}
    cells[4].outputs = [figure]
    return v4.new_notebook(cells=cells)


def test_names_are_made_once_and_stay():
    first = book()
    r.tidy(first, "05")
    names = [cell.id for cell in first.cells]
    assert names == [
        "05-vqgan-clip",
        "05-setup",
        "05-works",
        "05-words-picture",
        "05-loop",
        "05-works-frames",
        "05-works-text",
        "05-works-frames-2",
        "05-exercise-great-circle",
        "05-solution-great-circle",
    ]
    nbformat.validate(first)
    first.cells.insert(3, first.cells.pop(7))
    first.cells[0].source = "# 05 · Another title"
    r.tidy(first, "05")
    assert sorted(names) == sorted(cell.id for cell in first.cells)
    data = next(c for c in first.cells if c.id == "05-loop").outputs[0].data
    assert list(data) == ["image/png"]


def test_seconds_are_recorded_for_the_header(monkeypatch):
    kept = {"00_start_here": 31}
    monkeypatch.setattr(r, "run", lambda path: 29.6)
    monkeypatch.setattr(r.pages, "stored", lambda name: dict(kept))
    monkeypatch.setattr(r.pages, "store", lambda name, new: kept.update(new))
    monkeypatch.setattr(r.pages, "write", lambda: kept.setdefault("written", True))
    monkeypatch.setattr("sys.argv", ["run_notebooks", "03"])
    for name in ("PYTHONHASHSEED", r.THREADS):
        monkeypatch.setenv(name, "1")
    r.main()
    assert kept["03_text_to_image_search"] == 30 and kept["00_start_here"] == 31
    assert kept["written"]


def test_waiting_for_a_busy_core_does_not_count(tmp_path):
    path = tmp_path / "00_x.ipynb"
    work = "import time\nwhile time.process_time() < 3: pass"
    cells = [v4.new_code_cell(work), v4.new_code_cell("time.sleep(2)")]
    nbformat.write(v4.new_notebook(cells=cells), path)
    began = time.time()
    seconds = r.run(path)
    assert 2.5 < seconds < time.time() - began - 1.5
