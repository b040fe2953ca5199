"""Text-to-image search over any collection (notebook 03)."""

from .index import DOUBT, Hit, ImageIndex, fits, neighbours, rank

__all__ = ["DOUBT", "Hit", "ImageIndex", "fits", "neighbours", "rank"]
