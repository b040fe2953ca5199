"""Galleries: pictures in rows, in a matrix, on a map.

Every function shows its figure and returns None, so that a plotting cell has no stray
output; ``grid`` returns it. Dims: N pictures, (3, H, W) uint8 or float in [0, 1] each.
"""

import textwrap

import matplotlib.pyplot as plt
import torch
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from ...pictures import array
from .style import GREEN, MAP, ORANGE, style


def wrap(text: str, width: int) -> str:
    """Break a title into two lines, or as many (to 4) as it has; the rest is "..."."""
    text = text.encode("utf-8", "replace").decode()  # a file name may be no text
    parts = text.splitlines()  # a line of its own stays one
    most = max(2, min(len(parts), 4))
    lines = [line for part in parts for line in textwrap.wrap(part, width)]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]
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
    scores = scores.detach().cpu()
    rows, columns = scores.shape
    figure, ax = plt.subplots(figsize=(1.5 + 0.72 * columns, 0.8 + 0.5 * rows))
    ax.imshow(scores, cmap=MAP, aspect="auto", interpolation="nearest")
    middle = (scores.max() + scores.min()) / 2
    for i in range(rows):
        for j in range(columns):
            colour = "white" if scores[i, j] < middle else "black"
            said = f"{scores[i, j]:.2f}".replace("-0.00", "0.00")
            ax.text(j, i, said, ha="center", va="center", color=colour, fontsize=8)
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


def scatter_pictures(points: Tensor, pictures, titles=None, zoom: float = 30) -> None:
    """A map of pictures: points (N, 2), a thumbnail at each, optional words."""
    style()
    figure, ax = plt.subplots(figsize=(8.4, 5.6))
    x, y = points.detach().cpu().T
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
