"""Measure what we ship: ``python -m helpers.workshop.evaluate clip|vqgan|dream``.

The splits ``unseen_artist``, ``unseen_concept`` and ``photos`` are for this alone: no
training, tuning or seed picking sees them.
"""

import argparse

import torch

from .. import clip, corpus, metrics, paths, zeroshot

TARGETS = {  # what issue 2 asks for: (pocket, scratch)
    "photos, 149-way top-1": (0.65, 0.06),
    "photos, 149-way top-5": (0.85, 0.18),
    "photos, 14-way balanced": (0.85, 0.30),
    "unseen artist R@1": (0.35, 0.08),
    "unseen artist R@10": (0.65, 0.25),
    "unseen concepts R@1": (0.60, 0.30),
    "unseen concepts R@10": (0.88, 0.65),
    "Persian R@10 over English": (0.85, 0.60),
    "cat / dog / human": (1.0, None),
}


def photos(model: clip.Ready) -> dict[str, float]:
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


def artist(model: clip.Ready) -> dict[str, float]:
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


def concepts(model: clip.Ready) -> dict[str, float]:
    """Caption -> picture over the unseen concepts as Noto draws them."""
    split = corpus.load("unseen_concept").select(lambda c: c["source"] == "noto")
    families = [c.get("family", c["concept"]) for c in split.cards]
    rank = metrics.ranks(
        model.embed_texts([c["name"] for c in split.cards]),
        model.embed_images(split.pictures()),
        metrics.same(families, families),
    )
    return {f"unseen concepts R@{k}": metrics.recall_at(rank, k) for k in (1, 10)}


def lesson(model: clip.Ready) -> dict[str, float]:
    """The example of the lesson: cat, dog, human, "a picture of a {}"."""
    names = ["cat", "dog", "human"]
    images = model.embed_images([paths.PHOTOS / f"{n}.jpg" for n in names])
    texts = model.embed_texts([f"a picture of a {n}" for n in names])
    right = ((images @ texts.T).argmax(1) == torch.arange(3)).float()
    return {"cat / dog / human": right.mean().item()}


def clip_table(name: str) -> dict[str, float]:
    """All figures of one model, {measure: share}."""
    model = clip.load(name)
    return photos(model) | artist(model) | concepts(model) | lesson(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clip", "vqgan", "dream"])
    parser.add_argument("models", nargs="*")
    args = parser.parse_args()
    if args.what == "vqgan":
        from .evaluate_vqgan import show

        show(args.models or ["pocket"])
        return
    if args.what == "dream":
        from .evaluate_dream import show

        show(args.models or ["vqgan", "pixel"])
        return
    args.models = args.models or ["pocket", "scratch"]
    tables = {name: clip_table(name) for name in args.models}
    print(f"{'measure':28s}" + "".join(f"{name:>12s}{'asked':>8s}" for name in tables))
    for row in TARGETS:
        line = f"{row:28s}"
        for name, table in tables.items():
            goal = TARGETS[row][0 if name == "pocket" else 1]
            asked = "-" if goal is None else f"{100 * goal:.0f} %"
            line += f"{100 * table[row]:10.1f} %{asked:>8s}"
        print(line)


if __name__ == "__main__":
    main()
