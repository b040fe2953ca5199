"""What one may ask a collection: one text, so many answers."""

from ..values import alike, ready, whole
from ..words import fold


def one_text(text, what: str) -> str | None:
    """A query's text after folding; ValueError with one sentence for a list."""
    if text is None or isinstance(text, str):
        return text and fold(text, persian=False)
    raise ValueError(
        f"{what} is one text, not {type(text).__name__}: search once for each."
    )


def at_least_one(what: str, value) -> int:
    """How many answers are wanted; as many as there are come back."""
    return whole(what, value, 1, 2**100)


def rank(model, vectors, text: str, count: int) -> tuple[list[int], list[float]]:
    """Indices and cosines of the ``count`` pictures that fit a text best.

    Raises ValueError or TypeError with one sentence.
    """
    query, vectors = alike(ready(model).embed_texts([text])[0], vectors)
    scores = vectors @ query
    best = scores.topk(min(at_least_one("count", count), len(scores)))
    return best.indices.tolist(), best.values.tolist()
