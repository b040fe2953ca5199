"""Captions of the pictures: a fresh one each time, English or Persian."""

import random


def article(name: str) -> str:
    """ "a" or "an" before a name, nothing before a plural or a proper name."""
    first = name.split()[0] if name.split() else name
    if name.endswith("s") and not name.endswith(("ss", "us", "is")) or first.istitle():
        return name
    return f"an {name}" if first[:1].lower() in "aeiou" else f"a {name}"


def caption(card: dict, rng: random.Random, persian: float = 0.25) -> str:
    """One random caption of a picture: name, article, keywords, style, or Persian.

    ``persian``: how often (0 to 1) the Persian name is taken where there is one.
    """
    if card.get("name_fa") and rng.random() < persian:
        words = card.get("keywords_fa")
        if words and rng.random() < 0.25:
            return f"{card['name_fa']}، {rng.choice(words)}"
        return card["name_fa"]
    name, style = card["name"], card["style"]
    draw = rng.random()
    if card["source"] == "gameicons":  # so that "duck" alone is never a silhouette
        return f"black silhouette icon of {article(name)}"
    if draw < 0.35:
        return name
    if draw < 0.5:
        return article(name)
    if draw < 0.65:
        return f"a picture of {article(name)}"
    if draw < 0.8:
        return f"{style} of {article(name)}"
    words = card.get("keywords", [])
    if not words:
        return f"{name}, {style}"
    return f"{name}, " + ", ".join(rng.sample(words, min(len(words), 3)))
