"""Figures take the titles that people have."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch

from helpers import paths
from helpers.course import plots
from helpers.course.plots import charts, letters


def test_titles_are_no_formulas():
    # nine-or-null#14: a file named price_$1_$2.jpg broke a cell of 03
    titles = ["price_$1_$2.jpg", "$\\foo$", "caf\udce9.png", "گربه"]
    figure = plots.grid(torch.zeros(4, 3, 8, 8), titles)
    assert plots.png(figure).startswith(b"\x89PNG")
    figure = plots.beside(torch.zeros(3, 8, 8), {"$\\foo$": 0.4, "$": 0.6}, "$a$")
    assert figure.axes[1].get_title() == "$a$" and plots.png(figure)


def test_a_title_keeps_its_lines():
    figure = plots.grid(torch.zeros(2, 3, 8, 8), ["a cat\n0.5 ± 0.1", ""])
    assert figure.axes[0].get_title() == "a cat\n0.5 ± 0.1"
    assert figure.axes[1].get_title() == ""
    plt.close(figure)


def test_dots_show_every_run_and_the_mean(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    runs = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([5.0, 7.0, 9.0])}
    plots.dots({"one": runs, "two": {k: 2 * v for k, v in runs.items()}}, "loss")
    ax = plt.gca()
    assert [t.get_text() for t in ax.texts] == ["2.00", "4.00", "7.00", "14.00"]
    shown = [tuple(c.get_offsets()[:, 0]) for c in ax.collections]
    assert shown[:3] == [(2.0, 4.0), (1.0, 3.0), (2.0, 6.0)]
    places = [c.get_offsets()[0, 1] for c in ax.collections]
    assert places[1] == pytest.approx(-0.15) and places[-1] == pytest.approx(1.15)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", "two"]
    plt.close()


@pytest.mark.parametrize(
    "typed, seen",
    [
        ("گربه", "\ufeea\ufe91\ufeae\ufb94"),
        ("سیب سرخ", "\ufea5\ufeae\ufeb3 \ufe90\ufbff\ufeb3"),
        ("بالا", "\ufefb\ufe8e\ufe91"),  # lam and alef are one form
        (
            "نیم\u200cسوز",
            "\ufeaf\ufeee\ufeb3\ufee2\ufbff\ufee7",
        ),  # a half space
        ("۱۲ سگ", "\ufb93\ufeb3 ۱۲"),  # a number stays as it is
        ("سگ (dog) ۲", "۲ (dog) \ufb93\ufeb3"),
        ("a dog سگ ۲ سگ, b", "a dog \ufb93\ufeb3 ۲ \ufb93\ufeb3, b"),
        ("سگ «گربه» [سگ]", "[\ufb93\ufeb3] «\ufeea\ufe91\ufeae\ufb94» \ufb93\ufeb3"),
        ("سگ\na dog", "\ufb93\ufeb3\na dog"),
        ("a red apple, 0.31 (first)", "a red apple, 0.31 (first)"),
        ("", ""),
    ],
)
def test_persian_is_joined_and_read_from_the_right(typed, seen):
    # nine-or-null#14: titles came out letter by letter, from left to right
    assert letters.as_seen(typed) == seen == letters.as_seen(seen)


def test_an_old_matplotlib_gets_its_letters_joined_once(monkeypatch):
    old = SimpleNamespace()  # before 3.11 it has no libraqm
    monkeypatch.setattr(letters, "ft2font", old)
    monkeypatch.setattr(letters.Text, "set_text", letters.Text.set_text)
    plots.style()
    first = letters.Text.set_text
    plots.style()
    assert letters.Text.set_text is first
    figure = plots.grid(torch.zeros(1, 3, 8, 8), ["گربه"])
    assert figure.axes[0].get_title() == "\ufeea\ufe91\ufeae\ufb94"
    plt.close(figure)
    old.__libraqm_version__ = "0.10"
    monkeypatch.setattr(letters.Text, "set_text", first.__wrapped__)
    plots.style()
    assert letters.Text.set_text is first.__wrapped__


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
    told = {0.001: "0.001", 32: "32", 1e4: "10,000", 1e6: "1 million"}
    told |= {2e10: "20 billion", 2.0**20: "1.05 million", 1e13: "10 trillion"}
    assert [charts.aloud(value) for value in told] == list(told.values())
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


def test_a_title_keeps_its_own_lines():
    wrap = plots.galleries.wrap
    assert wrap("a b c", 9) == "a b c"
    assert wrap("one two three four", 9) == "one two\nthree…"
    assert wrap("a\nb\nc\nd", 9) == "a\nb\nc\nd"
    assert wrap("a\nb\nc\nd\ne", 9) == "a\nb\nc\nd…"
    assert wrap("words " * 9, 12).count("\n") == 1
