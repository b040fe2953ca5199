"""Figures of 02 and 04 to 06: code grids, heat maps, palettes, growing pictures."""

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from ...pictures import array
from .style import MAP, style


def code_grid(picture: Tensor, codes: Tensor, label: str = "codes") -> None:
    """A picture beside its grid of codes (h, w), written into their cells."""
    style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.2))
    left.imshow(array(picture))
    left.set_title("the picture")
    right.imshow(codes.cpu(), cmap=MAP, interpolation="nearest")
    right.set_title(label)
    for (y, x), code in zip(
        torch.cartesian_prod(*map(torch.arange, codes.shape)).tolist(),
        codes.flatten().tolist(),
        strict=True,
    ):
        right.text(x, y, code, ha="center", va="center", fontsize=4.5, color="white")
    for ax in (left, right):
        ax.set_axis_off()
    plt.show()


def heat(pictures, maps, titles: list[str], label: str) -> None:
    """Pictures above, a map (h, w) of each below, one colour scale for all."""
    style()
    count = len(pictures)
    low = min(float(m.min()) for m in maps)
    high = max(float(m.max()) for m in maps)
    figure, axes = plt.subplots(2, count, figsize=(1.7 * count, 3.6), squeeze=False)
    for column in range(count):
        axes[0, column].imshow(array(pictures[column]))
        axes[0, column].set_title(titles[column], fontsize=9)
        shown = axes[1, column].imshow(
            maps[column].detach().cpu(),
            cmap="coolwarm",
            vmin=low,
            vmax=high,
            interpolation="nearest",
        )
    for ax in axes.flat:
        ax.set_axis_off()
    figure.colorbar(shown, ax=axes[1].tolist(), label=label, shrink=0.8)
    plt.show()


def overlay(pictures, maps, titles: list[str], columns: int = 4) -> None:
    """Maps (h, w) laid over their grey pictures: red speaks for, blue against.

    Each map has a scale of its own, from minus to plus its largest size.
    """
    style()
    count = len(pictures)
    rows = -(-count // columns)
    size = (1.9 * columns, 2.15 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for place, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if place >= count:
            continue
        grey = array(pictures[place]).mean(-1)
        box = (0, grey.shape[1], grey.shape[0], 0)
        ax.imshow(grey, cmap="gray", extent=box)
        x = maps[place].detach().cpu()
        high = float(x.abs().max())
        ax.imshow(
            x, cmap="coolwarm", vmin=-high, vmax=high, alpha=0.6, extent=box,
            interpolation="bicubic",
        )  # fmt: skip
        ax.set_title(titles[place], fontsize=9)
    plt.show()


def one_picture(picture: Tensor, title="", size: float = 5.0, smooth=True) -> None:
    """One large picture; ``smooth`` False keeps its pixels sharp."""
    style()
    _, ax = plt.subplots(figsize=(size, size))
    ax.imshow(array(picture), interpolation="lanczos" if smooth else "nearest")
    ax.set_title(title)
    ax.set_axis_off()
    plt.show()


def growth(frames, count: int = 8) -> None:
    """How a picture grew: ``count`` frames from first to last, with step and score."""
    from .galleries import show_pictures

    frames = [f for f in frames if f.score is not None]
    places = torch.linspace(0, len(frames) - 1, min(count, len(frames))).long()
    chosen = [frames[i] for i in places.tolist()]
    titles = [f"step {f.step + 1}" for f in chosen]
    show_pictures([f.picture for f in chosen], titles, columns=count, size=1.25)
