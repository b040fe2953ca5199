"""The texts that teach ``pocket`` its words, and class means in place of photos."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import corpus
from .teachers import WordNet, imagenet_synsets, sentence_vectors

PHOTO = ("{}", "a photo of {}", "a picture of {}")
MOST_LEAVES = 130  # a parent above more ImageNet classes than this says too little


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


def imagenet_texts() -> tuple[list[str], list[list[int]]]:
    """Texts for the ImageNet classes and their WordNet parents.

    Returns the texts and, for each of the 1,000 classes, the rows of all texts that are
    true of it: its own lemmas and those of every parent that is not too general.
    """
    net, leaves = WordNet(), imagenet_synsets()
    below: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        for synset in sorted(net.ancestors(leaf)):
            below.setdefault(synset, []).append(index)
    texts: dict[str, int] = {}
    true: list[list[int]] = [[] for _ in leaves]
    for synset, classes in below.items():
        thing = "00001930" in net.ancestors(synset) and len(classes) <= MOST_LEAVES
        if synset not in leaves and not thing:
            continue
        for lemma in net.lemmas[synset]:
            row = texts.setdefault(lemma.lower(), len(texts))
            for index in classes:
                true[index].append(row)
    return list(texts), [sorted(set(rows)) for rows in true]


def word_texts() -> list[str]:
    """The words for the physical things of WordNet (no glosses: too slow)."""
    net = WordNet()
    lemmas = (w.lower() for s in net.physical() for w in net.lemmas[s][:2])
    return list(dict.fromkeys(lemmas))


class Texts:
    """The sentence vectors of all concepts, several wordings each, and of ImageNet."""

    def __init__(self, split: corpus.Corpus):
        table = concept_texts(split)
        flat = [t for rows in table.values() for t in rows]
        vectors = sentence_vectors(flat, "concepts")
        parts = vectors.split([len(rows) for rows in table.values()])
        self.index = {concept: i for i, concept in enumerate(table)}
        most = max(len(p) for p in parts)
        self.count = torch.tensor([len(p) for p in parts])
        self.vectors = torch.stack([F.pad(p, (0, 0, 0, most - len(p))) for p in parts])
        texts, self.true = imagenet_texts()
        self.imagenet = sentence_vectors(texts, "imagenet")
        self.hide = torch.zeros(1000, len(texts), dtype=torch.bool)
        for row, rows in enumerate(self.true):
            self.hide[row, rows] = True

    def wording(self, g: torch.Generator) -> Tensor:
        """One random wording per concept, (concepts, 384)."""
        pick = (torch.rand(len(self.count), generator=g) * self.count).long()
        return self.vectors[torch.arange(len(pick)), pick]


class ClassMeans:
    """Guess the mean feature of every ImageNet class from the classifier alone.

    For a linear discriminant the rows are S^-1 (class mean - mean), so the class mean
    lies along S row; S and the mean are taken from features of drawings.
    """

    def __init__(self, features: Tensor, classifier: nn.Linear):
        self.mean = features.mean(0)
        spread = features - self.mean
        S = spread.T @ spread / len(features)
        rows = classifier.weight.detach()
        self.way = rows @ S  # (1000, 1280)
        self.gain = (self.way * rows).sum(1)
        self.start = classifier.bias.detach() + rows @ self.mean
        self.spread = spread

    def draw(self, classes: Tensor, g: torch.Generator) -> Tensor:
        """(N,) classes -> (N, 1280) features with that class logit between 6 and 14."""
        n = len(classes)
        goal = torch.rand(n, generator=g) * 8 + 6
        far = (goal - self.start[classes]) / self.gain[classes]
        noise = self.spread[torch.randint(len(self.spread), (n,), generator=g)]
        size = 0.5 * torch.rand(n, 1, generator=g)
        out = self.mean + far[:, None] * self.way[classes] + size * noise
        return out.clamp(min=0)


def student_texts(split: corpus.Corpus) -> tuple[list[str], Tensor, Tensor]:
    """Texts of stage 2, their sentence vectors, and how often each is drawn.

    A Persian name has the vector of its English twin.
    """
    table = concept_texts(split)
    flat = [t for rows in table.values() for t in rows]
    imagenet, _ = imagenet_texts()
    words = word_texts()
    groups = [
        (flat, sentence_vectors(flat, "concepts"), 0.35),
        (imagenet, sentence_vectors(imagenet, "imagenet"), 0.12),
        (words, sentence_vectors(words, "words"), 0.3),
    ]
    lookup = dict(zip(flat, groups[0][1], strict=True))
    persian = {}
    for c in split.cards:
        if c.get("name_fa") and c["name"] in lookup:
            for form in ("{}", "یک {}", "عکس {}", "تصویری از {}"):
                persian[form.format(c["name_fa"])] = lookup[c["name"]]
            for word in c.get("keywords_fa", [])[:2]:
                persian.setdefault(f"{c['name_fa']}، {word}", lookup[c["name"]])
    groups.append((list(persian), torch.stack(list(persian.values())), 0.23))
    texts = [t for rows, _, _ in groups for t in rows]
    vectors = torch.cat([v for _, v, _ in groups])
    share = torch.cat([torch.full((len(r),), s / len(r)) for r, _, s in groups])
    return texts, vectors, share


def main() -> None:
    """Compute and cache every sentence vector (minutes)."""
    table = concept_texts(corpus.load("train", size=80))
    sentence_vectors([t for rows in table.values() for t in rows], "concepts")
    sentence_vectors(imagenet_texts()[0], "imagenet")
    print(len(imagenet_texts()[0]), "ImageNet texts")
    sentence_vectors(word_texts(), "words")


if __name__ == "__main__":
    main()
