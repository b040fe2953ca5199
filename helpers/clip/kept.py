"""Vectors of the held-out splits, kept in data/vectors so that a page need not wait.

They are a cache: what ``embed_images`` says of every picture of the split, a byte a
number; a cosine moves by less than 0.002.
``python -m helpers.workshop.vectors`` makes them again. A file that another model, or
another state of the pictures, has made is passed over, and the split is embedded now.
"""

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import corpus, paths, weights
from ..corpus.dataset import shards
from ..values import ready
from .embedder import Embedder

MODELS = ("pocket", "scratch")
SPLITS = ("unseen_artist", "unseen_concept", "photos")  # which no training saw


def embed_split(
    model: Embedder, split: str, again: bool = False, progress: bool = False
) -> Tensor:
    """Vectors of every picture of a corpus split, in its order -> (N, D).

    Read from data/vectors where this very model has seen these very pictures, else
    embedded now; they differ by less than 0.002. ``again``: embed in any case. Raises
    ValueError with one sentence for a damaged file or a split that is none.
    """
    path = file_of(ready(model))
    if not again and split in SPLITS and path.is_file():
        tensors, about = weights.read(path, "vectors")
        if about["model"] == model.fingerprint and about[split] == mark(split):
            return F.normalize(tensors[split].float(), dim=-1)
    return model.embed_images(corpus.load(split).pictures(), progress=progress)


def keep(model: Embedder) -> None:
    """Embed ``SPLITS`` and write the file that ``embed_split`` reads."""
    tensors, about = {}, {"kind": "vectors", "model": model.fingerprint}
    for split in SPLITS:
        exact = embed_split(model, split, again=True, progress=True)
        largest = exact.abs().amax(dim=1, keepdim=True)  # lengths are 1 when read
        tensors[split] = (127 * exact / largest).round().to(torch.int8)
        about[split] = mark(split)
    weights.save(file_of(model), tensors, about)


def file_of(model: Embedder):
    return paths.VECTORS / f"{model.name}.safetensors"


def mark(split: str) -> str:
    """What tells one state of a split from another: a hash of its shards."""
    whole = hashlib.sha256()
    for shard in shards(split):
        whole.update(shard.read_bytes())
    return whole.hexdigest()[:16]
