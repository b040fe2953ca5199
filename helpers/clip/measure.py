"""How good is a CLIP: every figure of the README's table, on splits kept for this.

No training sees the splits ``unseen_artist``, ``unseen_concept`` and ``photos``. On a
third of ``photos`` five numbers of ``pocket`` were chosen; "test" marks figures on the
other two thirds. "By chance": the calibration error of a perfectly honest model there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import corpus, metrics, paths
from ..corpus import colours
from . import zeroshot
from .embedder import Embedder, load

MEASURES = (
    "photos, 149-way top-1",
    "photos, 149-way top-5",
    "photos, 14-way balanced",
    "calibration, 149-way",
    "calibration by chance, 149-way",
    "calibration by chance, spread",
    "test photos, 149-way top-1",
    "test photos, 149-way top-5",
    "test photos, 14-way balanced",
    "test calibration, 149-way",
    "test calibration by chance, 149-way",
    "test calibration by chance, spread",
    "shipped photographs",
    "plain colours",
    "coloured shapes",
    "unseen artist R@1",
    "unseen artist R@10",
    "unseen concepts R@1",
    "unseen concepts R@10",
    "unseen concepts among all R@1",
    "unseen concepts among all R@10",
    "Persian R@10 over English",
    "cat / dog / human",
)
COLOURED = ("heart", "circle", "square", "book")
SHIPPED = {  # the photographs of data/photos, under their own names
    "cat": "cat",
    "coffee": "cup of coffee",
    "cow": "cow",
    "dog": "dog",
    "eiffel_tower": "Eiffel tower",
    "horse": "horse",
    "human": "human",
    "panda": "panda",
    "photographer": "photographer",
    "rocket": "rocket",
    "taj_mahal": "Taj Mahal",
    "windmill": "windmill",
}


KINDS = ("fine", "coarse")  # 149 names, 14 names


def photos(model: Embedder, split=None, kinds=KINDS) -> dict[str, float]:
    """Names of photographs: of all, or of ``split``; 149 fine names, 14 coarse ones."""
    split = split or corpus.load("photos")
    split = split.select(lambda c: any(c.get(k) for k in kinds))
    images = model.embed_images(split.pictures())
    return named(model, split.cards, images, kinds, chance=True)


def named(
    model, cards: list[dict], images, kinds=KINDS, chance: bool = False
) -> dict[str, float]:
    """Cards and vectors of photographs -> how often their names come first.

    All 149 and 14 names stand for choice, also where a part shows only some.
    ``chance``: also the calibration error that a perfectly honest model would show.
    """
    out, everyone = {}, corpus.load("photos").cards
    for kind in kinds:
        rows = [i for i, c in enumerate(cards) if c.get(kind)]
        names = sorted({c[kind] for c in everyone if c.get(kind)})
        labels = torch.tensor([names.index(cards[i][kind]) for i in rows])
        classes = zeroshot.classifier(model, names)
        if kind == "fine":
            for k in (1, 5):
                value = metrics.top_k(images[rows], classes, labels, k)
                out[f"photos, 149-way top-{k}"] = value
            sure = model.probabilities(images[rows], classes)
            out["calibration, 149-way"] = metrics.calibration(sure, labels)[1]
            if chance:
                luck, spread = metrics.calibration_by_chance(sure)
                out["calibration by chance, 149-way"] = luck
                out["calibration by chance, spread"] = spread
        else:
            guess = (images[rows] @ classes.T).argmax(1)
            out["photos, 14-way balanced"] = metrics.balanced_accuracy(guess, labels)
    return out


def photos_test(model: Embedder) -> dict[str, float]:
    """The same on the two thirds of ``photos`` that decide nothing."""
    found = photos(model, corpus.photos_parts()[1])
    return {f"test {key}": value for key, value in found.items()}


def shipped(model: Embedder) -> dict[str, float]:
    """How many of the shipped photographs get their own name of the twelve."""
    images = model.embed_images([paths.PHOTOS / f"{n}.jpg" for n in SHIPPED])
    classes = zeroshot.classifier(model, list(SHIPPED.values()))
    right = (images @ classes.T).argmax(1) == torch.arange(len(SHIPPED))
    return {"shipped photographs": right.float().mean().item()}


def coloured(model: Embedder) -> dict[str, float]:
    """Plain squares under 11 colours; OpenMoji's hearts, circles, squares and books.

    Each of those (26, none black or white) must get its own name among all of theirs.
    """
    count = len(colours.NAMES)
    squares = colours.PLAIN[:, :, None, None].expand(-1, -1, 64, 64)
    images = model.embed_images((squares * 255).round().to(torch.uint8))
    classes = zeroshot.classifier(model, colours.NAMES)
    right = (images @ classes.T).argmax(1) == torch.arange(count)
    out = {"plain colours": right.float().mean().item()}
    things = [f"{c} {thing}" for c in colours.NAMES[2:] for thing in COLOURED]
    split = corpus.load("unseen_artist").select(lambda c: c["name"] in things)
    images = model.embed_images(split.pictures())
    classes = zeroshot.classifier(model, [c["name"] for c in split.cards])
    right = (images @ classes.T).argmax(1) == torch.arange(len(images))
    out["coloured shapes"] = right.float().mean().item()
    return out


def artist(model: Embedder) -> dict[str, float]:
    """Caption -> picture over all OpenMoji concepts seen in training.

    Its other concepts, which no training saw, are looked for among all its pictures.
    """
    hidden = {c["concept"] for c in corpus.load("unseen_concept").cards}
    split = corpus.load("unseen_artist")
    ids = [c["concept"] for c in split.cards]
    images = model.embed_images(split.pictures())
    old = [i for i, concept in enumerate(ids) if concept not in hidden]
    new = [i for i, concept in enumerate(ids) if concept in hidden]
    persian = [i for i in old if split.cards[i].get("name_fa")]

    def ranks(rows, among, words: str) -> Tensor:
        texts = model.embed_texts([split.cards[i][words] for i in rows])
        same = metrics.same([ids[i] for i in rows], [ids[i] for i in among])
        return metrics.ranks(texts, images[among], same)

    out = {}
    known, hid = ranks(old, old, "name"), ranks(new, range(len(ids)), "name")
    for k in (1, 10):
        out[f"unseen artist R@{k}"] = metrics.recall_at(known, k)
        out[f"unseen concepts among all R@{k}"] = metrics.recall_at(hid, k)
    share = metrics.recall_at(ranks(persian, old, "name_fa"), 10)
    out["Persian R@10 over English"] = share / max(out["unseen artist R@10"], 1e-9)
    return out


def concepts(model: Embedder, images=None) -> dict[str, float]:
    """Caption -> picture over the unseen concepts as Noto draws them.

    ``images``: the vectors of the whole split, where they are known.
    """
    split = corpus.load("unseen_concept")
    rows = [i for i, c in enumerate(split.cards) if c["source"] == "noto"]
    cards = [split.cards[i] for i in rows]
    families = [c.get("family", c["concept"]) for c in cards]
    rank = metrics.ranks(
        model.embed_texts([c["name"] for c in cards]),
        model.embed_images(split.pictures(rows)) if images is None else images[rows],
        metrics.same(families, families),
    )
    return {f"unseen concepts R@{k}": metrics.recall_at(rank, k) for k in (1, 10)}


def lesson(model: Embedder) -> dict[str, float]:
    """The first photographs of 00: cat, dog, human, "a picture of a {}"."""
    names = ["cat", "dog", "human"]
    images = model.embed_images([paths.PHOTOS / f"{n}.jpg" for n in names])
    texts = model.embed_texts([f"a picture of a {n}" for n in names])
    right = ((images @ texts.T).argmax(1) == torch.arange(3)).float()
    return {"cat / dog / human": right.mean().item()}


def table(name: str) -> dict[str, float]:
    """All figures of one model, {measure: share}."""
    model = load(name)
    parts = photos, photos_test, shipped, coloured, artist, concepts, lesson
    return {key: value for part in parts for key, value in part(model).items()}


@torch.no_grad()
def ways(model: Embedder, pictures, batch: int = 64) -> dict[str, Tensor]:
    """Pictures with and without what ImageNet's classifier says: {way: (N, D)}.

    pictures: (N, 3, H, W) uint8. One look serves both: the image tower of ``pocket``
    adds what its ImageNet classes say (ConSE), and that part is taken off again. A
    model without such a part gives one row, "whole".
    """
    tower = model.model.visual
    if not hasattr(tower, "classes"):
        return {"whole": model.embed_images(pictures, batch)}
    kept, rows = [], {"with ImageNet": [], "without": []}
    sums = tower.register_forward_hook(lambda _, given, out: kept.append(out.float()))
    said = tower.classes.register_forward_hook(lambda _, given, out: kept.append(out))
    try:
        for part in pictures.split(batch):
            kept.clear()
            rows["with ImageNet"].append(model.embed_images(part, batch))
            said_part, whole = kept
            rows["without"].append(F.normalize(whole - said_part, dim=-1).cpu())
    finally:
        sums.remove()
        said.remove()
    return {name: torch.cat(parts) for name, parts in rows.items()}


def imagenet_names() -> set[str]:
    """Every name of ImageNet's 1,000 classes, in small letters."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [info.index_to_description(i) for i in range(1000)]
    return {one.lower() for every in names for one in every.split(", ")}
