"""Measure a VQGAN, held out: ``python -m helpers.workshop.evaluate vqgan``.

PSNR, codebook usage and perplexity on ``unseen_artist`` at 128 px; sharpness and three
Fréchet distances, in the features of networks that took no part in its training: of
whole pictures (the vectors of ``scratch`` and of the judge) and of patches (an early
stage of the judge, which sees texture and edges; like the sFID of Nash et al. 2021).
"""

import torch
import torch.nn.functional as F

from ... import clip, corpus, vqgan, weights
from ...metrics import frechet, psnr, sharpness, usage

STAGES = 9  # modules of the judge's stem, three convolutions: their features compare


@torch.no_grad()
def patches(eyes: clip.Embedder, pictures: torch.Tensor) -> torch.Tensor:
    """Early features of a ViT with a stem: (N, 3, H, W) in [0, 1] -> (patches, C).

    One row for every place that its first three convolutions give, 4 pixels apart.
    """
    model, size, rows = eyes.model, eyes.model.config.image_size, []
    for x in pictures.split(32):
        x = F.interpolate(x.to(eyes.device), (size, size), mode="bicubic")
        x = (x.clamp(0, 1) - model.pixel_mean) / model.pixel_std
        x = model.visual.conv1[:STAGES](x)
        rows.append(x.permute(0, 2, 3, 1).flatten(0, 2).cpu())
    return torch.cat(rows)


@torch.no_grad()
def table(model="pocket") -> dict[str, float]:
    """All figures of one VQGAN (itself, its name or its path)."""
    model = model if isinstance(model, vqgan.VQGAN) else vqgan.load(model)
    split = corpus.load("unseen_artist", progress=False)
    pictures = split.pictures().float() / 255
    codes, rebuilt = [], []
    for part in pictures.split(32):
        codes.append(model.to_codes(part * 2 - 1).cpu())
        rebuilt.append((model.from_codes(codes[-1]).cpu() + 1) / 2)
    rebuilt = torch.cat(rebuilt)
    share, spread = usage(torch.cat(codes), model.count)
    apart = {}
    for name in ("scratch", "judge"):
        if name in weights.names("clip"):
            eyes = clip.load(name)
            seen = [eyes.embed_images((x * 255).byte()) for x in (pictures, rebuilt)]
            apart[f"Fréchet x 1000, {name}"] = 1000 * frechet(*seen)
            if name == "judge":
                seen = [patches(eyes, x) for x in (pictures, rebuilt)]
                apart["Fréchet of patches, judge"] = frechet(*seen)
    return {
        "PSNR (dB)": psnr(pictures, rebuilt).mean().item(),
        "codebook usage": 100 * share,
        "perplexity": spread,
        "sharpness, of the originals": sharpness(pictures),
        "sharpness": sharpness(rebuilt),
        **apart,
    }


def show(names: list[str]) -> None:
    ready = {name: vqgan.load(name) for name in names}  # before the work
    tables = {name: table(model) for name, model in ready.items()}
    print(f"{'measure':30s}" + "".join(f"{n[-24:]:>26s}" for n in names))
    for row in next(iter(tables.values())):
        line = "".join(f"{t[row]:26.3f}" for t in tables.values())
        print(f"{row:30s}{line}")
