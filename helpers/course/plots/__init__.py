"""All figures of the course, in one style; ``plt`` is matplotlib's."""

from .charts import (
    bars,
    beside,
    clouds,
    curves,
    dots,
    histogram,
    intervals,
    logarithmic,
    picture_and_bars,
    probability_bars,
    reliability,
    table,
    tradeoff,
    training,
)
from .codes import code_grid, growth, heat, one_picture, overlay
from .galleries import (
    flat_map,
    grid,
    scatter_pictures,
    show_pictures,
    similarity_matrix,
)
from .style import plt, png, style

__all__ = [
    "bars",
    "beside",
    "clouds",
    "code_grid",
    "curves",
    "dots",
    "flat_map",
    "grid",
    "growth",
    "heat",
    "histogram",
    "intervals",
    "logarithmic",
    "one_picture",
    "overlay",
    "picture_and_bars",
    "plt",
    "png",
    "probability_bars",
    "reliability",
    "scatter_pictures",
    "show_pictures",
    "similarity_matrix",
    "style",
    "table",
    "tradeoff",
    "training",
]
