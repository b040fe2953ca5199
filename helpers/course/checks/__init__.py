"""Checks for exercises, one file a page, and for "the helper is the same thing"."""

from .classifying import best_scale, ensemble, none_of_these, top_five
from .codes import keep_top_k, nearest_code, perplexity
from .compare import same
from .contrast import cosine_matrix, many_positives, retrieval
from .drawing import blocks, mirror_loss, palette_distance
from .dreaming import great_circle, prompt_loss, random_crops
from .searching import hit_rate, lists_to_read, mean_rank, mixed_query

__all__ = [
    "best_scale",
    "blocks",
    "cosine_matrix",
    "ensemble",
    "great_circle",
    "hit_rate",
    "keep_top_k",
    "lists_to_read",
    "many_positives",
    "mean_rank",
    "mirror_loss",
    "mixed_query",
    "nearest_code",
    "none_of_these",
    "palette_distance",
    "perplexity",
    "prompt_loss",
    "random_crops",
    "retrieval",
    "same",
    "top_five",
]
