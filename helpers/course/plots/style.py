"""The one style of all figures: sizes, fonts, colours."""

import io

import matplotlib.pyplot as plt

from .letters import join_letters

BLUE, ORANGE, GREEN, GREY = "#2563a8", "#d9722a", "#3a8f5c", "#8a8f98"

MAP = "viridis"


def style() -> None:
    """The one style call: sizes, fonts, letters and colours of every figure."""
    join_letters()
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
            "text.parse_math": False,  # a name such as price_$1_$2 is no formula
        }
    )


def png(figure) -> bytes:
    """A figure as PNG bytes; the figure is closed."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    plt.close(figure)
    return out.getvalue()
