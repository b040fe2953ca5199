"""Does DALL-E 2 draw what it is told? ``python -m helpers.workshop.evaluate unclip``.

For each caption of ``drawn`` one sample: nothing is chosen.
"""

from ...dalle import unclip
from . import drawn


def show(models: list[str]) -> None:
    """Print the table; a last number asks for fewer seeds."""

    def draw(model, caption, seed):
        return model.draw(caption, seed)[0]

    drawn.show(models, "unclip", unclip.load, draw, "one sample")
