"""Charts: lines, bars, tables. Each shows its figure and returns None, or says so.

Dims: N pictures, (3, H, W) uint8 or float in [0, 1] each.
"""

import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatter, NullFormatter
from torch import Tensor

from ...pictures import array
from .style import BLUE, GREEN, GREY, MAP, ORANGE, style


def curves(series: dict, xlabel: str, ylabel: str, ax=None, percent=False) -> None:
    """Lines with direct labels. series: {label: (x, y)} or {label: y}."""
    alone = ax is None
    if alone:
        style()
        _, ax = plt.subplots(figsize=(5.2, 3.0))
    for label, line in series.items():
        x, y = line if isinstance(line, tuple) else (range(len(line)), line)
        ax.plot(x, y, label=label, linewidth=1.8)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if percent:
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    if len(series) > 1:
        ax.legend(frameon=False)
    if alone:
        plt.show()


def clouds(groups: dict[str, Tensor], xlabel: str = "", ylabel: str = "") -> None:
    """Points in the plane, one colour a group: {name: (N, 2)}."""
    style()
    _, ax = plt.subplots(figsize=(5.6, 3.4))
    for name, points in groups.items():
        x, y = points.detach().cpu().T
        ax.scatter(x, y, s=14, alpha=0.7, label=name)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plt.show()


def training(history: dict, figure=None):
    """Two panels for a run: the loss, and R@k on pictures it never trained on.

    history: {"step": [...], "loss": [...], "check": [...], "R@1": [...], ...}.
    """
    style()
    figure = figure or plt.figure(figsize=(8.4, 2.9))
    figure.clear()
    left, right = figure.subplots(1, 2)
    curves({"loss": (history["step"], history["loss"])}, "step", "loss", left)
    series = {
        key: (history["check"], values)
        for key, values in history.items()
        if key.startswith("R@")
    }
    curves(series, "step", "recall", right, percent=True)
    right.set_ylim(bottom=0)
    return figure


def bars(groups: dict[str, dict[str, float]], xlabel: str = "") -> None:
    """Grouped horizontal bars of shares: {row: {series: value in [0, 1]}}."""
    style()
    rows, series = list(groups), list(next(iter(groups.values())))
    figure, ax = plt.subplots(figsize=(7.2, 0.9 + 0.42 * len(rows)))
    high = 0.8 / len(series)
    for n, name in enumerate(series):
        at = [i + (n - (len(series) - 1) / 2) * high for i in range(len(rows))]
        values = [groups[row][name] for row in rows]
        drawn = ax.barh(at, values, high * 0.9, label=name)
        ax.bar_label(drawn, [f"{100 * v:.0f} %" for v in values], padding=3, fontsize=8)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_xlabel(xlabel)
    above(ax, len(series))
    plt.show()


def rungs(groups: dict[str, dict], high: float, gap: float, xlabel: str):
    """A row for each group: the axes, and the heights of each series, {series: [y]}."""
    style()
    rows, series = list(groups), list(next(iter(groups.values())))
    _, ax = plt.subplots(figsize=(7.2, 1.1 + high * len(rows) * len(series)))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    middle = (len(series) - 1) / 2
    steps = [gap * (n - middle) for n in range(len(series))]
    places = {
        name: [row + step for row in range(len(rows))]
        for name, step in zip(series, steps, strict=True)
    }
    return ax, places


def above(ax, count: int) -> None:
    """A legend of ``count`` series above the axes, where there is something to tell."""
    if count > 1:
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)


def intervals(groups: dict[str, dict[str, Tensor]], xlabel: str) -> None:
    """Shares with the middle 95 % of their redraws: {row: {series: (draws,)}}."""
    ax, places = rungs(groups, 0.3, 0.25, xlabel)
    for name, at in places.items():
        draws = [100 * row[name] for row in groups.values()]
        middle = [float(d.mean()) for d in draws]
        low = [m - float(d.quantile(0.025)) for m, d in zip(middle, draws, strict=True)]
        up = [float(d.quantile(0.975)) - m for m, d in zip(middle, draws, strict=True)]
        ax.errorbar(middle, at, xerr=(low, up), fmt="o", capsize=3, label=name)
    above(ax, len(places))
    plt.show()


def dots(groups: dict[str, dict[str, Tensor]], xlabel: str) -> None:
    """Every run a dot, their mean a line with its number: {row: {series: (runs,)}}."""
    ax, places = rungs(groups, 0.4, 0.3, xlabel)
    near = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
    for name, at in places.items():
        runs = [row[name].detach().cpu() for row in groups.values()]
        means = [float(values.mean()) for values in runs]
        colour = ax.scatter(means, at, s=260, marker="|", lw=2.5, label=name)
        colour = colour.get_facecolor()
        for values, mean, y in zip(runs, means, at, strict=True):
            ax.scatter(values, [y] * len(values), s=22, alpha=0.5, color=colour)
            ax.annotate(f"{mean:.2f}", (mean, y), fontsize=8, **near)
    above(ax, len(places))
    plt.show()


def probability_bars(ax, probabilities: dict[str, float]) -> None:
    """Horizontal bars of probabilities, named at the left, best read top to bottom."""
    drawn = ax.barh(list(probabilities), list(probabilities.values()), color=BLUE)
    ax.bar_label(drawn, [f"{100 * v:.0f} %" for v in probabilities.values()], padding=3)
    ax.set_xlim(0, 1.3)
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)


def beside(picture, probabilities: dict[str, float], title: str = ""):
    """A figure: a photograph with the probability of each class beside it."""
    style()
    size = (6.4, max(2.3, 0.5 + 0.26 * len(probabilities)))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=[1, 1.5])
    left.imshow(array(picture))
    left.axis("off")
    probability_bars(right, probabilities)
    right.set_title(title)
    return figure


def picture_and_bars(picture, probabilities: dict[str, float], title: str = "") -> None:
    """Show a photograph with the probability of each class beside it."""
    beside(picture, probabilities, title)
    plt.show()


def table(values: Tensor, rows: list[str], columns: list[str], label: str) -> None:
    """A matrix of shares in [0, 1] as colours with its numbers in per cent."""
    style()
    size = (1.9 + 0.42 * len(columns), 1.2 + 0.32 * len(rows))
    figure, ax = plt.subplots(figsize=size)
    values = values.detach().cpu()
    ax.imshow(values, cmap=MAP, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for i in range(len(rows)):
        for j in range(len(columns)):
            share = float(values[i, j])
            if share >= 0.005:
                colour = "white" if share < 0.6 else "black"
                ax.text(
                    j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=7,
                    color=colour,
                )  # fmt: skip
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns, rotation=60, ha="right")
    ax.set_xlabel(label)
    plt.show()


def histogram(values: list[float], marks: dict[str, float], label: str) -> None:
    """How often each share in [0, 1] occurs, with named vertical lines."""
    style()
    figure, ax = plt.subplots(figsize=(7.2, 2.6))
    ax.hist([100 * v for v in values], bins=16, color=BLUE, alpha=0.5)
    for (name, value), colour in zip(
        marks.items(), (GREY, ORANGE, GREEN, "black"), strict=False
    ):
        ax.axvline(
            100 * value, color=colour, lw=2, label=f"{name}: {100 * value:.0f} %"
        )
    ax.set_xlabel(f"{label} (%)")
    ax.set_ylabel("templates")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plt.show()


def logarithmic(ax, which: str = "x", base: int = 10) -> None:
    """Make the ``which`` axis logarithmic, with numbers that one can read aloud."""
    getattr(ax, f"set_{which}scale")("log", base=base)
    axis = getattr(ax, f"{which}axis")
    axis.set_major_formatter(lambda value, _: aloud(value))
    axis.set_minor_formatter(NullFormatter())


def aloud(value: float) -> str:
    """A number for an axis: "0.01", "10,000", "1 million", "10 billion"."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:,.10g}" if abs(value) >= 1 else f"{value:.3g}"


def tradeoff(runs: dict[str, list], xlabel: str, ylabel: str) -> None:
    """Quality against cost, one line a method of (quality in [0, 1], cost) points."""
    style()
    figure, ax = plt.subplots(figsize=(6.4, 3.6))
    for name, points in runs.items():
        ax.plot([p[1] for p in points], [100 * p[0] for p in points], "o-", label=name)
    logarithmic(ax)
    ax.xaxis.set_minor_formatter(LogFormatter())
    ax.set_xlabel(xlabel)
    ax.set_ylabel(f"{ylabel} (%)")
    ax.set_ylim(top=102)
    ax.legend(frameon=False, loc="lower right")
    plt.show()


def reliability(runs: dict[str, list], ax=None) -> None:
    """Confidence against accuracy, one line a run of (confidence, accuracy, count)."""
    style()
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4.2))
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    for name, rows in runs.items():
        ax.plot([r[0] for r in rows], [r[1] for r in rows], "o-", ms=4, label=name)
    ax.set_xlabel("how sure the model is")
    ax.set_ylabel("how often it is right")
    ax.legend(frameon=False)
    plt.show()
