"""Text-to-image search over any collection (notebook 03)."""

from .index import Hit, ImageIndex, neighbours, rank

__all__ = ["Hit", "ImageIndex", "neighbours", "rank"]
