"""The texts that teach ``pocket`` its words, and the vectors that they shall get.

Dims: N texts, D the 384 numbers of a sentence vector.
"""

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus
from ...corpus import colours
from ...corpus.painted import colour_word
from ..teachers import PHYSICAL, MiniLM, WordNet, carried_texts, imagenet_synsets

WHITE = 0.2  # 0 leaves the sentence vectors as they are, 0.5 whitens them
OWN = 3.0  # how much a class's own names are used (imagenet_texts)
MOST_LEAVES = 400  # a parent above more ImageNet classes than "animal" says too little
PARTS = 0.4  # how much the parts of a composed text are added to its sentence vector
GLOSS = 0.7  # how much WordNet's explanation of a thing is added to its names
STYLES = (
    "an oil painting,a watercolour,a pencil drawing,a sketch,a photograph,a photo,"
    "a cartoon,clip art,an emoji,pixel art,a stained glass window,a poster,a portrait,"
    "an icon,a 3-D render,a black and white photo,a mosaic,a postage stamp,graffiti,"
    "a children's drawing,an illustration,a statue,a toy,a logo"
).split(",")
STYLES_FA = {
    "نقاشی رنگ روغن": "an oil painting",
    "عکس": "a photo",
    "نقاشی": "a painting",
    "طراحی": "a sketch",
    "کارتون": "a cartoon",
    "پرتره": "a portrait",
}
WHERE = (
    "in front of,next to,beside,with,on,under,behind,near,holding,inside,above"
).split(",")


def silhouettes(split: corpus.Corpus) -> list[dict]:
    """The cards of the black icons: their words are learnt without their pictures."""
    if packed := carried_texts():
        return packed["silhouettes"]
    keys = ("source", "name", "concept", "style")
    found = [c for c in split.cards if c["source"] == "gameicons"]
    return [{k: c[k] for k in keys} for c in found]


def glosses(names: list[str]) -> dict[str, str]:
    """What WordNet says of the things among ``names``: {"otter": "otter: freshwater
    carnivorous mammal having ..."}. Names of colours stay colours: as a thing "pink" is
    a flower, and "white" a person.
    """
    names = [name for name in names if name not in colours.NAMES]
    if packed := carried_texts():
        return {n: packed["glosses"][n] for n in names if n in packed["glosses"]}
    net = WordNet()
    found = {name: net.thing(name) for name in names}
    return {n: f"{n}: {net.gloss[thing]}" for n, thing in found.items() if thing}


def concept_texts(cards: list[dict], about=None) -> dict[str, list[str]]:
    """Per concept the English texts that may stand for it (name, article, keywords).

    ``about``: {text: the things that it names}, which is filled.
    """
    table: dict[str, list[str]] = {}
    for c in cards:
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
        if about is not None:
            about |= dict.fromkeys(texts, [name])
    return table


def imagenet_texts() -> tuple[list[str], list[list[int]], list[list[float]]]:
    """Texts for the ImageNet classes and their WordNet parents.

    Returns the texts; for each of the 1,000 classes the rows of all texts that are true
    of it (its own lemmas and those of every parent that is not too general); and how
    much each of them is used: the names of the class itself, and of its parents the
    words that people use and that say something, "dog" rather than "canid" or "animal"
    (information content, Resnik 1995: the fewer classes it covers, the more it says).
    """
    if packed := carried_texts():
        return packed["imagenet"], packed["true"], packed["weight"]
    net, leaves = WordNet(), imagenet_synsets()
    below: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        for synset in sorted(net.ancestors(leaf)):
            below.setdefault(synset, []).append(index)
    texts: dict[str, int] = {}
    true: list[dict[int, float]] = [{} for _ in leaves]
    for synset, classes in below.items():
        thing = PHYSICAL in net.ancestors(synset) and len(classes) <= MOST_LEAVES
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
    if packed := carried_texts():
        return packed["words"]
    net = WordNet()
    lemmas = (w for s in net.physical() for w in net.lemmas[s][:2])
    return list(dict.fromkeys(w for w in lemmas if w.islower()))


class Spread:
    """Makes sentence vectors (N, D) more telling, at length 1 again.

    What all concept names share is taken away (their mean), and what they have much of
    is shrunk: each principal axis is divided by the power ``WHITE`` of its variance.
    Sentence encoders spend few axes on most of what they say; without this the angles
    between names are narrow, and the nearest picture is seldom the right one.
    """

    def __init__(self, names: Tensor):
        self.mean = names.mean(0)
        names = F.normalize(names - self.mean, dim=-1)
        variance, axes = torch.linalg.eigh(names.T @ names / len(names))
        self.whiten = axes * variance.clamp(min=1e-4) ** -WHITE @ axes.T

    def __call__(self, vectors: Tensor) -> Tensor:
        vectors = F.normalize(vectors - self.mean, dim=-1)
        return F.normalize(vectors @ self.whiten, dim=-1)


def phrases(cards: list[dict], count: int, about=None, seed: int = 7) -> list[str]:
    """Random compositions of caption words, so that new names find their place."""
    rng = random.Random(seed)
    names = sorted({c["name"].lower() for c in cards})
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
    out = {}
    while len(out) < count:
        form, n, m = rng.choice(forms), rng.choice(names), rng.choice(names)
        w, v = rng.choice(words), rng.choice(words)
        text = form.format(w=w, v=v, n=n, m=m, c=rng.choice(colours.NAMES))
        out[text] = None
        if about is not None:
            about[text] = [t for k, t in (("{n}", n), ("{m}", m)) if k in form]
    return list(out)


def composed(
    cards: list[dict],
    count: int,
    hidden=frozenset(),
    more=("thing",),
    about=None,
    seed: int = 8,
) -> tuple[list[str], list[list[str]]]:
    """Texts of several parts, and the parts of each: what a long prompt consists of.

    Two objects, colour + object, style + object, portraits with a ground. ``hidden``
    names are never composed; ``more``: things that no drawing shows (one in five).
    ``about``: {text: the things that it names}, which is filled.
    """
    rng = random.Random(seed)
    names = sorted({c["name"].lower() for c in cards} - hidden)
    a, used = corpus.article, []

    def thing(colour: float) -> tuple[str, list[str]]:
        name = rng.choice(more if rng.random() < 0.2 else names)
        used.append(name)
        if about is not None:
            about[a(name)] = about[name] = [name]
        if rng.random() < colour and not colour_word(name):
            word = rng.choice(colours.NAMES)
            if f"{word} {name}" not in hidden:
                return a(f"{word} {name}"), [word, name]
        return a(name), [a(name)]

    out: dict[str, list[str]] = {}
    while len(out) < count:
        kind = rng.random()
        used.clear()
        one, first = thing(0.4)
        two, second = thing(0.3)
        style = rng.choice(STYLES)
        ground = rng.choice(colours.NAMES)
        if kind < 0.2:
            used.clear()
            one, first = thing(1.0)
            text = rng.choice(("{}", "a picture of {}", "a photo of {}")).format(one)
            parts = first
            if rng.random() < 0.5:
                text = text.removeprefix("a ").removeprefix("an ")
        elif kind < 0.42:
            form = rng.choice(("{} and {}", "{} and {}", "a picture of {} and {}"))
            text, parts = form.format(one, two), first + second
        elif kind < 0.55:
            text, parts = f"{one} {rng.choice(WHERE)} {two}", first + second
        elif kind < 0.7:
            text, parts = f"{style} of {one}", [style, *first]
            del used[1:]
        elif kind < 0.78:
            forms = "{} on a {} background", "{} on {}", "{}, {} background"
            text, parts = rng.choice(forms).format(one, ground), [*first, ground]
            del used[1:]
        elif kind < 0.93:
            text = f"{style} of {one} {rng.choice(WHERE)} {two}"
            parts = [style, *first, *second]
            if rng.random() < 0.3:
                text, parts = f"{text}, {ground} background", [*parts, ground]
        else:
            three, third = thing(0.3)
            text, parts = f"{one}, {two} and {three}", first + second + third
        out[text] = parts
        if about is not None:
            about[text] = list(used)
    return list(out), list(out.values())


def persian(cards: list[dict], count: int, about=None, seed: int = 9) -> dict[str, str]:
    """Persian texts and their English twins: all names, then ``count`` composed."""
    rng, out = random.Random(seed), {}
    cards = [c for c in cards if c.get("name_fa")]
    for c in cards:
        for form in ("{}", "یک {}", "عکس {}", "تصویری از {}"):
            out[form.format(c["name_fa"])] = c["name"]
        for word in c.get("keywords_fa", [])[:2]:
            out.setdefault(f"{c['name_fa']}، {word}", c["name"])
    pairs = dict(zip(colours.NAMES_FA, colours.NAMES, strict=True))
    for fa, en in pairs.items():
        out |= {fa: en, f"رنگ {fa}": en}
    for _ in range(count if cards else 0):
        c, d = rng.choice(cards), rng.choice(cards)
        one, two = c["name"].lower(), d["name"].lower()
        fa, en = rng.choice(list(pairs.items()))
        kind = rng.random()
        before = len(out)
        if kind < 0.5 and not colour_word(one):
            out[f"{c['name_fa']} {fa}"] = f"{en} {one}"
        elif kind < 0.75:
            out[f"{c['name_fa']} و {d['name_fa']}"] = (
                f"{corpus.article(one)} and {corpus.article(two)}"
            )
        elif kind < 0.9:
            style, twin = rng.choice(list(STYLES_FA.items()))
            out[f"{style} {c['name_fa']}"] = f"{twin} of {corpus.article(one)}"
        else:
            out[f"{c['name_fa']} روی زمینه {fa}"] = (
                f"{corpus.article(one)} on a {en} background"
            )
        if about is not None and len(out) > before:
            both = 0.5 <= kind < 0.75
            about[next(reversed(out.values()))] = [one, two] if both else [one]
    return out


class Lesson:
    """All texts of the text tower's training, their goals, and how often each is drawn.

    ``texts`` (N), ``goal`` (N, D) on the device of ``read``, ``share`` (N,). A Persian
    text has the goal of its English twin; a composed text also leans to its parts, and
    each text to what WordNet says of the things that it names (K-LITE, Shen et al.
    2022): that a puma is a "large American feline" helps to find one never seen.
    """

    def __init__(self, cards, icons, read: MiniLM, hidden=frozenset(), size: int = 1):
        about: dict[str, list[str]] = {}
        table = concept_texts([*cards, *icons], about)
        names = [rows[0] for rows in table.values()]
        flat = list(dict.fromkeys(t for rows in table.values() for t in rows))
        self.spread = Spread(read(names))
        words = word_texts()
        things = [w for w in words if w not in hidden]
        whole, parts = composed(cards, 160_000 // size, hidden, things, about)
        twins = persian(cards, 40_000 // size, about)
        single = [*imagenet_texts()[0], *words]
        about |= {t: [t] for t in single if t not in about}
        groups = [
            (flat, 0.2),
            (imagenet_texts()[0][::size], 0.08),
            (words[::size], 0.2),
            (phrases(cards, 40_000 // size, about), 0.1),
            (colours.NAMES, 0.01),
            (whole, 0.25),
            (list(twins), 0.16),
        ]
        known = list(dict.fromkeys(t for rows, _ in groups[:-1] for t in rows))
        more = {t for rows in parts for t in rows} | set(twins.values())
        known += sorted(more - set(known))
        at = {t: i for i, t in enumerate(known)}
        vectors = self.spread(read(known))
        vectors = self.explain(vectors, [about.get(t, []) for t in known], read)
        pieces = torch.tensor([at[t] for rows in parts for t in rows])
        owner = torch.tensor([n for n, rows in enumerate(parts) for _ in rows])
        device = vectors.device
        sums = torch.zeros(len(whole), vectors.shape[1], device=device)
        sums.index_add_(0, owner.to(device), vectors[pieces.to(device)])
        rows = torch.tensor([at[t] for t in whole], device=device)
        leaned = vectors[rows] + PARTS * F.normalize(sums, dim=-1)
        vectors[rows] = F.normalize(leaned, dim=-1)
        self.texts = [t for rows, _ in groups for t in rows]
        which = [at[twins.get(t, t)] for t in self.texts]
        self.goal = vectors[torch.tensor(which, device=device)]
        self.share = torch.cat([torch.full((len(r),), s / len(r)) for r, s in groups])

    def explain(self, vectors: Tensor, things: list[list[str]], read) -> Tensor:
        """Lean the vector (N, D) of each text to what is said of the things in it."""
        said = glosses(sorted({name for names in things for name in names}))
        at = {name: i for i, name in enumerate(said)}
        told = read(list(said.values()))
        told = Spread(told)(told)
        rows = [[at[n] for n in names if n in at] for names in things]
        pieces = torch.tensor([i for r in rows for i in r], device=vectors.device)
        owner = torch.tensor([n for n, r in enumerate(rows) for _ in r])
        sums = torch.zeros_like(vectors)
        sums.index_add_(0, owner.to(vectors.device), told[pieces])
        return F.normalize(vectors + GLOSS * F.normalize(sums, dim=-1), dim=-1)
