"""Pictures with captions: shards, random views, captions (notebooks 00 to 04)."""

from .captions import article, caption
from .dataset import Corpus, kind, load, photos_parts, without_silhouettes

__all__ = [
    "Corpus",
    "article",
    "caption",
    "kind",
    "load",
    "photos_parts",
    "without_silhouettes",
]
