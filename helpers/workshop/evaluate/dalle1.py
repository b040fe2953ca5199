"""Does DALL-E 1 draw what it is told? ``python -m helpers.workshop.evaluate dalle1``.

For each caption of ``drawn`` the best of sixteen, chosen by ``scratch``.
"""

from ... import clip
from ...dalle import dalle1
from . import drawn

DRAWN = 16


def show(models: list[str]) -> None:
    """Print the table; a last number asks for fewer seeds."""
    eyes = clip.load("scratch")

    def draw(model, caption, seed):
        return model.best_of(caption, DRAWN, eyes, seed=seed)[0][0]

    drawn.show(models, "dalle1", dalle1.load, draw, f"best of {DRAWN}")
