"""Whose pictures look like drawings? ``python -m helpers.workshop.evaluate frechet``.

The captions of ``evaluate dream`` as each of our makers draws them: VQGAN+CLIP from a
white sheet and from its sketch, which is DALL-E 2's, DALL-E 1 (best of sixteen) and
DALL-E 2 (one sample). Printed: the Fréchet distance to real drawings of two kinds,
those of the artist whom no training saw and those of the four hands from which
DALL-E 2 learnt, in features of the judge, which took no part; behind ± the spread over
halves of the pictures drawn by lot (the distance of fewer pictures is larger, so
compare lines, not columns), and in how many halves it is below that of the first line.
Last what as many real drawings of another hand reach. A number: fewer seeds.
"""

import random

import torch
from torch import Tensor
from tqdm import tqdm

from ... import clip, corpus
from ...dalle import dalle1, drawings, unclip
from ...metrics import frechet
from . import dream
from .dalle1 import DRAWN

HALVES = 20


def made(seeds) -> dict[str, Tensor]:
    """What each maker draws: {name: (N, 3, H, W)}, one picture a caption and seed."""
    told = [f"emoji of {caption}" for caption in dream.captions()]
    one, two, eyes = dalle1.load(), unclip.load(), clip.load("scratch")
    rows = {"DALL-E 1": [], "DALL-E 2": []}
    for seed in seeds:
        for n, caption in enumerate(tqdm(told, f"DALL-E, seed {seed}")):
            at = 1000 * seed + n
            best, _ = one.best_of(caption, DRAWN, eyes, seed=at)
            rows["DALL-E 1"].append(best[0].cpu())
            rows["DALL-E 2"].append(two.draw(caption, at)[0].cpu())
    out = {
        "VQGAN+CLIP, white": dream.dreamed("white", seeds)[0],
        "VQGAN+CLIP, sketch": dream.dreamed("vqgan", seeds)[0],
    }
    return out | {name: torch.stack(pictures) for name, pictures in rows.items()}


def real(count: int) -> tuple[dict[str, Tensor], Tensor]:
    """Real drawings on white: {kind: (N, 3, H, W)}, and ``count`` of another hand."""
    everything, _, _ = drawings.load()
    hands = everything.select(lambda card: card["style"] in unclip.HANDS)
    others = everything.select(lambda card: card["style"] not in unclip.HANDS)
    lot = random.Random(2026).sample(range(len(others)), count)
    artist = corpus.load("unseen_artist", progress=False)
    kinds = {"unseen artist": artist.pictures(), "four hands": hands.pictures()}
    kinds = {name: pictures.float() / 255 for name, pictures in kinds.items()}
    return kinds, others.pictures(lot).float() / 255


def show(models: list[str]) -> None:
    """Print the table; a number among ``models`` asks for fewer seeds."""
    names, seeds = dream.fewer(models)
    if names:
        raise ValueError(f'It compares our own makers; "{names[0]}" is no number.')
    judge, makers = clip.load("judge"), made(seeds)

    def seen(pictures: Tensor) -> Tensor:
        return judge.embed_images((pictures * 255).round().byte())

    kinds, another = real(len(seeds) * dream.COUNT)
    goals = {name: seen(pictures) for name, pictures in kinds.items()}
    g = torch.Generator().manual_seed(2026)
    halves = [torch.randperm(len(another), generator=g)[::2] for _ in range(HALVES)]
    print(f"Fréchet x 1000, judge, {len(another)} pictures each" + "".join(
        f"{name:>24s}" for name in goals))  # fmt: skip
    first = {}  # of the first maker, half by half
    for name, pictures in (makers | {"real, other hands": another}).items():
        found, line = seen(pictures), f"{name:44s}"
        for kind, goal in goals.items():
            parts = 1000 * torch.tensor([frechet(found[half], goal) for half in halves])
            less = int((parts < first.setdefault(kind, parts)).sum())
            far = f"{1000 * frechet(found, goal):.0f} ± {parts.std():.0f}"
            line += f"{far:>15s}, {less:2d} of {HALVES}"
        print(line)
