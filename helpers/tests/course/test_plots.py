"""Figures take the titles that people have."""

import matplotlib.pyplot as plt
import torch

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


def test_clouds_draw_every_point_of_every_group(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    plots.clouds({"words": torch.rand(5, 2), "pictures": torch.rand(3, 2)}, "x", "y")
    ax = plt.gcf().axes[0]
    assert [len(c.get_offsets()) for c in ax.collections] == [5, 3]
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels == ["words", "pictures"]
    plt.close("all")
