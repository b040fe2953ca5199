"""What every training shares: one resumable loop, an average of weights, a schedule.

A recipe (recipes/NAME.py) says its data, its model, its step and its card. All of it
runs on a CPU as on a GPU; random numbers come from a CPU generator, so that the same
seed draws the same batches on both.
"""

import hashlib
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .. import paths

WORK = Path("~/.cache/pictures-and-words/training").expanduser()


def say(*words) -> None:
    """Print with the time of day in front."""
    print(time.strftime("%X "), *words, flush=True)


def data_hash() -> str:
    """One hash over all shards of the train split, as the manifest lists them."""
    manifest = json.loads((paths.CORPUS / "manifest.json").read_text("utf-8"))
    rows = [
        v[2] for k, v in sorted(manifest["shards"].items()) if k.startswith("train")
    ]
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def learning_rate(step: int, steps: int, peak: float, warm: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm:
        return peak * (step + 1) / warm
    part = (step - warm) / max(1, steps - warm)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)


def rate(share: float, peak: float, warm: float = 0.02) -> float:
    """The same by the share of a training that is done, 0 to 1."""
    if share < warm:
        return peak * (share + 1e-4) / warm
    part = min(1.0, (share - warm) / (1 - warm))
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)


class Clock:
    """Iterate over the steps of a training; gives (step, share done, 0 to 1).

    ``seconds``: as many steps as fit into them (from the first step on), where a
    machine is lent for minutes; without it ``steps``. ``due``: is it time to print?
    """

    def __init__(self, steps: int, seconds: float | None = None, every: float = 15.0):
        self.steps, self.seconds, self.every = steps, seconds, every
        self.step, self.due, self.began = 0, False, time.time()

    def __iter__(self):
        self.began = last = time.time()
        while (share := self.share()) < 1:
            self.due = time.time() - last > self.every or self.step == 20
            last = time.time() if self.due else last
            yield self.step, share
            self.step += 1

    def share(self) -> float:
        if self.seconds is None:
            return self.step / self.steps
        return self.spent() / self.seconds if self.seconds > 0 else 1.0

    def spent(self) -> float:
        """Seconds so far."""
        return time.time() - self.began


def groups(model: nn.Module, decay: float) -> list[dict]:
    """Parameters with weight decay (matrices) and without (gains, biases)."""
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]


def descend(loss: Tensor, module: nn.Module, optimisers) -> None:
    """One step of every optimiser down the loss, with gradients of length 1 at most."""
    module.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()


class Average:
    """An exponential moving average of the weights (and a plain copy of buffers)."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        rate = min(self.decay, (step + 1) / (step + 10))
        now, mean = model.state_dict(), []
        for key, value in now.items():
            if value.is_floating_point():
                mean.append(key)
            else:
                self.state[key].copy_(value)
        state, now = [self.state[k] for k in mean], [now[k] for k in mean]
        torch._foreach_lerp_(state, now, 1 - rate)  # few kernels on a GPU

    def finite(self) -> bool:
        """Is every weight a number?"""
        return all(bool(v.isfinite().all()) for v in self.state.values())

    def load(self, state: dict) -> None:
        """Go on from the ``state`` of another average, wherever that was."""
        self.state = {k: v.to(self.state[k].device) for k, v in state.items()}


class Run:
    """One resumable run: iterate over its steps, save when due, ask for its minutes.

    ``parts``: what has a state_dict (model, optimisers); with ``average`` and the
    generator ``g`` it goes on where the checkpoint at ``path`` stands, if ``resume``.
    ``saved``: what else that checkpoint holds, {} without one. ``device``: where the
    model is; a checkpoint of a GPU goes on on a CPU and the other way round.
    """

    def __init__(
        self, name, path: Path, parts, average, g, steps: int, resume=True, device="cpu"
    ):
        self.name, self.path, self.parts, self.steps = name, path, parts, steps
        self.average, self.g, self.device = average, g, torch.device(device)
        self.saved = {}
        if resume and path.exists():
            self.saved = torch.load(
                path, map_location="cpu", weights_only=False
            )  # our own file
            for key, part in parts.items():
                part.load_state_dict(self.saved.pop(key))
            average.load(self.saved["average"])
            g.set_state(self.saved["g"])
        self.first = self.saved.get("step", 0)
        self.before = self.saved.get("minutes", 0.0)
        self.began = self.last = time.time()

    def __iter__(self):
        steps = range(self.first, self.steps)
        self.bar = tqdm(
            steps, self.name, initial=self.first, total=self.steps, mininterval=10
        )
        return iter(self.bar)

    def minutes(self) -> float:
        """Of training so far, all sessions together."""
        return round(self.before + (time.time() - self.began) / 60, 1)

    def due(self, step: int) -> bool:
        """Time to print and save? Every 90 s, soon after the start, at the end."""
        late = time.time() - self.last > 90
        return late or step in (self.first + 20, self.steps - 1)

    def save(self, step: int, **more) -> None:
        """Write the checkpoint whole or not at all; ``saved`` gives ``more`` back."""
        self.last = time.time()
        state = {k: v.state_dict() for k, v in self.parts.items()} | more
        state |= {"average": self.average.state, "g": self.g.get_state()}
        state |= {"step": step + 1, "minutes": self.minutes()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    def facts(self, **more) -> dict:
        """For the card: data, steps, minutes, machine, and ``more``."""
        return {
            "data": data_hash(),
            "steps": self.steps,
            "minutes": self.minutes(),
            "machine": machine(self.device),
        } | more


def machine(device="cpu") -> str:
    """What trains, in words for a card."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def fast_kernels() -> None:
    """Let a GPU use its fast ways."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def half(device="cpu"):
    """The context of a training step: bfloat16 where a device gains by it.

    A CPU without instructions of its own for it would crawl.
    """
    kind = torch.device(device).type
    quick = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or quick())


MIX = 0.4  # at most this share of another picture is mixed in


def in_pairs(images: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix into each picture (B, ...) a little of the one before it in the batch.

    Returns the pictures and the share of its own that each keeps, (B,). Pictures that
    nobody drew keep a model from learning its pictures by heart (mixup, Zhang 2018).
    """
    own = 1 - MIX * torch.rand(len(images), generator=g, device=g.device).to(
        images.device
    )
    share = own.view(-1, *[1] * (images.ndim - 1))
    return share * images + (1 - share) * images.roll(1, 0), own
