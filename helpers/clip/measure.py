"""How good is a CLIP: every figure of the README's table, on splits kept for this.

The splits ``unseen_artist``, ``unseen_concept`` and ``photos`` are for measuring alone:
no training sees them.
"""

import torch

from .. import corpus, metrics, paths
from . import zeroshot
from .embedder import Embedder, load

MEASURES = (
    "photos, 149-way top-1",
    "photos, 149-way top-5",
    "photos, 14-way balanced",
    "unseen artist R@1",
    "unseen artist R@10",
    "unseen concepts R@1",
    "unseen concepts R@10",
    "Persian R@10 over English",
    "cat / dog / human",
)


def photos(model: Embedder) -> dict[str, float]:
    split = corpus.load("photos")
    images = model.embed_images(split.pictures())
    out = {}
    for kind in ("fine", "coarse"):
        rows = [i for i, c in enumerate(split.cards) if c.get(kind)]
        names = sorted({split.cards[i][kind] for i in rows})
        labels = torch.tensor([names.index(split.cards[i][kind]) for i in rows])
        classes = zeroshot.classifier(model, names)
        if kind == "fine":
            for k in (1, 5):
                value = metrics.top_k(images[rows], classes, labels, k)
                out[f"photos, 149-way top-{k}"] = value
        else:
            guess = (images[rows] @ classes.T).argmax(1)
            out["photos, 14-way balanced"] = metrics.balanced_accuracy(guess, labels)
    return out


def artist(model: Embedder) -> dict[str, float]:
    """Caption -> picture over all OpenMoji concepts seen in training."""
    hidden = {c["concept"] for c in corpus.load("unseen_concept").cards}
    split = corpus.load("unseen_artist").select(lambda c: c["concept"] not in hidden)
    images = model.embed_images(split.pictures())
    ids = [c["concept"] for c in split.cards]
    out = {}
    rank = metrics.ranks(
        model.embed_texts([c["name"] for c in split.cards]),
        images,
        metrics.same(ids, ids),
    )
    out["unseen artist R@1"] = metrics.recall_at(rank, 1)
    out["unseen artist R@10"] = english = metrics.recall_at(rank, 10)
    rows = [i for i, c in enumerate(split.cards) if c.get("name_fa")]
    rank = metrics.ranks(
        model.embed_texts([split.cards[i]["name_fa"] for i in rows]),
        images,
        metrics.same([ids[i] for i in rows], ids),
    )
    persian = metrics.recall_at(rank, 10)
    out["Persian R@10 over English"] = persian / max(english, 1e-9)
    return out


def concepts(model: Embedder) -> dict[str, float]:
    """Caption -> picture over the unseen concepts as Noto draws them."""
    split = corpus.load("unseen_concept").select(lambda c: c["source"] == "noto")
    families = [c.get("family", c["concept"]) for c in split.cards]
    rank = metrics.ranks(
        model.embed_texts([c["name"] for c in split.cards]),
        model.embed_images(split.pictures()),
        metrics.same(families, families),
    )
    return {f"unseen concepts R@{k}": metrics.recall_at(rank, k) for k in (1, 10)}


def lesson(model: Embedder) -> dict[str, float]:
    """The example of the lesson: cat, dog, human, "a picture of a {}"."""
    names = ["cat", "dog", "human"]
    images = model.embed_images([paths.PHOTOS / f"{n}.jpg" for n in names])
    texts = model.embed_texts([f"a picture of a {n}" for n in names])
    right = ((images @ texts.T).argmax(1) == torch.arange(3)).float()
    return {"cat / dog / human": right.mean().item()}


def table(name: str) -> dict[str, float]:
    """All figures of one model, {measure: share}."""
    model = load(name)
    return photos(model) | artist(model) | concepts(model) | lesson(model)
