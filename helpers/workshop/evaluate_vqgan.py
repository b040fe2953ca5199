"""Measure a VQGAN, held out: ``python -m helpers.workshop.evaluate vqgan``.

PSNR, codebook usage and perplexity on ``unseen_artist`` at 128 px; sharpness and the
Fréchet distance in the features of ``scratch`` (64 px) and of the judge (160 px), which
took no part in its training.
"""

import torch

from .. import clip, corpus, vqgan, weights
from ..frechet import frechet, psnr, sharpness
from ..vqgan_loss import usage

TARGETS = {"PSNR (dB)": "22", "codebook usage": "95 %"}


@torch.no_grad()
def table(name: str = "pocket") -> dict[str, float]:
    """All figures of one VQGAN (a name or a path)."""
    model = vqgan.load(name)
    split = corpus.load("unseen_artist", progress=False)
    pictures = split.pictures().float() / 255
    codes, rebuilt = [], []
    for part in pictures.split(32):
        codes.append(model.to_codes(part * 2 - 1).cpu())
        rebuilt.append((model.from_codes(codes[-1]).cpu() + 1) / 2)
    rebuilt = torch.cat(rebuilt)
    share, spread = usage(torch.cat(codes), model.count)
    far = {}
    for name in ("scratch", "judge"):
        if name in weights.shipped():
            eyes = clip.load(name)
            seen = [eyes.embed_images((x * 255).byte()) for x in (pictures, rebuilt)]
            far[f"Fréchet x 1000, {name}"] = 1000 * frechet(*seen)
    return {
        "PSNR (dB)": psnr(pictures, rebuilt).mean().item(),
        "codebook usage": 100 * share,
        "perplexity": spread,
        "sharpness, of the originals": sharpness(pictures),
        "sharpness": sharpness(rebuilt),
        **far,
    }


def show(names: list[str]) -> None:
    tables = {name: table(name) for name in names}
    print(f"{'measure':30s}" + "".join(f"{n[-24:]:>26s}" for n in names) + "   asked")
    for row in next(iter(tables.values())):
        line = "".join(f"{t[row]:26.3f}" for t in tables.values())
        print(f"{row:30s}{line}   {TARGETS.get(row, '')}")
