"""The captions that the small DALL-Es learn from, drawn once by a seed.

Every drawing has captions as it is, and captions for a few turns of its hue; coloured
shapes are added. Written to a JSON file, for the same captions serve both models.
"""

import argparse
import json
import random

import torch

from .. import corpus, paths, weights
from ..corpus import colours, painted
from ..dalle import drawings, unclip

AS_IS, TURNS, TURNED = 16, 4, 6  # captions as it is, turns, captions for each turn
SHAPES = 1200
VIEWS = 8  # views of a drawing as it is; a quarter of them of each turn


def wording(card: dict, rng: random.Random, persian: float = 0.2) -> str:
    """A caption of a drawing; a third name its style."""
    if card.get("name_fa") and rng.random() < persian:
        return card["name_fa"]
    name, draw = card["name"], rng.random()
    words = card.get("keywords", [])
    if draw < 0.2:
        return name
    if draw < 0.4:
        return corpus.article(name)
    if draw < 0.53:
        return f"a picture of {corpus.article(name)}"
    if draw < 0.9 or not words:
        return f"{card['style']} of {corpus.article(name)}"
    return f"{name}, " + ", ".join(rng.sample(words, min(2, len(words))))


def build(
    split: corpus.Corpus, seed: int = 0, shapes: int = SHAPES, most: int = TURNS
) -> dict:
    """{"turns": [[0, t ...] ...], "captions": [[[text ...] ...] ...]}, a row a drawing.

    ``captions[i][k]`` fit drawing i turned by ``turns[i][k]``, ``most`` turns of its
    hue at most. "shapes" holds the
    captions of as many coloured shapes, which ``painted.plain_shapes`` draws by the
    same seed.
    """
    rng = random.Random(seed)
    paint = painted.Painted(split, "cpu", seed)
    paint.rng = rng
    turns, captions = [], []
    for i, card in enumerate(split.cards):
        rows, steps = [[wording(card, rng) for _ in range(AS_IS)]], [0]
        at = int(paint.table[i, 0])
        if at >= 0 and not painted.colour_word(card["name"]):  # its own colour, told
            rows[0][-4:] = [told(paint, i, at, rng) for _ in range(4)]
        seen = {at, -1}
        for step in rng.sample(range(1, colours.TURNS), colours.TURNS - 1):
            at = int(paint.table[i, step])
            name = at not in seen and paint.name(i, colours.NAMES[at])
            if name and len(steps) <= most:
                seen.add(at)
                steps.append(step)
                rows.append([told(paint, i, at, rng) for _ in range(TURNED)])
        turns.append(steps)
        captions.append(rows)
    g = torch.Generator().manual_seed(seed)
    draw = random.Random(seed)
    _, texts, _ = painted.plain_shapes(shapes, 16, paint.hidden, draw, g)
    return {"turns": turns, "captions": captions, "shapes": texts, "seed": seed,
            "ids": [c["id"] for c in split.cards]}  # fmt: skip


def wordings(book: dict) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """All captions of the album, each once: (texts, which of them (N,), spans (E, 2)).

    The N captions stand entry by entry, shapes last; a span says where those of an
    entry begin and how many there are.
    """
    rows = [row for drawing in book["captions"] for row in drawing]
    rows += [[text] for text in book["shapes"]]
    texts = [text for row in rows for text in row]
    known = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    counts = torch.tensor([len(row) for row in rows])
    spans = torch.stack([counts.cumsum(0) - counts, counts], 1)
    return list(known), torch.tensor([known[text] for text in texts]), spans


def entries(book: dict, device, views: int = VIEWS):
    """Each drawing with each of its turns, an entry; and the views to make of them.

    Returns (drawing, turn) of every entry, and the entry of every view: ``views`` of a
    drawing as it is, a quarter of them of each turn.
    """
    rows, steps, copies = [], [], []
    for i, turns in enumerate(book["turns"]):
        rows += [i] * len(turns)
        steps += turns
        copies += [views] + [max(1, views // 4)] * (len(turns) - 1)
    which = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(copies))
    rows, steps = (torch.tensor(n, device=device) for n in (rows, steps))
    return rows, steps, which


def worth(split, book: dict, four: float = 1.0, turned: float = 1.0) -> torch.Tensor:
    """How often each entry of the album is drawn, by chance, against the others.

    Turned drawings count half, clip art, which is of all kinds, two fifths. ``four``:
    times as much for the hands that DALL-E 2 knows, ``turned``: for all that is turned.
    """
    out = []
    for card, turns in zip(split.cards, book["turns"], strict=True):
        many = 0.4 if card["source"] == "openclipart" else 1.0
        many *= four if card["style"] in unclip.HANDS else 1.0
        out += [many] + [turned * many / 2] * (len(turns) - 1)
    return torch.tensor(out + [0.5] * len(book["shapes"]))


def told(paint, i: int, at: int, rng: random.Random) -> str:
    """A caption that names the colour."""
    card = paint.cards[i]
    name = paint.name(i, colours.NAMES[at])
    if name is None:
        return wording(card, rng)
    word = painted.colour_word(card["name"])
    if card.get("name_fa") and not word and rng.random() < 0.2:
        return f"{card['name_fa']} {colours.NAMES_FA[at]}"
    return painted.phrase(name, rng, card["style"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    try:  # before the work, not after it
        out = paths.given(parser.parse_args().out)
        weights.check_writable(out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    _, shown, _ = drawings.load()
    out.write_text(json.dumps(build(shown), ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
