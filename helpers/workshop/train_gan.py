"""Train the small GAN of notebook 04: ``python -m helpers.workshop.train gan``.

It learns faces, the drawings of the group "smileys-emotion". The critic sees random
shifts and colours of real and painted faces alike (Zhao et al. 2020, DiffAugment), or a
thousand faces would be known by heart.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import corpus, gan, paths, weights
from ..vqgan_loss import PatchDiscriminator, hinge
from .train import WORK, Average, Run

SIZE = 64


def shaken(x: Tensor, g: torch.Generator) -> Tensor:
    """(B, 3, H, W) moved by up to an eighth, with another brightness and contrast."""
    B, H = len(x), x.shape[-1]
    far = H // 8
    padded = F.pad(x, (far,) * 4, mode="replicate")
    move = torch.randint(2 * far + 1, (B, 2), generator=g).tolist()
    x = torch.stack(
        [p[:, a : a + H, b : b + H] for p, (a, b) in zip(padded, move, strict=True)]
    )
    light, strength = (torch.rand(2, B, 1, 1, 1, generator=g) - 0.5) * 0.6
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (1 + strength) + mean + light


def faces() -> Tensor:
    """(N, 3, 64, 64) in [-1, 1]: the faces of the train split on white."""
    split = corpus.load("train", size=SIZE)
    split = split.select(
        lambda c: c.get("group") == "smileys-emotion" and c["source"] != "gameicons"
    )
    return split.pictures().float() / 127.5 - 1


def gan_model(
    steps: int = 2500,
    seed: int = 0,
    resume: bool = True,
    compiled: bool = False,
    out: Path | None = None,
    batch: int = 16,
) -> gan.Generator:
    """Train the generator against a critic and save its moving average."""
    torch.manual_seed(seed)
    real = faces()
    model, critic = gan.Generator(gan.Config()), PatchDiscriminator(32, 3)
    ours = torch.optim.Adam(model.parameters(), 3e-4, betas=(0.5, 0.99))
    theirs = torch.optim.Adam(critic.parameters(), 3e-4, betas=(0.5, 0.99))
    average = Average(model, 0.995)
    g = torch.Generator().manual_seed(seed)
    parts = {"model": model, "critic": critic, "ours": ours, "theirs": theirs}
    run = Run("gan", WORK / "gan.checkpoint", parts, average, g, steps, resume)
    for step in run:
        x = real[torch.randint(len(real), (batch,), generator=g)]
        mirror = torch.rand(batch, generator=g) < 0.5
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(model.sample(batch, g)).float()
        loss_critic = hinge(critic(shaken(x, g)), critic(shaken(y.detach(), g)))
        theirs.zero_grad()
        loss_critic.backward()
        theirs.step()
        loss = -critic(shaken(y, g)).mean()
        ours.zero_grad()
        loss.backward()
        ours.step()
        average.update(model, step)
        if run.due(step):
            print(f"step {step} fool {loss:.3f} critic {loss_critic:.3f}", flush=True)
            run.save(step)
    model.load_state_dict(average.state)
    card = run.facts(model="gan", faces=len(real), seed=seed)
    file = out or paths.MODELS / "gan-pocket.safetensors"
    weights.save_model(file, "gan", model, card)
    return model
