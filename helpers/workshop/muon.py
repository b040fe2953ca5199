"""Muon, the optimiser for matrices, beside AdamW for the rest."""

import math

import torch
from torch import Tensor, nn

from .run import groups


class Muon(torch.optim.Optimizer):
    """``torch.optim.Muon`` (adjust_lr_fn "match_rms_adamw") for many matrices at once.

    Matrices of one shape are made orthogonal together, which a GPU does as fast as one;
    kernels of convolutions count as matrices (out, in * height * width).
    """

    def __init__(self, params, lr=1e-3, weight_decay=0.1, momentum=0.95):
        super().__init__(params, {"lr": lr, "decay": weight_decay, "beta": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes: dict[tuple, list] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.flatten(1).shape), []).append(p)
            for (rows, columns), params in shapes.items():
                grads = [p.grad for p in params]
                for p in params:
                    if not self.state[p]:
                        self.state[p]["mean"] = torch.zeros_like(p)
                means = [self.state[p]["mean"] for p in params]
                torch._foreach_lerp_(means, grads, 1 - group["beta"])
                ahead = torch._foreach_lerp(grads, means, group["beta"])  # Nesterov
                step = orthogonal(torch.stack([u.flatten(1) for u in ahead]))
                rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
                torch._foreach_mul_(params, 1 - group["lr"] * group["decay"])
                steps = [
                    u.reshape(p.shape).to(p) for u, p in zip(step, params, strict=True)
                ]
                torch._foreach_add_(params, steps, alpha=-rate)


def orthogonal(x: Tensor, rounds: int = 5) -> Tensor:
    """Newton and Schulz's steps towards the nearest orthogonal matrices, (N, m, n)."""
    turned = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if turned else x
    x = x.bfloat16() if x.is_cuda else x  # many CPUs are slow at half precision
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(rounds):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if turned else x


def rest_of(model: nn.Module, inner: list[Tensor], decay: float) -> list[dict]:
    """Groups for AdamW: the parameters of a model that are not among ``inner``."""
    known, rest = {id(p) for p in inner}, groups(model, decay)
    for group in rest:
        group["params"] = [p for p in group["params"] if id(p) not in known]
    return rest
