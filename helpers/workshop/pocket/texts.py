"""The texts that teach ``pocket`` its words."""

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus
from ..teachers import WordNet, imagenet_synsets, sentence_vectors

PHOTO = ("{}", "a photo of {}", "a picture of {}")
WHITE = 0.2  # 0 leaves the sentence vectors as they are, 0.5 whitens them
OWN = 3.0  # how much a class's own names are used (imagenet_texts)
MOST_LEAVES = 400  # a parent above more ImageNet classes than "animal" says too little


def concept_texts(split: corpus.Corpus) -> dict[str, list[str]]:
    """Per concept the English texts that may stand for it (name, article, keywords)."""
    table: dict[str, list[str]] = {}
    for c in split.cards:
        name = c["name"]
        rows = table.setdefault(c["concept"], [])
        if c["source"] == "gameicons" and c["concept"].startswith("w:"):
            texts = [f"black silhouette icon of {corpus.article(name)}"]
        else:
            texts = [name, corpus.article(name), f"a picture of {corpus.article(name)}"]
            texts += [f"{c['style']} of {corpus.article(name)}"]
            if c.get("keywords"):
                texts.append(f"{name}, " + ", ".join(c["keywords"][:3]))
        rows += [t for t in texts if t not in rows]
    return table


def imagenet_texts() -> tuple[list[str], list[list[int]], list[list[float]]]:
    """Texts for the ImageNet classes and their WordNet parents.

    Returns the texts; for each of the 1,000 classes the rows of all texts that are true
    of it (its own lemmas and those of every parent that is not too general); and how
    much each of them is used: the names of the class itself, and of its parents the
    words that people use and that say something, "dog" rather than "canid" or "animal"
    (information content, Resnik 1995: the fewer classes it covers, the more it says).
    """
    net, leaves = WordNet(), imagenet_synsets()
    below: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        for synset in sorted(net.ancestors(leaf)):
            below.setdefault(synset, []).append(index)
    texts: dict[str, int] = {}
    true: list[dict[int, float]] = [{} for _ in leaves]
    for synset, classes in below.items():
        thing = "00001930" in net.ancestors(synset) and len(classes) <= MOST_LEAVES
        if synset not in leaves and not thing:
            continue
        tells = 1 - math.log(len(classes)) / math.log(len(leaves))  # 0 to 1
        for lemma in net.lemmas[synset]:
            row = texts.setdefault(lemma.lower(), len(texts))
            often = math.log2(1 + net.counts.get((synset, lemma.lower()), 0))
            for index in classes:
                own = OWN if leaves[index] == synset else 0.0
                weight = max(tells * often, own, true[index].get(row, 0.0))
                true[index][row] = weight
    rows = [sorted(found) for found in true]
    weight = [[found[r] for r in sorted(found)] for found in true]
    return list(texts), rows, weight


def word_texts() -> list[str]:
    """The words for the physical things of WordNet (no glosses: too slow).

    Words with a capital are left out: they are people, places and Latin species.
    """
    net = WordNet()
    lemmas = (w for s in net.physical() for w in net.lemmas[s][:2])
    return list(dict.fromkeys(w for w in lemmas if w.islower()))


def spread(vectors: Tensor, table: dict[str, list[str]]) -> Tensor:
    """Sentence vectors (N, 384) made more telling, at length 1 again.

    What all concept names share is taken away (their mean), and what they have much of
    is shrunk: each principal axis is divided by the power ``WHITE`` of its variance.
    Sentence encoders spend few axes on most of what they say; without this the angles
    between names are narrow, and the nearest picture is seldom the right one.
    """
    flat = [t for rows in table.values() for t in rows]
    names = [rows[0] for rows in table.values()]
    at = {text: i for i, text in enumerate(flat)}
    names = sentence_vectors(flat, "concepts")[[at[n] for n in names]]
    mean = names.mean(0)
    names = F.normalize(names - mean, dim=-1)
    variance, axes = torch.linalg.eigh(names.T @ names / len(names))
    whiten = axes * variance.clamp(min=1e-4) ** -WHITE @ axes.T
    return F.normalize(F.normalize(vectors - mean, dim=-1) @ whiten, dim=-1)


def phrases(split: corpus.Corpus, count: int, seed: int = 7) -> list[str]:
    """Random compositions of caption words, so that new names find their place."""
    rng = random.Random(seed)
    names = sorted({c["name"].lower() for c in split.cards})
    words = sorted({w for n in names for w in n.split() if w.isalpha() and len(w) > 2})
    forms = (
        "{w} {v}",
        "{w} {n}",
        "{n} {w}",
        "{n} with {m}",
        "{n} and {m}",
        "{c} {n}",
        "man {w}",
        "woman {w}",
        "person {n}",
        "{n} face",
        "{w} {v} {n}",
        "{n} in {m}",
        "a photo of a {w} {n}",
        "{n}, {w}",
    )
    colours = "red orange yellow green blue purple pink brown black white grey".split()
    out = {}
    while len(out) < count:
        text = rng.choice(forms).format(
            w=rng.choice(words),
            v=rng.choice(words),
            n=rng.choice(names),
            m=rng.choice(names),
            c=rng.choice(colours),
        )
        out[text] = None
    return list(out)


class Texts:
    """The vectors of all concepts, several wordings each, and of ImageNet's names."""

    def __init__(self, split: corpus.Corpus):
        table = concept_texts(split)
        self.flat = [t for rows in table.values() for t in rows]
        self.index = {concept: i for i, concept in enumerate(table)}
        self.count = torch.tensor([len(rows) for rows in table.values()])
        self.names, self.true, self.weight = imagenet_texts()
        self.set(
            spread(sentence_vectors(self.flat, "concepts"), table),
            spread(sentence_vectors(self.names, "imagenet"), table),
        )

    def set(self, vectors: Tensor, imagenet: Tensor) -> None:
        """Vectors of all wordings and of ImageNet's names, (texts, 384) each.

        At first those of the sentence encoder; later those of the text tower itself.
        """
        parts, most = vectors.split(self.count.tolist()), int(self.count.max())
        self.vectors = torch.stack([F.pad(p, (0, 0, 0, most - len(p))) for p in parts])
        self.imagenet = imagenet

    def wording(self, g: torch.Generator) -> Tensor:
        """One random wording per concept, (concepts, 384)."""
        pick = (torch.rand(len(self.count), generator=g) * self.count).long()
        return self.vectors[torch.arange(len(pick)), pick]


def student_texts(split: corpus.Corpus) -> tuple[list[str], Tensor, Tensor]:
    """Texts of stage 2, their sentence vectors, and how often each is drawn.

    A Persian name has the vector of its English twin.
    """
    table = concept_texts(split)
    flat = [t for rows in table.values() for t in rows]
    imagenet, _, _ = imagenet_texts()
    words, mixed = word_texts(), phrases(split, 40_000)
    groups = [
        (flat, sentence_vectors(flat, "concepts"), 0.25),
        (imagenet, sentence_vectors(imagenet, "imagenet"), 0.1),
        (words, sentence_vectors(words, "words"), 0.3),
        (mixed, sentence_vectors(mixed, "phrases"), 0.15),
    ]
    lookup = dict(zip(flat, groups[0][1], strict=True))
    persian = {}
    for c in split.cards:
        if c.get("name_fa") and c["name"] in lookup:
            for form in ("{}", "یک {}", "عکس {}", "تصویری از {}"):
                persian[form.format(c["name_fa"])] = lookup[c["name"]]
            for word in c.get("keywords_fa", [])[:2]:
                persian.setdefault(f"{c['name_fa']}، {word}", lookup[c["name"]])
    groups.append((list(persian), torch.stack(list(persian.values())), 0.2))
    texts = [t for rows, _, _ in groups for t in rows]
    vectors = spread(torch.cat([v for _, v, _ in groups]), table)
    share = torch.cat([torch.full((len(r),), s / len(r)) for r, _, s in groups])
    return texts, vectors, share


def main() -> None:
    """Compute and cache every sentence vector (minutes)."""
    split = corpus.load("train", size=80)
    table = concept_texts(split)
    sentence_vectors([t for rows in table.values() for t in rows], "concepts")
    sentence_vectors(imagenet_texts()[0], "imagenet")
    print(len(imagenet_texts()[0]), "ImageNet texts")
    sentence_vectors(word_texts(), "words")
    sentence_vectors(phrases(split, 40_000), "phrases")


if __name__ == "__main__":
    main()
