"""Train the VQGAN of DALL-E: whole pictures of 128 px as 8 x 8 codes.

First encoder, codebook and decoder; then the decoder alone against two critics, while
the codes keep their meaning.
"""

from pathlib import Path

import torch
from torch import nn

from ... import vqgan, weights
from ...dalle import drawings
from ...metrics import usage
from ...vqgan.losses import (
    FeatureDiscriminator,
    PatchDiscriminator,
    Perceptual,
    adaptive_weight,
    hinge,
)
from ...vqgan.quantizers import CodebookAverage
from ..run import Average, Clock, data_hash, fast_kernels, machine, rate
from ..teachers import imagenet_trunk
from .vqgan import mark, mean, rebuilding, together

FILE = "vqgan-dalle.safetensors"
CODES = 0.62  # share of the run in which the codes are made; then the decoder alone
HEARD, HEARD_DEEP = 0.25, 1.0


def config() -> vqgan.Config:
    return vqgan.Config(
        ch=32, ch_mult=(1, 2, 4, 4), num_res_blocks=1, resolution=128,
        z_channels=64, embed_dim=16, n_embed=1024, fold=2,
    )  # fmt: skip


def train(
    steps: int = 6000,
    seconds: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    device="cpu",
    batch: int = 96,
    peak: float = 8e-4,
    init: Path | None = None,
    split=None,
    sizes: vqgan.Config | None = None,
) -> vqgan.VQGAN:
    """Train; ``init``: weights to go on from. With ``out`` also save."""
    torch.manual_seed(seed)
    fast_kernels()
    shown = split or drawings.load()[1]
    rgba = shown.rgba.to(device)
    model = vqgan.VQGAN(sizes or config())
    if init:  # go on from weights that were trained before
        model.load_state_dict(vqgan.load(str(init), "cpu").state_dict())
    model = model.to(device, memory_format=torch.channels_last)
    book = model.quantize.codebook.requires_grad_(False)
    moving = CodebookAverage(book)
    eyes = Perceptual(imagenet_trunk(), depths=(0, 1, 2, 3, 4)).to(device)
    eyes.to(memory_format=torch.channels_last)
    near = 4
    with torch.no_grad():
        probe = eyes.features(torch.zeros(1, 3, 32, 32, device=device))
    patches = PatchDiscriminator(32, 2).to(device)
    deep = FeatureDiscriminator([f.shape[1] for f in probe]).to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(params, betas=(0.8, 0.95))
    kinds = [{"params": patches.parameters(), "lr": 2e-4},
             {"params": deep.parameters(), "lr": 5e-4}]  # fmt: skip
    critics = torch.optim.Adam(kinds, betas=(0.5, 0.9))
    average = Average(model, 0.998)
    g = torch.Generator().manual_seed(seed)
    kind = torch.device(device).type
    clock = Clock(steps, seconds)
    placed, fighting = init is not None, False
    for step, share in clock:
        if share < CODES:
            now = rate(share / CODES * 0.9, peak)
        else:
            now = rate((share - CODES) / (1 - CODES), 2e-4)
        for group in optimiser.param_groups:
            group["lr"] = now
        rows = torch.randint(len(rgba), (batch,), generator=g)
        x = drawings.whole_views(rgba[rows.to(device)], g, plain=0.15)
        x = x.contiguous(memory_format=torch.channels_last)
        if share >= CODES and not fighting:  # the codes are done
            model.load_state_dict(average.state)
            fighting = True
            params = list(model.decoder.parameters())
            optimiser = torch.optim.Adam(params, betas=(0.5, 0.9), lr=1e-6)
            average = Average(model, 0.998)
            started = share
        with torch.autocast(kind, torch.bfloat16):
            with torch.set_grad_enabled(not fighting):
                z = model.encode(x)
        z = z.float()
        if fighting:
            q, loss_codes = model.quantize.rows(model.quantize.nearest(z)), 0.0
        else:
            flat = z.detach().permute(0, 2, 3, 1).flatten(0, 2)
            if not placed and share > 0.03:
                placed = True
                moving.restart(flat, g, 1e9)
            q, codes, loss_codes = model.quantize(z)
            if placed:
                moving.update(flat, codes.flatten())
                if step % 50 == 0 and share < 0.85 * CODES:
                    moving.restart(flat, g)
            else:
                q, loss_codes = z, 1e-3 * z.pow(2).mean()
        with torch.autocast(kind, torch.bfloat16):
            y = model.decode(q)
            with torch.no_grad():
                real = eyes.features(x)
            fake = eyes.features(y)
        y = y.float()
        seen = eyes.distance(fake[:near], real[:near])
        loss = rebuild = rebuilding(y, x, seen)
        if fighting:
            part = (share - started) / (1 - started)
            louder = min(1.0, max(0.0, (part - 0.05) / 0.15))
            if louder:
                pixels = -together(patches, x, y)[1].mean()
                depth = -mean(deep(fake))
                for heard, fool in ((HEARD, pixels), (HEARD_DEEP, depth)):
                    weight = adaptive_weight(rebuild, fool, model.decoder.last_layer)
                    loss = loss + louder * heard * weight * fool
        optimiser.zero_grad()
        (loss + loss_codes).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if fighting:
            loss_pixels = hinge(*together(patches, x, y.detach()))
            scores = zip(deep(real), deep([f.detach() for f in fake]), strict=True)
            loss_deep = mean([hinge(*pair) for pair in scores])
            critics.zero_grad()
            (loss_pixels + loss_deep).backward()
            critics.step()
        average.update(model, step)
        if clock.due:
            said = f"codes: step {step} {share:.2f} rebuilding {rebuild:.4f}"
            said += f" seen {seen:.4f}"
            if fighting:
                said += f" critics {loss_pixels:.3f} {loss_deep:.3f}"
            else:
                share_used, spread = usage(codes.cpu(), len(book))
                said += f" codes {loss_codes:.4f} perplexity {spread:.0f}"
            print(said, flush=True)
    model.load_state_dict(average.state)
    model.eval()
    if out:
        card = {
            "model": "vqgan-dalle",
            "data": data_hash(),
            "without": "black silhouettes",
            "seed": seed,
            "steps": clock.step,
            "batch": batch,
            "minutes": round(clock.spent() / 60, 1),
            "mark": mark(model),
            "machine": machine(device),
        }
        weights.save_model(Path(out), "vqgan", model, card)
    return model
