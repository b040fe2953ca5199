"""What both DALL-Es learn from, computed once: every drawing as they see it.

A view is a drawing of the album, or one of its turns, moved a little and mirrored by
chance; of each the latents of the VQGAN and the embedding of a CLIP are kept.
"""

import hashlib
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .. import clip, vqgan
from ..corpus import colours, painted
from ..dalle import drawings
from . import album as albums
from .run import half


@torch.no_grad()
def whole(split, book: dict, seed: int, device, views=albums.VIEWS, part: int = 64):
    """Yield (pictures (B, 3, S, S) in [-1, 1], entry (B,)) until all views are made.

    An entry is a drawing with one of its turns, in the order of ``book``; the first
    view of an entry is not moved. The shapes of the album come last.
    """
    g = torch.Generator().manual_seed(seed)
    rows, steps, which = albums.entries(book, device, views)
    first = torch.ones(len(which), dtype=torch.bool)
    first[1:] = which[1:] != which[:-1]
    for at, plain in zip(which.split(part), first.split(part), strict=True):
        rgba = split.rgba[rows[at].cpu()].to(device)
        x = colours.turn_pictures(rgba, steps[at])
        y = drawings.whole_views(x, g)
        still = drawings.whole_views(x, g, move=0)
        yield torch.where(plain.to(device)[:, None, None, None], still, y), at
    if book["shapes"]:
        g = torch.Generator().manual_seed(book["seed"])
        shapes, texts, _ = painted.plain_shapes(
            len(book["shapes"]), split.rgba.shape[-1], painted.hidden_names(),
            random.Random(book["seed"]), g,
        )  # fmt: skip
        if texts != book["shapes"]:
            raise RuntimeError("The shapes are not those of the album.")
        at = len(rows) + torch.arange(len(shapes))
        for x, which in zip(shapes.split(part), at.split(part), strict=True):
            yield drawings.whole_views(x.to(device), g, move=0), which


@torch.no_grad()
def table(
    split, book: dict, seed: int, device, views: int = albums.VIEWS,
    codes: vqgan.VQGAN | None = None, eyes: clip.Embedder | None = None,
    size: int | None = None, cache: Path | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Every view, computed: entry (E,) and what is asked for.

    ``codes``: z (E, D, h, w) half, the latents before quantizing; ``eyes``: seen (E, D)
    half, on the unit sphere; ``size``: pictures (E, 3, size, size) uint8. ``cache``: a
    folder where the table is kept and found again.
    """
    kept = None
    if cache:
        made = [book, seed, views, size, split.rgba.shape[-1]]
        made += [codes and codes.card["mark"], eyes and eyes.fingerprint]
        name = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]
        kept = Path(cache) / f"views-{name}.pt"
        if kept.exists():
            return torch.load(kept, map_location=device, weights_only=True)
    out: dict[str, list] = {"entry": []}
    for y, at in tqdm(whole(split, book, seed, device, views), "views", mininterval=10):
        out["entry"].append(at.cpu())
        if codes is not None:
            with half(device):
                z = codes.encode(y)
            out.setdefault("z", []).append(z.half().cpu())
        x = (y + 1) / 2
        if eyes is not None:
            S = eyes.model.config.image_size
            large = F.interpolate(x, size=(S, S), mode="bicubic", antialias=True)
            with half(device):
                seen = eyes.model.encode_image(large.clamp(0, 1)).float()
            out.setdefault("seen", []).append(F.normalize(seen, dim=-1).half().cpu())
        if size is not None:
            if size != x.shape[-1]:
                x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
            out.setdefault("pictures", []).append((x * 255).round().byte().cpu())
    whole_table = {k: torch.cat(v) for k, v in out.items()}
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(whole_table, kept.with_suffix(".part"))
        kept.with_suffix(".part").replace(kept)
    return {k: v.to(device) for k, v in whole_table.items()}
