"""Train the small VQGAN: ``python -m helpers.workshop.train vqgan`` (see train.py).

A short start without quantizing, then crops, then whole pictures, then the critic
joins. The codebook is a moving average of encoder outputs, and codes that nothing uses
start again. The black silhouettes of the corpus take no part.
"""

import hashlib
import shutil
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import corpus, paths, vqgan, vqgan_weights, weights
from ..vqgan_loss import (
    CodebookAverage,
    PatchDiscriminator,
    Perceptual,
    adaptive_weight,
    hinge,
    usage,
)
from .evaluate_vqgan import table
from .teachers import imagenet_trunk
from .train import (
    WORK,
    Average,
    Run,
    learning_rate,
)

WHOLE = 0.6  # from this share of the steps on, whole pictures instead of crops
CRITIC = 0.7  # from here on the critic takes part
PERCEPTION = 0.5  # weight of the perceptual loss beside the errors of the pixels
PLAIN = 300  # steps of a plain autoencoder before the codebook is placed
EVERY = 50  # steps between two restarts of dead codes


def crops(rgba: Tensor, size: int, g: torch.Generator) -> Tensor:
    """(B, 4, H, W) uint8 -> (B, 3, size, size) in [-1, 1]: a random cut, mostly white.

    Three in ten stand on a random colour instead; half are mirrored.
    """
    B, _, H, W = rgba.shape
    x = rgba.float() / 255
    colour = torch.rand(B, 3, 1, 1, generator=g)
    plain = torch.rand(B, 1, 1, 1, generator=g) < 0.3
    ground = torch.where(plain, colour, torch.ones(()))
    x = x[:, :3] * x[:, 3:] + ground * (1 - x[:, 3:])
    top, left = (torch.randint(n - size + 1, (B,), generator=g) for n in (H, W))
    x = torch.stack(
        [
            picture[:, t : t + size, s : s + size]
            for picture, t, s in zip(x, top.tolist(), left.tolist(), strict=True)
        ]
    )
    mirror = torch.rand(B, generator=g) < 0.5
    x[mirror] = x[mirror].flip(3)
    return x * 2 - 1


def together(critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of real and fake pictures (B, 3, H, W), judged in one batch.

    In two batches, as is usual, batch norm tells the critic which is which by their
    statistics: it is right at once, about nothing that one can see.
    """
    return critic(torch.cat([real, fake])).chunk(2)


def mark(model: vqgan.VQGAN) -> str:
    """A name for the meaning of the codes: a hash of codebook and decoder input."""
    parts = (model.quantize.codebook, model.post_quant_conv.weight)
    raw = b"".join(p.detach().half().cpu().numpy().tobytes() for p in parts)
    return hashlib.sha256(raw).hexdigest()[:16]


def pictures(split: corpus.Corpus) -> corpus.Corpus:
    """The split without its black silhouettes."""
    return split.select(lambda c: c["source"] != "gameicons")


def vqgan_model(
    steps: int = 6500,
    seed: int = 0,
    resume: bool = True,
    compiled: bool = False,
    out: Path | None = None,
    critic: bool = True,
    split: corpus.Corpus | None = None,
    config: vqgan.Config | None = None,
    peak: float = 6e-4,
) -> vqgan.VQGAN:
    """Train a VQGAN and save it with its card.

    ``critic`` False: the ablation. It goes on without the critic from where the critic
    joined, and both rows of figures are entered in the card of the shipped model.
    """
    torch.manual_seed(seed)
    split = split or pictures(corpus.load("train"))
    model = vqgan.VQGAN(config or vqgan.Config())
    book = model.quantize.codebook.requires_grad_(False)
    moving = CodebookAverage(book)
    judge = PatchDiscriminator(32, 2)
    perception = Perceptual(imagenet_trunk())
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(params, betas=(0.8, 0.95))
    critic_optimiser = torch.optim.Adam(judge.parameters(), betas=(0.5, 0.9))
    average = Average(model, 0.998)
    g = torch.Generator().manual_seed(seed)
    path = WORK / ("vqgan.checkpoint" if critic else "vqgan-plain.checkpoint")
    fork = WORK / "vqgan-before-critic.checkpoint"
    if not critic and not path.exists() and fork.exists():
        shutil.copy(fork, path)
    parts = {
        "model": model,
        "judge": judge,
        "optimiser": optimiser,
        "critic_optimiser": critic_optimiser,
    }
    run = Run("vqgan", path, parts, average, g, steps, resume)
    if run.saved:
        moving.count, moving.total = run.saved["moving"]
    for step in run:
        whole = step >= WHOLE * steps
        if critic and step == int(CRITIC * steps) and path.exists():
            shutil.copy(path, fork)  # where the ablation may start
        size, batch = (128, 8) if whole else (64, 32)
        rate = learning_rate(step, steps, peak, 100)
        for group in optimiser.param_groups:
            group["lr"] = rate
        for group in critic_optimiser.param_groups:
            group["lr"] = 1e-4
        rows = torch.randint(len(split), (batch,), generator=g)
        x = crops(split.rgba[rows], size, g)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encode(x)
        z = z.float()
        flat = z.detach().permute(0, 2, 3, 1).flatten(0, 2)
        if step == PLAIN:  # the codebook starts where the encoder is
            moving.restart(flat, g, least=2.0)
        q, codes, loss_codes = model.quantize(z)
        if step < PLAIN:
            q, loss_codes = z, 1e-3 * z.pow(2).mean()
        else:
            moving.update(flat, codes.flatten())
        with torch.autocast("cpu", torch.bfloat16):
            y = model.decode(q)
            loss_seen = perception(y, x)
        y = y.float()
        loss_pixels = (y - x).abs().mean()
        rebuild = loss_pixels + (y - x).square().mean() + PERCEPTION * loss_seen
        loss = rebuild + loss_codes
        fights = critic and step >= CRITIC * steps
        if fights:
            fool = -together(judge, x, y)[1].mean()
            weight = adaptive_weight(rebuild, fool, model.decoder.last_layer)
            grown = min(1.0, (step - CRITIC * steps) / (0.05 * steps))
            loss = loss + 0.3 * grown * weight * fool
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if fights:  # the critic sees finished pictures only: detached
            loss_critic = hinge(*together(judge, x, y.detach()))
            critic_optimiser.zero_grad()
            loss_critic.backward()
            critic_optimiser.step()
        if PLAIN < step < 0.85 * steps and step % EVERY == 0:
            moving.restart(flat, g)
        average.update(model, step)
        if run.due(step):
            _, spread = usage(codes, len(book))
            print(
                f"step {step} pixels {loss_pixels:.4f} seen {loss_seen:.4f} codes "
                f"{loss_codes:.4f} perplexity {spread:.0f}"
                + (f" critic {loss_critic:.3f} weight {weight:.2f}" if fights else ""),
                flush=True,
            )
            run.save(step, moving=moving.state())
    model.load_state_dict(average.state)
    model.eval()
    card = run.facts(model="vqgan", seed=seed, critic=critic, mark=mark(model))
    shipped = out or paths.MODELS / "vqgan-pocket.safetensors"
    path = shipped if critic else WORK / "vqgan-plain.safetensors"
    save(path, model, judge, card)
    figures = table(str(path))
    if critic:
        save(path, model, judge, card | {"figures": figures})
    elif shipped.exists():
        with_critic = vqgan.load(str(shipped), "cpu")
        rows = {"with the critic": table(str(shipped)), "without": figures}
        enter(shipped, with_critic, {"ablation": rows})
    return model


def polish(steps: int = 200, seed: int = 1, out: Path | None = None) -> vqgan.VQGAN:
    """Let the decoder alone go on, on whole pictures: the codes keep their meaning.

    Pixels, their squares and perception, no critic (with it the pictures grew sharper,
    but strayed further from the originals). Rewrites the file with a longer card.
    """
    path = Path(out or paths.MODELS / "vqgan-pocket.safetensors")
    split = pictures(corpus.load("train"))
    model = vqgan.load(str(path), "cpu").requires_grad_(False)
    judge = vqgan_weights.load_critic(str(path))
    params = list(model.decoder.requires_grad_(True).parameters())
    perception = Perceptual(imagenet_trunk())
    optimiser = torch.optim.Adam(params, betas=(0.8, 0.95))
    average = Average(model.decoder, 0.98)
    g, began = torch.Generator().manual_seed(seed), time.time()
    for step in tqdm(range(steps), desc="decoder alone", mininterval=10):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 3e-4, 20)
        rows = torch.randint(len(split), (8,), generator=g)
        x = crops(split.rgba[rows], 128, g)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                q = model.quantize.rows(model.quantize.nearest(model.encode(x).float()))
            y = model.decode(q)
            loss_seen = perception(y, x)
        off = y.float() - x
        optimiser.zero_grad()
        (off.abs().mean() + off.square().mean() + PERCEPTION * loss_seen).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        average.update(model.decoder, step)
    model.decoder.load_state_dict(average.state)
    minutes = round((time.time() - began) / 60, 1)
    card = model.card | {"decoder alone": {"steps": steps, "minutes": minutes}}
    save(path, model, judge, card)
    save(path, model, judge, card | {"figures": table(str(path))})
    return model


def save(path: Path, model, judge, card: dict) -> None:
    """Save the VQGAN with its critic, named as in Taming Transformers, and its card."""
    extra = {f"loss.discriminator.{k}": v for k, v in judge.state_dict().items()}
    weights.save_model(path, "vqgan", model, card, extra=extra)


def enter(path: Path, model, more: dict) -> None:
    """Enter further facts in the card of a saved VQGAN."""
    card = model.card | more
    save(path, model, vqgan_weights.load_critic(str(path)), card)
