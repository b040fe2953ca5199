"""``judge``: ``python -m helpers.workshop.train judge --seconds 280``.

A CLIP that judges and never guides, made so that it shares no blind spot with the
guides: random weights at the start, other artists, another tokenizer, and wrong
pictures among its answers (adversarial/wrong.py), all of them attacked (robust.py).
"""

import time
from dataclasses import replace
from pathlib import Path

import torch

from ... import clip, vqgan
from ...clip import CLIP, Config, files
from ..adversarial import robust
from ..adversarial.wrong import Wrong
from .scratch import drawings, prepare

FILE = "judge.safetensors"
WITHOUT = ("fluentflat", "notov1")  # artists that the guides know and it does not


def config() -> Config:
    return Config(
        embed=160,
        image_size=96,
        width=256,
        layers=5,
        heads=8,
        vocab=3000,
        context=32,
        text_width=128,
        text_layers=3,
        causal=False,
        pool="mean",
    )


def texts(split) -> list[str]:
    """Names and keywords alone, no styles: other texts than ``scratch`` learns from."""
    out = []
    for c in split.cards:
        out += [c["name"], c["name"], *c.get("keywords", [])]
        out += [t for t in (c.get("name_fa"),) if t]
    return out


def train(
    steps: int = 4000,
    seconds: float | None = None,
    seed: int = 20,
    out: Path | None = None,
    device="cpu",
    batch: int = 768,
    eps: float = 1.5,
    share: float = 0.5,
    peak: float = 1e-3,
    init: Path | None = None,
    smoke: bool = False,
) -> CLIP:
    """Train it; a fifth of the ``seconds`` goes into the failed drawings.

    ``share`` of the right pictures are attacked; ``init``: go on from that judge, and
    half as many seconds for the failed drawings. Raises ValueError for another file.
    """
    before = files.load_clip(init) if init else None
    mine = replace(config(), vocab=before[0].config.vocab) if before else config()
    if before and before[0].config != mine:
        raise ValueError(f"{init} holds a CLIP of other sizes than a judge.")
    began, split = time.time(), drawings(WITHOUT, smoke)
    batch, device = 32 if smoke else batch, torch.device(device)
    recipe = robust.Recipe("judge", mine, batch, eps, 2, peak, seed=seed, steps=steps)
    recipe.share = share
    words, paint = prepare(recipe, split, texts(split), device)
    if before:
        words, mine.vocab = before[1], before[0].config.vocab
        recipe.init, recipe.decay = init, 0.995
    guide, codes = clip.load("pocket", device), vqgan.load("pocket", device)
    codes.eval().requires_grad_(False)
    until = began + (0.1 if init else 0.2) * (seconds or 1e6)
    wrong = Wrong(paint, recipe.config.image_size, guide, codes, until, seed, smoke)
    print(f"{wrong.failed} failed drawings, {time.time() - began:.0f} s", flush=True)
    del guide
    left = seconds and seconds - (time.time() - began)
    return robust.fit(recipe, split, paint, words, left, out, wrong, smoke)
