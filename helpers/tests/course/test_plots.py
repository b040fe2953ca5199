"""Figures take the titles that people have."""

import json

import matplotlib.pyplot as plt
import torch

from helpers import paths
from helpers.course import plots


def test_titles_are_no_formulas():
    # nine-or-null#14: a file named price_$1_$2.jpg broke a cell of 03
    titles = ["price_$1_$2.jpg", "$\\foo$", "caf\udce9.png", "گربه"]
    figure = plots.grid(torch.zeros(4, 3, 8, 8), titles)
    assert plots.png(figure).startswith(b"\x89PNG")
    figure = plots.beside(torch.zeros(3, 8, 8), {"$\\foo$": 0.4, "$": 0.6}, "$a$")
    assert figure.axes[1].get_title() == "$a$" and plots.png(figure)


def test_a_logarithmic_axis_reads_in_plain_numbers(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    plots.tradeoff({"a": [(0.5, 0.01), (0.9, 10.0)]}, "ms", "recall")
    figure = plt.gcf()
    figure.canvas.draw()
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert "0.1" in labels and not any("$" in text for text in labels)
    plt.close(figure)


def test_axes_without_formulas_are_said_aloud():
    """Titles are no formulas, so the usual 10^5 would stand there as its source."""
    figure, axes = plt.subplots(1, 2)
    for ax, (which, base) in zip(axes, (("x", 10), ("y", 2)), strict=True):
        ax.plot([1e-2, 1e10], [1e-2, 1e10])
        plots.logarithmic(ax, which, base)
    figure.canvas.draw()
    labels = [t.get_text() for t in axes[0].get_xticklabels()]
    assert {"0.01", "10,000", "10 million", "10 billion"} <= set(labels)
    for ax in axes:
        texts = [t.get_text() for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
        assert texts and not any("$" in text for text in texts)
    plt.close(figure)


def test_every_logarithmic_axis_of_the_course_is_made_so():
    for path in sorted(paths.ROOT.glob("notebooks/*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        for plain in ("loglog", "semilog", 'scale("log"', "scale('log'"):
            assert plain not in code, f"{path.name}: use plots.logarithmic"


def test_clouds_draw_every_point_of_every_group(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    plots.clouds({"words": torch.rand(5, 2), "pictures": torch.rand(3, 2)}, "x", "y")
    ax = plt.gcf().axes[0]
    assert [len(c.get_offsets()) for c in ax.collections] == [5, 3]
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["words", "pictures"]
    plt.close("all")
