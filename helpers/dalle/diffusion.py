"""Diffusion: from noise to a picture in small steps (Ho 2020; Song 2021; Nichol 2021).

Dims: B batch, ... any shape (a picture (3, H, W), an embedding (D,)). Time t runs from
0 (no noise) to 1 (noise only). Networks here predict the clean x ("x0") or the velocity
("v", Salimans and Ho 2022); from either follow the clean x and the noise.
"""

import math

import torch
from torch import Tensor, nn

from ..values import number, one_of, whole


def signal(t: Tensor) -> tuple[Tensor, Tensor]:
    """(share of the picture, share of the noise) at t (B,), their squares sum to 1.

    The cosine schedule of Nichol and Dhariwal (2021), bent at its ends.
    """
    angle = (0.008 + 0.984 * t) * math.pi / 2
    return angle.cos(), angle.sin()


def like(a: Tensor, x: Tensor) -> Tensor:
    """(B,) with as many dimensions as x, to multiply it."""
    return a.view(-1, *[1] * (x.ndim - 1))


def add_noise(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x (B, ...) as it looks at time t (B,)."""
    a, s = signal(t)
    return like(a, x) * x + like(s, x) * noise


def velocity(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What a v-predicting network should say at time t: a * noise - s * x."""
    a, s = signal(t)
    return like(a, x) * noise - like(s, x) * x


def clean_and_noise(said: Tensor, x_t: Tensor, t: Tensor, kind: str, limit=None):
    """(clean x, noise) from what the network said about x_t at time t.

    kind: "x0" or "v". ``limit``: the clean x is cut to [-limit, limit], and the noise
    made to fit.
    """
    one_of("kind of prediction", kind, ("x0", "v"))
    a, s = (like(part, x_t) for part in signal(t))
    x = said if kind == "x0" else a * x_t - s * said
    if limit is not None:
        x = x.clamp(-limit, limit)
    return x, (x_t - a * x) / s


@torch.no_grad()
def ddim(
    said_by,
    x: Tensor,
    steps: int,
    kind: str,
    limit: float | None = None,
    watch=None,
    begin: float = 1.0,
) -> Tensor:
    """Walk from noise x (B, ...) to a picture in ``steps`` steps (DDIM, eta 0).

    ``said_by``: function of (x_t, t (B,)). ``watch``: called with (step, clean x) after
    each. ``begin``: the time at which x stands. Raises ValueError for no steps,
    another kind and a time outside of 0 to 1.
    """
    steps = whole("The steps", steps, 1, 10_000)
    begin = number("The time at which it begins", begin, 0, 1)
    times = torch.linspace(begin, 0, steps + 1, device=x.device)
    for n in range(steps):
        t, after = (times[k].expand(len(x)) for k in (n, n + 1))
        clean, noise = clean_and_noise(said_by(x, t), x, t, kind, limit)
        x = clean if n == steps - 1 else add_noise(clean, noise, after)
        if watch is not None:
            watch(n, clean)
    return x


@torch.no_grad()
def ddim_back(said_by, x: Tensor, steps: int, kind: str) -> Tensor:
    """The walk the other way, from a picture to the noise that draws it again."""
    steps = whole("The steps", steps, 1, 10_000)
    times = torch.linspace(0, 1, steps + 1, device=x.device)
    for n in range(steps):
        t, after = (times[k].expand(len(x)) for k in (n, n + 1))
        clean, noise = clean_and_noise(said_by(x, t), x, t, kind)
        x = add_noise(clean, noise, after)
    return x


def guided(network, guidance: float):
    """Say it twice, with the condition and without, and go beyond (Ho 2022).

    network: function of (x_t, t, told (B,) bool). guidance 1 is the condition alone, 0
    ignores it. Raises ValueError below 0.
    """
    guidance = number("The guidance", guidance, 0, 1000)

    def said_by(x: Tensor, t: Tensor) -> Tensor:
        told = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if guidance == 1:
            return network(x, t, told)
        both = network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([told, ~told]))
        with_it, without = both.chunk(2)
        return without + guidance * (with_it - without)

    return said_by


class Clock(nn.Module):
    """Time t (B,) in [0, 1] as sines and cosines, then two layers: (B, width)."""

    def __init__(self, width: int, waves: int = 64):
        super().__init__()
        rates = torch.exp(torch.linspace(0, math.log(1000), waves))
        self.register_buffer("rates", rates, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None] * self.rates
        return self.layers(torch.cat([angle.sin(), angle.cos()], 1))
