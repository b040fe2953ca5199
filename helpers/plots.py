"""All figures of the course, in one style. Every function shows its figure and returns
None, so that a plotting cell has no stray output.

Dims: N pictures, (3, H, W) uint8 or float in [0, 1] each.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

BLUE, ORANGE, GREEN, GREY = "#2563a8", "#d9722a", "#3a8f5c", "#8a8f98"
MAP = "viridis"


def style() -> None:
    """The one style call: sizes, fonts and colours of every figure."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, GREY]),
            "axes.grid": False,
            "figure.constrained_layout.use": True,
            "image.interpolation": "lanczos",
        }
    )


def array(picture) -> np.ndarray:
    """Any picture -> (H, W, 3) uint8 array."""
    if isinstance(picture, Tensor):
        picture = picture.detach().cpu()
        if picture.is_floating_point():
            picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
        return picture.permute(1, 2, 0).numpy()
    return np.asarray(picture.convert("RGB"))


def wrap(text: str, width: int) -> str:
    """Break a title into at most two lines; what does not fit ends in "..."."""
    import textwrap

    lines = textwrap.wrap(text, width)[:3]
    if len(lines) > 2:
        lines = [lines[0], lines[1][: width - 1] + "…"]
    return "\n".join(lines)


def grid(pictures, titles=None, columns: int = 6, size: float = 1.35, right=None):
    """A figure of pictures in rows; ``right`` (N bools) frames them green or orange."""
    style()
    count = len(pictures)
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    tall = 1.3 if titles else 1.0
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * size * tall), squeeze=False
    )
    for place, ax in enumerate(axes.flat):
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(place < count)
            spine.set_color("#d8dbe0")
        if place >= count:
            continue
        ax.imshow(array(pictures[place]))
        if titles:
            ax.set_title(wrap(str(titles[place]), int(size * 13)), fontsize=8, pad=3)
        if right is not None:
            for spine in ax.spines.values():
                spine.set(color=GREEN if right[place] else ORANGE, linewidth=2.5)
    return figure


def show_pictures(pictures, titles=None, columns: int = 6, size=1.35, right=None):
    """Show pictures in rows, with a short title above each."""
    grid(pictures, titles, columns, size, right)
    plt.show()


def similarity_matrix(pictures, captions: list[str], scores: Tensor) -> None:
    """CLIP's matrix: captions down, pictures across the top, the cosine in each cell.

    scores: (captions, pictures).
    """
    style()
    rows, columns = scores.shape
    figure, ax = plt.subplots(figsize=(1.5 + 0.72 * columns, 0.8 + 0.5 * rows))
    ax.imshow(scores, cmap=MAP, aspect="auto", interpolation="nearest")
    middle = (scores.max() + scores.min()) / 2
    for i in range(rows):
        for j in range(columns):
            colour = "white" if scores[i, j] < middle else "black"
            ax.text(
                j, i, f"{scores[i, j]:.2f}", ha="center", va="center", color=colour,
                fontsize=8,
            )  # fmt: skip
    ax.set_yticks(range(rows), captions)
    ax.set_xticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    for j, picture in enumerate(pictures):
        box = OffsetImage(array(picture), zoom=42 / array(picture).shape[0])
        note = AnnotationBbox(
            box, (j, -0.5), xybox=(0, 24), xycoords="data",
            boxcoords="offset points", frameon=False,
        )  # fmt: skip
        ax.add_artist(note)
        note.set_in_layout(True)
    plt.show()


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


def bars(groups: dict[str, dict[str, float]], xlabel: str = "", asked=None) -> None:
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
    if len(series) > 1:
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    plt.show()


def scatter_pictures(points: Tensor, pictures, titles=None, zoom: float = 30) -> None:
    """A map of pictures: points (N, 2), a thumbnail at each, optional words."""
    style()
    figure, ax = plt.subplots(figsize=(8.4, 5.6))
    x, y = points[:, 0], points[:, 1]
    ax.scatter(x, y, s=1, alpha=0)
    for i, picture in enumerate(pictures):
        image = array(picture)
        box = OffsetImage(image, zoom=zoom / image.shape[0])
        ax.add_artist(AnnotationBbox(box, (x[i], y[i]), frameon=False))
        if titles and titles[i]:
            ax.annotate(
                titles[i], (x[i], y[i]), xytext=(0, -15), ha="center", va="top",
                textcoords="offset points", fontsize=7, color="#333840",
            )  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    plt.show()


def flat_map(x: Tensor) -> Tensor:
    """(N, D) -> (N, 2): the two directions in which the rows differ most (PCA)."""
    x = x - x.mean(0)
    _, _, v = torch.linalg.svd(x, full_matrices=False)
    v = v[:2] * torch.where(v[:2].sum(1, keepdim=True) < 0, -1.0, 1.0)  # fixed signs
    return x @ v.T


def chance_bars(ax, chances: dict[str, float]) -> None:
    """Horizontal bars of probabilities, named at the left, best read top to bottom."""
    drawn = ax.barh(list(chances), list(chances.values()), color=BLUE)
    ax.bar_label(drawn, [f"{100 * v:.0f} %" for v in chances.values()], padding=3)
    ax.set_xlim(0, 1.3)
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)


def beside(picture, chances: dict[str, float], title: str = ""):
    """A figure: a photograph with the probability of each class beside it."""
    style()
    size = (6.4, max(2.3, 0.5 + 0.26 * len(chances)))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=[1, 1.5])
    left.imshow(array(picture))
    left.axis("off")
    chance_bars(right, chances)
    right.set_title(title)
    return figure


def picture_and_bars(picture, chances: dict[str, float], title: str = "") -> None:
    """Show a photograph with the probability of each class beside it."""
    beside(picture, chances, title)
    plt.show()


def table(values: Tensor, rows: list[str], columns: list[str], label: str) -> None:
    """A matrix of shares in [0, 1] as colours with its numbers in per cent."""
    style()
    size = (1.9 + 0.42 * len(columns), 1.2 + 0.32 * len(rows))
    figure, ax = plt.subplots(figsize=size)
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


def tradeoff(runs: dict[str, list], xlabel: str, ylabel: str) -> None:
    """Quality against cost, one line a method of (quality in [0, 1], cost) points."""
    style()
    figure, ax = plt.subplots(figsize=(6.4, 3.6))
    for name, points in runs.items():
        ax.plot([p[1] for p in points], [100 * p[0] for p in points], "o-", label=name)
    ax.set_xscale("log")
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


def png(figure) -> bytes:
    """A figure as PNG bytes; the figure is closed."""
    import io

    out = io.BytesIO()
    figure.savefig(out, format="png")
    plt.close(figure)
    return out.getvalue()
