"""The small VQGAN of notebook 04.

A short start without quantizing, then crops, then whole pictures; at last the decoder
alone goes on against two discriminators. The codebook is a moving average of encoder
outputs, and codes that nothing uses start again. The black silhouettes of the corpus
take no part.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import corpus, vqgan, weights
from ...corpus.augment import crops
from ...metrics import usage
from ...vqgan.losses import (
    FeatureDiscriminator,
    PatchDiscriminator,
    Perceptual,
    adaptive_weight,
    hinge,
)
from ...vqgan.quantizers import CodebookAverage
from ..evaluate.vqgan import table
from ..run import WORK, Average, Run, half, learning_rate
from ..teachers import imagenet_trunk

FILE = "vqgan-pocket.safetensors"
WHOLE = 0.6  # from this share of the steps on, whole pictures instead of crops
PERCEPTION = 0.5  # weight of the perceptual loss beside the errors of the pixels
ALONE = 100  # steps before the discriminators are heard; they grow as long
HEARD = 0.4  # how loud the one of pixels is beside the rebuilding
HEARD_DEEP = 2.0  # and the one of features
PLAIN = 300  # steps of a plain autoencoder before the codebook is placed
EVERY = 50  # steps between two restarts of dead codes


def together(model: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """A discriminator's scores of real and fake pictures (B, 3, H, W), in one batch.

    In two batches, as is usual, batch norm tells it which is which by their statistics:
    it is right at once, about nothing that one can see.
    """
    return model(torch.cat([real, fake])).chunk(2)


def mark(model: vqgan.VQGAN) -> str:
    """A name for the meaning of the codes: a hash of codebook and decoder input."""
    parts = (model.quantize.codebook, model.post_quant_conv.weight)
    raw = b"".join(p.detach().half().cpu().numpy().tobytes() for p in parts)
    return hashlib.sha256(raw).hexdigest()[:16]


def train(
    steps: int = 6500,
    seed: int = 0,
    resume: bool = True,
    out: Path | None = None,
    device="cpu",
    split: corpus.Corpus | None = None,
    config: vqgan.Config | None = None,
    peak: float = 6e-4,
    fight: int = 1400,
) -> vqgan.VQGAN:
    """Train a VQGAN; with ``out`` save it there with its card.

    The last stage runs twice from the same start, ``fight`` steps with discriminators
    and as many without. The decoder is the mean of the two (a "model soup", Wortsman et
    al. 2022): part of the crispness, little of the checkerboard that a discriminator of
    pixels leaves in pictures that no encoder has written. The card keeps the figures of
    all three, so what the discriminators gain can be read in it.
    """
    torch.manual_seed(seed)
    split = split or corpus.without_silhouettes(corpus.load("train"))
    model = vqgan.VQGAN(config or vqgan.Config()).to(device)
    card = code_stage(model, split, steps, seed, resume, peak, device)
    rows, decoders, minutes = {}, [], [card["minutes"]]
    start = {k: v.clone() for k, v in model.decoder.state_dict().items()}
    for name, fought in (("without", False), ("with the discriminators", True)):
        model.decoder.load_state_dict(start)
        discriminator, last = decoder_stage(
            model, split, fight, seed, resume, fought, device
        )
        decoders.append({k: v.clone() for k, v in model.decoder.state_dict().items()})
        minutes.append(last["minutes"])
        rows[name] = table(model.eval())
    model.decoder.load_state_dict(
        {k: (v + decoders[1][k]) / 2 for k, v in decoders[0].items()}
    )
    rows["the mean of both, as shipped"] = figures = table(model)
    card |= {"model": "vqgan", "seed": seed, "mark": mark(model)}
    card |= {"steps": [steps, [fight, fight]], "minutes": minutes}
    if out:
        save(out, model, discriminator, card | {"ablation": rows, "figures": figures})
    return model


def rebuilding(y: Tensor, x: Tensor, seen: Tensor) -> Tensor:
    """The loss of a rebuilt picture: pixels, their squares, perception; a scalar."""
    off = y - x
    return off.abs().mean() + off.square().mean() + PERCEPTION * seen


def code_stage(model, split, steps, seed, resume, peak, device) -> dict:
    """Encoder, codebook and decoder together, no discriminator; facts for the card."""
    book = model.quantize.codebook.requires_grad_(False)
    moving = CodebookAverage(book)
    perception = Perceptual(imagenet_trunk().to(device))
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(params, betas=(0.8, 0.95))
    average = Average(model, 0.998)
    g = torch.Generator().manual_seed(seed)
    parts = {"model": model, "optimiser": optimiser}
    path = WORK / "vqgan.checkpoint"
    run = Run("vqgan", path, parts, average, g, steps, resume, device)
    if run.saved:
        moving.count, moving.total = (v.to(device) for v in run.saved["moving"])
    for step in run:
        size, batch = (128, 8) if step >= WHOLE * steps else (64, 32)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak, 100)
        rows = torch.randint(len(split), (batch,), generator=g)
        x = crops(split.rgba[rows], size, g).to(device)
        with half(device):
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
        with half(device):
            y = model.decode(q)
            loss_seen = perception(y, x)
        loss = rebuilding(y.float(), x, loss_seen)
        optimiser.zero_grad()
        (loss + loss_codes).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if PLAIN < step < 0.85 * steps and step % EVERY == 0:
            moving.restart(flat, g)
        average.update(model, step)
        if run.due(step):
            _, spread = usage(codes, len(book))
            print(
                f"step {step} rebuilding {loss:.4f} seen {loss_seen:.4f} codes "
                f"{loss_codes:.4f} perplexity {spread:.0f}",
                flush=True,
            )
            run.save(step, moving=moving.state())
    model.load_state_dict(average.state)
    model.eval()
    return run.facts()


def decoder_stage(model, split, steps, seed, resume, fought: bool, device):
    """The decoder alone, on whole pictures: (discriminator, facts).

    ``fought``: against two discriminators, one of pixels and one of features of the
    network that the perceptual loss looks through; both begin ``ALONE`` steps before
    they are heard. The codes keep their meaning.
    """
    discriminator = PatchDiscriminator(32, 2).to(device)
    model.requires_grad_(False)
    params = list(model.decoder.requires_grad_(True).parameters())
    eyes = Perceptual(imagenet_trunk().to(device), depths=(0, 1, 2, 3, 4))
    near = 4  # of its six depths, the ones that the perceptual loss compares
    x = torch.zeros(1, 3, 32, 32, device=device)
    with torch.no_grad():
        deep = [f.shape[1] for f in eyes.features(x)]
    deep = FeatureDiscriminator(deep).to(device)
    optimiser = torch.optim.Adam(params, betas=(0.5, 0.9))
    kinds = [
        {"params": discriminator.parameters(), "lr": 2e-4},
        {"params": deep.parameters(), "lr": 5e-4},
    ]
    theirs = torch.optim.Adam(kinds, betas=(0.5, 0.9))
    average = Average(model.decoder, 0.995)
    g = torch.Generator().manual_seed(seed + 1)
    parts = {"decoder": model.decoder, "discriminator": discriminator}
    parts |= {"deep": deep, "optimiser": optimiser, "theirs": theirs}
    path = WORK / f"vqgan-decoder{'' if fought else '-plain'}.checkpoint"
    run = Run("decoder", path, parts, average, g, steps, resume, device)
    for step in run:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-4, 50)
        rows = torch.randint(len(split), (8,), generator=g)
        x = crops(split.rgba[rows], 128, g).to(device)
        with half(device):
            with torch.no_grad():
                q = model.quantize.rows(model.quantize.nearest(model.encode(x).float()))
                real = eyes.features(x)
            y = model.decode(q)
            fake = eyes.features(y)
        y = y.float()
        seen = eyes.distance(fake[:near], real[:near])
        loss = rebuild = rebuilding(y, x, seen)
        if fought and step >= ALONE:
            louder = min(1.0, step / ALONE - 1)
            fools = (
                (HEARD, -together(discriminator, x, y)[1].mean()),
                (HEARD_DEEP, -mean(deep(fake))),
            )
            for heard, fool in fools:
                weight = adaptive_weight(rebuild, fool, model.decoder.last_layer)
                loss = loss + louder * heard * weight * fool
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if fought:  # they see finished pictures only: detached
            loss_pixels = hinge(*together(discriminator, x, y.detach()))
            scores = zip(deep(real), deep([f.detach() for f in fake]), strict=True)
            loss_deep = mean([hinge(*pair) for pair in scores])
            theirs.zero_grad()
            (loss_pixels + loss_deep).backward()
            theirs.step()
        average.update(model.decoder, step)
        if run.due(step):
            said = f"step {step} rebuilding {rebuild:.4f} seen {seen:.4f}"
            if fought:
                said += f" discriminators {loss_pixels:.3f} {loss_deep:.3f}"
            print(said, flush=True)
            run.save(step)
    model.decoder.load_state_dict(average.state)
    return discriminator.eval(), run.facts()


def mean(parts: list[Tensor]) -> Tensor:
    """The mean of the means, so that every depth counts alike."""
    return torch.stack([part.mean() for part in parts]).mean()


def save(path: Path, model, discriminator, card: dict) -> None:
    """Save the VQGAN with its discriminator, named as in Taming Transformers."""
    state = discriminator.state_dict()
    extra = {f"loss.discriminator.{k}": v for k, v in state.items()}
    weights.save_model(path, "vqgan", model, card, extra=extra)
