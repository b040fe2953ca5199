"""CLIP: pictures and words in one space (notebooks 00 to 02)."""

from .embedder import Embedder, load
from .kept import embed_split
from .model import CLIP, Config, contrastive_loss, siglip_loss
from .where import where

__all__ = [
    "CLIP",
    "Config",
    "Embedder",
    "contrastive_loss",
    "embed_split",
    "load",
    "siglip_loss",
    "where",
]
