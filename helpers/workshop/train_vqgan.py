"""Train the small VQGAN: ``python -m helpers.workshop.train vqgan`` (see train.py).

A short start without quantizing, then crops, then whole pictures; at last the decoder
alone goes on against two critics. The codebook is a moving average of encoder outputs,
and codes that nothing uses start again. The black silhouettes of the corpus take no
part.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import corpus, paths, vqgan, weights
from ..vqgan_loss import (
    CodebookAverage,
    FeatureDiscriminator,
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
PERCEPTION = 0.5  # weight of the perceptual loss beside the errors of the pixels
ALONE = 100  # steps of the last stage before the critic is heard; then it grows as long
HEARD = 0.4  # how loud the critic of pixels is beside the rebuilding
HEARD_DEEP = 2.0  # and the critic of features
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
    split: corpus.Corpus | None = None,
    config: vqgan.Config | None = None,
    peak: float = 6e-4,
    fight: int = 1400,
) -> vqgan.VQGAN:
    """Train a VQGAN and save it with its card.

    The last stage runs twice from the same start, ``fight`` steps with the critics and
    as many without. The shipped decoder is the mean of the two (a "model soup",
    Wortsman et al. 2022): part of the crispness, little of the checkerboard that a
    critic of pixels leaves in pictures that no encoder has written. The card keeps the
    figures of all three, so the gain of the critics can be read in it.
    """
    torch.manual_seed(seed)
    split = split or pictures(corpus.load("train"))
    model = vqgan.VQGAN(config or vqgan.Config())
    card = code_stage(model, split, steps, seed, resume, peak)
    path = out or paths.MODELS / "vqgan-pocket.safetensors"
    rows, decoders, minutes = {}, [], [card["minutes"]]
    start = {k: v.clone() for k, v in model.decoder.state_dict().items()}
    for name, critics in (("without", False), ("with the critics", True)):
        model.decoder.load_state_dict(start)
        judge, last = decoder_stage(model, split, fight, seed, resume, critics)
        decoders.append({k: v.clone() for k, v in model.decoder.state_dict().items()})
        minutes.append(last["minutes"])
        save(path, model, judge, card)
        rows[name] = table(str(path))
    model.decoder.load_state_dict(
        {k: (v + decoders[1][k]) / 2 for k, v in decoders[0].items()}
    )
    card |= {"model": "vqgan", "seed": seed, "mark": mark(model)}
    card |= {"steps": [steps, [fight, fight]], "minutes": minutes}
    save(path, model, judge, card)
    rows["the mean of both, as shipped"] = figures = table(str(path))
    save(path, model, judge, card | {"ablation": rows, "figures": figures})
    return model


def rebuilding(y: Tensor, x: Tensor, seen: Tensor) -> Tensor:
    """The loss of a rebuilt picture: pixels, their squares, perception; a scalar."""
    off = y - x
    return off.abs().mean() + off.square().mean() + PERCEPTION * seen


def code_stage(model, split, steps: int, seed: int, resume: bool, peak: float) -> dict:
    """Encoder, codebook and decoder together, without a critic; facts for the card."""
    book = model.quantize.codebook.requires_grad_(False)
    moving = CodebookAverage(book)
    perception = Perceptual(imagenet_trunk())
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(params, betas=(0.8, 0.95))
    average = Average(model, 0.998)
    g = torch.Generator().manual_seed(seed)
    parts = {"model": model, "optimiser": optimiser}
    run = Run("vqgan", WORK / "vqgan.checkpoint", parts, average, g, steps, resume)
    if run.saved:
        moving.count, moving.total = run.saved["moving"]
    for step in run:
        size, batch = (128, 8) if step >= WHOLE * steps else (64, 32)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak, 100)
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


def decoder_stage(model, split, steps: int, seed: int, resume: bool, critic: bool):
    """The decoder alone, on whole pictures, against two critics: (critic, facts).

    One looks at pixels, one at features of the network that judges perception. The
    codes keep their meaning. Both begin ``ALONE`` steps before they are heard.
    """
    judge = PatchDiscriminator(32, 2)
    model.requires_grad_(False)
    params = list(model.decoder.requires_grad_(True).parameters())
    eyes = Perceptual(imagenet_trunk(), depths=(0, 1, 2, 3, 4))
    near = 4  # of its six depths, the ones that the perceptual loss compares
    with torch.no_grad():
        deep = [f.shape[1] for f in eyes.features(torch.zeros(1, 3, 32, 32))]
    deep = FeatureDiscriminator(deep)
    optimiser = torch.optim.Adam(params, betas=(0.5, 0.9))
    kinds = [
        {"params": judge.parameters(), "lr": 2e-4},
        {"params": deep.parameters(), "lr": 5e-4},
    ]
    critic_optimiser = torch.optim.Adam(kinds, betas=(0.5, 0.9))
    average = Average(model.decoder, 0.995)
    g = torch.Generator().manual_seed(seed + 1)
    parts = {"decoder": model.decoder, "judge": judge, "deep": deep}
    parts |= {"optimiser": optimiser, "critic_optimiser": critic_optimiser}
    path = WORK / f"vqgan-decoder{'' if critic else '-plain'}.checkpoint"
    run = Run("decoder against critics", path, parts, average, g, steps, resume)
    for step in run:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-4, 50)
        rows = torch.randint(len(split), (8,), generator=g)
        x = crops(split.rgba[rows], 128, g)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                q = model.quantize.rows(model.quantize.nearest(model.encode(x).float()))
                real = eyes.features(x)
            y = model.decode(q)
            fake = eyes.features(y)
        y = y.float()
        seen = eyes.distance(fake[:near], real[:near])
        loss = rebuild = rebuilding(y, x, seen)
        if critic and step >= ALONE:
            louder = min(1.0, step / ALONE - 1)
            fools = (
                (HEARD, -together(judge, x, y)[1].mean()),
                (HEARD_DEEP, -mean(deep(fake))),
            )
            for heard, fool in fools:
                weight = adaptive_weight(rebuild, fool, model.decoder.last_layer)
                loss = loss + louder * heard * weight * fool
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        if critic:  # they see finished pictures only: detached
            loss_pixels = hinge(*together(judge, x, y.detach()))
            scores = zip(deep(real), deep([f.detach() for f in fake]), strict=True)
            loss_deep = mean([hinge(*pair) for pair in scores])
            critic_optimiser.zero_grad()
            (loss_pixels + loss_deep).backward()
            critic_optimiser.step()
        average.update(model.decoder, step)
        if run.due(step):
            said = f"step {step} rebuilding {rebuild:.4f} seen {seen:.4f}"
            if critic:
                said += f" critics {loss_pixels:.3f} {loss_deep:.3f}"
            print(said, flush=True)
            run.save(step)
    model.decoder.load_state_dict(average.state)
    return judge.eval(), run.facts()


def mean(parts: list[Tensor]) -> Tensor:
    """The mean of the means, so that every depth counts alike."""
    return torch.stack([part.mean() for part in parts]).mean()


def save(path: Path, model, judge, card: dict) -> None:
    """Save the VQGAN with its critic, named as in Taming Transformers, and its card."""
    extra = {f"loss.discriminator.{k}": v for k, v in judge.state_dict().items()}
    weights.save_model(path, "vqgan", model, card, extra=extra)
