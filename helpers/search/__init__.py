"""Text-to-image search over any collection (notebook 03)."""

from .ask import rank
from .doubt import DOUBT, fits
from .index import Hit, ImageIndex
from .nearest import neighbours

__all__ = ["DOUBT", "Hit", "ImageIndex", "fits", "neighbours", "rank"]
