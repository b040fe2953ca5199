"""The small GAN of notebook 04: faces, the drawings of the group "smileys-emotion".

The discriminator sees random shifts and colours of real and painted faces alike (Zhao
et al. 2020, DiffAugment), or a thousand faces would be known by heart.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus, weights
from ...vqgan import gan
from ...vqgan.losses import PatchDiscriminator, hinge
from ..run import WORK, Average, Run, half

FILE = "gan-pocket.safetensors"
SIZE = 64


def shaken(x: Tensor, g: torch.Generator) -> Tensor:
    """(B, 3, H, W) moved by up to an eighth, with another brightness and contrast."""
    B, H = len(x), x.shape[-1]
    most = H // 8
    padded = F.pad(x, (most,) * 4, mode="replicate")
    move = torch.randint(2 * most + 1, (B, 2), generator=g).tolist()
    x = torch.stack(
        [p[:, a : a + H, b : b + H] for p, (a, b) in zip(padded, move, strict=True)]
    )
    light, strength = ((torch.rand(2, B, 1, 1, 1, generator=g) - 0.5) * 0.6).to(x)
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (1 + strength) + mean + light


def faces() -> Tensor:
    """(N, 3, 64, 64) in [-1, 1]: the faces of the train split on white."""
    split = corpus.load("train", size=SIZE)
    split = split.select(
        lambda c: c.get("group") == "smileys-emotion" and c["source"] != "gameicons"
    )
    return split.pictures().float() / 127.5 - 1


def train(
    steps: int = 2500,
    seed: int = 0,
    resume: bool = True,
    out: Path | None = None,
    device="cpu",
    batch: int = 16,
) -> gan.Generator:
    """Train the generator; its moving average is returned, and saved at ``out``."""
    torch.manual_seed(seed)
    real = faces()
    model = gan.Generator(gan.Config()).to(device)
    discriminator = PatchDiscriminator(32, 3).to(device)
    ours = torch.optim.Adam(model.parameters(), 3e-4, betas=(0.5, 0.99))
    theirs = torch.optim.Adam(discriminator.parameters(), 3e-4, betas=(0.5, 0.99))
    average = Average(model, 0.995)
    g = torch.Generator().manual_seed(seed)
    parts = {"model": model, "discriminator": discriminator}
    parts |= {"ours": ours, "theirs": theirs}
    path = WORK / "gan.checkpoint"
    run = Run("gan", path, parts, average, g, steps, resume, device)
    for step in run:
        x = real[torch.randint(len(real), (batch,), generator=g)]
        mirror = torch.rand(batch, generator=g) < 0.5
        x = torch.where(mirror[:, None, None, None], x.flip(3), x).to(device)
        with half(device):
            y = model(model.sample(batch, g)).float()
        scores = discriminator(shaken(x, g)), discriminator(shaken(y.detach(), g))
        loss_real = hinge(*scores)
        theirs.zero_grad()
        loss_real.backward()
        theirs.step()
        loss = -discriminator(shaken(y, g)).mean()
        ours.zero_grad()
        loss.backward()
        ours.step()
        average.update(model, step)
        if run.due(step):
            print(f"step {step} fool {loss:.3f} real {loss_real:.3f}", flush=True)
            run.save(step)
    model.load_state_dict(average.state)
    if out:
        card = run.facts(model="gan", faces=len(real), seed=seed)
        weights.save_model(out, "gan", model, card)
    return model.eval()
