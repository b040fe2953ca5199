"""Make ``pocket`` from what the recipe learnt, and make the last choices.

``python -m helpers.workshop.pocket.choice FILE.safetensors`` reads NAME.words and
NAME.eyes beside FILE, adds ImageNet's weights, and chooses on photos_dev and on the
drawings that training kept back: how much of the tuning stays (WiSE-FT, Wortsman et al.
2022), how loud ImageNet's classes and the colours are, and the temperature.
"""

import argparse
import itertools
import json
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from ... import corpus, metrics, paths, weights
from ...clip import CLIP, Config, Embedder, fast, files, zeroshot
from ...clip.measure import named
from ...clip.tokenizer import Tokenizer
from ...corpus import colours, painted
from ..evaluate.clip import finish
from ..teachers import imagenet_trunk
from .eyes import look
from .head import class_words
from .texts import imagenet_texts

TUNED = (0.5, 0.6, 0.75, 1.0)  # share of the tuning that stays
GAINS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5)  # of ImageNet's classes
SHARP = (0.75, 1.0, 1.5)  # times the sharpness that was learnt
LOUD = (0.5, 0.75, 1.0)  # of the colours


def parts(out: Path) -> tuple[CLIP, Tokenizer, dict, dict]:
    """The model as trained, its tokenizer, the card, and where ``proj`` started."""
    found = {}
    for part in ("words", "eyes"):
        path = out.with_name(f"{out.stem}.{part}.safetensors")
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            found |= {key: file.get_tensor(key) for key in file.keys()}
    pairs = files.merges(found.pop("tokenizer.merges"), path)
    start = {k: found.pop(k).float() for k in list(found) if k.startswith("start.")}
    config = Config(**json.loads(metadata["config"]))
    model = CLIP(config)
    model.visual.trunk = imagenet_trunk().eval()
    fast.fold(model.visual.trunk)
    model.visual.copy_late()
    trunk = {f"visual.trunk.{k}": v for k, v in model.visual.trunk.state_dict().items()}
    weights.load_state(model, found | trunk, out.name)
    tokenizer = Tokenizer(pairs, config.context)
    return model.eval(), tokenizer, json.loads(metadata["card"]), start


@torch.no_grad()
def keep_share(tower, start: dict, share: float) -> None:
    """Take back all but ``share`` of what the tuning changed, in place."""
    now = {k: v.clone() for k, v in tower.tuned.state_dict().items()}
    proj = {k: v.clone() for k, v in tower.proj.state_dict().items()}
    tower.copy_late()
    for key, value in tower.tuned.state_dict().items():
        if value.is_floating_point():
            value.lerp_(now[key], share)
    for key, value in tower.proj.state_dict().items():
        value.copy_(start[f"start.{key}"].lerp(proj[key], share))


def shades(count: int = 110) -> tuple[Tensor, Tensor]:
    """Plain pictures in shades of all colours, (N, 4, 64, 64) uint8, and which."""
    which = torch.arange(count) % len(colours.NAMES)
    paint = painted.shades(which, torch.Generator().manual_seed(5))
    rgba = (paint[:, :, None, None].expand(-1, -1, 64, 64) * 255).to(torch.uint8)
    return torch.cat([rgba, torch.full_like(rgba[:, :1], 255)], 1), which


def turned(split, count: int = 2) -> tuple[Tensor, list[list[str]], Tensor]:
    """Drawings turned in hue: (N, 4, S, S) uint8, their 11 names, the right one (N,).

    Up to ``count`` turns of each drawing, none that makes a hidden concept.
    """
    make = painted.Painted(split, "cpu")
    rng, rows = random.Random(0), []
    for i, card in enumerate(make.table.tolist()):
        names = [make.name(i, colour) for colour in colours.NAMES]
        turns = [t for t in range(1, len(card)) if card[t] >= 0 and card[t] != card[0]]
        if all(names):
            for turn in rng.sample(turns, min(count, len(turns))):
                rows.append((i, turn, card[turn], names))
    which, turns, right, names = zip(*rows, strict=True)
    rgba = colours.turn_pictures(split.rgba[list(which)], torch.tensor(turns))
    return rgba, list(names), torch.tensor(right)


class Choice:
    """Everything that the figures of one setting need, computed once."""

    def __init__(self, model, tokenizer, card):
        self.model, self.tower = model, model.visual
        self.ready = Embedder("pocket", model, tokenizer, {}, torch.device("cpu"))
        read, known = self.ready.embed_texts, {}

        def remember(texts: list[str]) -> Tensor:
            key = tuple(texts)
            if key not in known:
                known[key] = read(texts)
            return known[key]

        self.ready.embed_texts = remember  # the same names in every setting
        self.dev = corpus.photos_parts()[0]
        kept = set(card["inner"])
        self.inner = corpus.load("train").select(lambda c: c["id"] in kept)
        names = [c["name"] for c in self.inner.cards]
        self.words = self.ready.embed_texts(names)
        self.same = metrics.same(names, names)
        self.fills, self.which = shades()
        self.hues, told, self.hue = turned(self.inner)
        self.told = torch.stack([self.ready.embed_texts(rows) for rows in told])
        self.colours = zeroshot.classifier(self.ready, colours.NAMES)
        texts, true, weight = imagenet_texts()
        vectors = self.ready.embed_texts(texts)
        learnt = self.tower.classes.weight.detach().clone()
        plain = class_words(vectors, true, weight).T.contiguous()
        both = (learnt + plain) / 2
        self.classes = {"learnt": learnt, "mean": plain, "both": both}
        self.sharp = self.tower.sharpness.item()

    def see(self) -> None:
        size = self.model.config.image_size
        sets = self.dev.rgba, self.inner.rgba, self.fills, self.hues
        self.seen = [look(self.tower, rgba, size, False) for rgba in sets]
        logits = self.tower.trunk.classifier
        with torch.no_grad():
            self.logits = [logits(found["seen"]) for found in self.seen]

    def images(self, kind, gain, sharp, loud) -> list[Tensor]:
        out = []
        for found, logits in zip(self.seen, self.logits, strict=True):
            probabilities = (self.sharp * sharp * logits).softmax(-1)
            word = probabilities @ self.classes[kind].T
            x = found["drawn"] + loud * found["colour"] + gain * word
            out.append(F.normalize(x, dim=-1))
        return out

    def figures(self, *setting) -> dict[str, float]:
        dev, inner, fills, hues = self.images(*setting)
        out = named(self.ready, self.dev.cards, dev)
        rank = metrics.ranks(self.words, inner, self.same)
        out["inner R@1"] = metrics.recall_at(rank, 1)
        guess = (fills @ self.colours.T).argmax(1)
        out["shades"] = (guess == self.which).float().mean().item()
        guess = (self.told @ hues[:, :, None]).squeeze(-1).argmax(1)
        out["coloured"] = (guess == self.hue).float().mean().item()
        out["cross-entropy"] = temperature(self, dev)[0]
        return out


def score(f: dict[str, float]) -> float:
    """What is chosen by: photographs, drawings, and half as much the colours.

    Ninety photographs are few: chance moves their counts by five points. How likely
    their names are is finer, so the cross-entropy counts as well.
    """
    photos = f["photos, 149-way top-1"] + f["photos, 149-way top-5"]
    photos = (photos + f["photos, 14-way balanced"]) / 3
    seen = photos + f["inner R@1"] + (f["shades"] + f["coloured"]) / 2
    return seen - f["cross-entropy"]


def temperature(choice: Choice, images: Tensor) -> tuple[float, float]:
    """The scale that makes photos_dev's 149 names likeliest (Guo et al. 2017).

    Returns the cross-entropy at that scale, in nats, and the scale.
    """
    names = sorted({c["fine"] for c in corpus.load("photos").cards if c.get("fine")})
    rows = [i for i, c in enumerate(choice.dev.cards) if c.get("fine")]
    labels = torch.tensor([names.index(choice.dev.cards[i]["fine"]) for i in rows])
    cosines = images[rows] @ zeroshot.classifier(choice.ready, names).T
    tried = [8 * 1.05**n for n in range(52)]
    return min((F.cross_entropy(t * cosines, labels).item(), t) for t in tried)


def choose(out: Path) -> None:
    model, tokenizer, card, start = parts(out)
    trained = {k: v.clone() for k, v in model.visual.state_dict().items()}
    choice = Choice(model, tokenizer, card)
    table = []
    for share in TUNED:
        model.visual.load_state_dict(trained)
        keep_share(model.visual, start, share)
        choice.see()
        for setting in itertools.product(choice.classes, GAINS, SHARP, LOUD):
            figures = choice.figures(*setting)
            table.append((score(figures), share, setting, figures))
        best = max((row for row in table if row[1] == share), key=lambda row: row[0])
        print(f"tuned {share}: {best[0]:.3f} with {best[2]}", flush=True)
        print("   ", {k: round(v, 3) for k, v in best[3].items()}, flush=True)
    table.sort(key=lambda row: -row[0])
    for value, share, setting, _ in table[:12]:
        print(f"{value:.3f} tuned {share} {setting}")
    _, share, (kind, gain, sharp, loud), figures = table[0]
    model.visual.load_state_dict(trained)
    tower = model.visual
    keep_share(tower, start, share)
    choice.see()
    scale = temperature(choice, choice.images(kind, gain, sharp, loud)[0])[1]
    with torch.no_grad():
        tower.classes.weight.copy_(gain * choice.classes[kind])
        tower.sharpness.mul_(sharp)
        tower.colour.mix[-1].weight.mul_(loud)
        model.logit_scale.fill_(math.log(scale))
    card = {k: v for k, v in card.items() if k != "inner"}
    card["chosen"] = {
        "tuned": share,
        "classes": kind,
        "gain": gain,
        "sharpness": sharp,
        "colours": loud,
        "scale": round(scale, 1),
        "on": "photos_dev, 250 drawings kept back, their hues turned, random shades",
    }
    card["choice"] = {k: round(v, 4) for k, v in figures.items()}
    finish(out, model, tokenizer, card)
    print(f"{out} {out.stat().st_size / 1e6:.2f} MB: {card['chosen']}")


def plain(out: Path, share: float = 0.75, scale: float = 25.0) -> None:
    """Join the parts without a choice."""
    model, tokenizer, card, start = parts(out)
    keep_share(model.visual, start, share)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(scale))
    card["chosen"] = {"tuned": share, "scale": scale}
    files.save_clip(out, model, tokenizer, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--plain", action="store_true", help="without a choice")
    args = parser.parse_args()
    try:  # before the work, not after it
        out = paths.given(args.out)
        weights.check_writable(out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    (plain if args.plain else choose)(out)


if __name__ == "__main__":
    main()
