"""The texts that teach ``pocket`` its words, in three groups."""

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
        for synset in net.ancestors(leaf):
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
    """Words and glosses of the physical things of WordNet."""
    net = WordNet()
    texts = {}
    for synset in net.physical():
        for lemma in net.lemmas[synset][:2]:
            texts[lemma.lower()] = None
        texts[f"{net.lemmas[synset][0].lower()}: {net.gloss[synset]}"[:120]] = None
    return list(texts)


def main() -> None:
    """Compute and cache every sentence vector (minutes)."""
    table = concept_texts(corpus.load("train", size=80))
    sentence_vectors([t for rows in table.values() for t in rows], "concepts")
    sentence_vectors(imagenet_texts()[0], "imagenet")
    print(len(imagenet_texts()[0]), "ImageNet texts")
    sentence_vectors(word_texts(), "words")


if __name__ == "__main__":
    main()
