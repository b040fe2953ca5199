"""Checks for exercises, one file a page, and for "the helper is the same thing"."""

from .classifying import best_scale, ensemble, none_of_these, top_five
from .codes import keep_top_k, nearest_code, perplexity
from .compare import same
from .contrast import cosine_matrix, many_positives, retrieval
from .diffusing import better_of_two, ddim_step, text_diff
from .drawing import blocks, mirror_loss, palette_distance
from .dreaming import great_circle, prompt_loss, random_crops
from .machines import finish_time, image_share, whose_captions
from .searching import hit_rate, lists_to_read, mean_rank, mixed_query
from .streams import best_pictures, guided_probabilities, stream_loss

__all__ = [
    "best_pictures",
    "best_scale",
    "better_of_two",
    "blocks",
    "cosine_matrix",
    "ddim_step",
    "ensemble",
    "finish_time",
    "great_circle",
    "guided_probabilities",
    "hit_rate",
    "image_share",
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
    "stream_loss",
    "text_diff",
    "top_five",
    "whose_captions",
]
