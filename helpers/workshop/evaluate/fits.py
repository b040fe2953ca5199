"""How often does the doubt of search err? ``python -m helpers.workshop.evaluate fits``.

Pictures are asked for by their own names, in collections of three sizes drawn by lot:
with the picture, where it comes first, and without all pictures that share a word with
the name. The cut was chosen on ``train``; the other two splits are looked at alone.
"""

import random
import re

import torch
from torch import Tensor
from tqdm import tqdm

from ... import clip, corpus
from ...search.doubt import FITS, fits

SIZES, MOST = (12, 100, 500), 500
SMALL = set("a of the with in on and".split())


def words(name: str) -> set[str]:
    return {re.sub("s$", "", w) for w in re.findall(r"\w+", name.lower())} - SMALL


def rates(model, vectors: Tensor, names: list[str], size: int) -> tuple[float, float]:
    """(right answers that are doubted, absent things that are not), as shares."""
    scores = vectors @ model.embed_texts(names).T  # (pictures, names)
    said = [words(name) for name in names]
    right, absent = [], []
    for n, own in enumerate(said):
        others = [i for i in range(len(names)) if not own & said[i]]
        rest = random.Random(n).sample(others, min(size - 1, len(others)))
        best = scores[rest, n].max()
        absent.append(fits(model, float(best)))
        if scores[n, n] >= best:
            right.append(not fits(model, float(scores[n, n])))
    return sum(right) / len(right), sum(absent) / len(absent)


def show(models: list[str]) -> None:
    """Print the table of models that have a cut."""
    for each in models:
        model = clip.load(each)
        if fits(model, 0.0) is None:
            raise ValueError(
                f"Nobody chose a cut for {each}; {', '.join(FITS)} has one."
            )
        for split in ("train", "unseen_artist", "photos"):
            cards = corpus.load(split, progress=False)
            rows = [n for n, c in enumerate(cards.cards) if c["source"] != "gameicons"]
            rows = random.Random(1).sample(rows, min(MOST, len(rows)))
            names = [cards.cards[n].get("fine") or cards.cards[n]["name"] for n in rows]
            parts = [model.embed_images(cards.pictures([n])) for n in tqdm(rows, split)]
            vectors = torch.cat(parts)
            for size in SIZES:
                doubted, passed = rates(model, vectors, names, size)
                print(
                    f"{each}, {split}, {size} pictures: right and doubted "
                    f"{doubted:.0%}; not there, and not doubted {passed:.0%}"
                )
