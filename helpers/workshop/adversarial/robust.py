"""Train a CLIP that small changes of a picture do not fool.

Half of every batch are pictures that were changed, within a small ball, so as to fit
their captions worst (adversarial training, Madry et al. 2018). What such a network
answers to are the shapes that a person sees too, and its gradient draws them
(Santurkar et al. 2019). Dims: B batch, K wrong pictures, D embedding, S pixels a side.
"""

import math
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import weights
from ...clip import CLIP, Config, contrastive_loss, fast, files
from ...clip.tokenizer import Tokenizer
from ...corpus import augment, painted
from ..muon import Muon, rest_of
from ..run import (
    MIX,
    Average,
    Clock,
    data_hash,
    descend,
    fast_kernels,
    half,
    machine,
    rate,
)
from .batches import NOTHING, Pictures, Plans, loader


def optimisers(model: CLIP, peak: float, fused: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for the rest ("peak" in each group)."""
    ends = ("embedding", "conv1.weight", "conv1.0.", "projection", "visual.proj")
    inner = [
        p
        for n, p in model.named_parameters()
        if p.ndim in (2, 4) and not any(end in n for end in ends)
    ]
    # the first convolution of a block is called conv1 as well, but lies in a layer
    inner += [p for n, p in model.named_parameters() if ".layer" in n and "conv1" in n]
    rest = rest_of(model, inner, 0.1)
    for group in rest:
        group["peak"] = peak
    adam = torch.optim.AdamW(rest, betas=(0.9, 0.98), eps=1e-6, fused=fused)
    return [adam, Muon([{"params": inner, "peak": 2 * peak}])]


def attack(
    score, x: Tensor, eps: Tensor, steps: int, g: torch.Generator, stride: float = 0.67
) -> Tensor:
    """The pictures near ``x`` (B, 3, S, S) with the highest ``score``, by PGD in L2.

    ``score``: pictures -> a number (the sum over them); ``eps`` (B,): how far each may
    go; it starts anywhere within and makes ``steps`` steps of ``stride`` times ``eps``.
    """
    eps = eps.view(-1, 1, 1, 1)

    def unit(d: Tensor) -> Tensor:
        return d / d.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)

    d = unit(torch.randn(x.shape, generator=g, device=g.device).to(x.device))
    d = d * eps * torch.rand(len(x), 1, 1, 1, generator=g, device=g.device).to(x.device)
    for _ in range(steps):
        d.requires_grad_()
        (slope,) = torch.autograd.grad(score(x + d), d)
        d = d.detach() + stride * eps * unit(slope.float())
        size = d.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
        d = d * (eps / size).clamp(max=1)
    return (x + d.detach()).clamp(0, 1)


def positives(shown: Tensor, also: Tensor, told: Tensor | None = None) -> Tensor:
    """(B pictures, N captions) bool: which caption is true of which picture.

    ``shown``, ``also`` (B,): of the pictures; ``told`` (N,): of the captions, which are
    those of the same pictures if it is not given.
    """
    told = shown if told is None else told
    return (shown[:, None] == told) | (also[:, None] == told)


def soften(x: Tensor, g: torch.Generator, share: float = 0.25) -> Tensor:
    """Mild blur for a ``share`` of the pictures, mild noise for another."""
    rand = torch.rand(3, len(x), 1, 1, 1, generator=g, device=g.device).to(x.device)
    blur = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    blur = F.avg_pool2d(blur, 3, 1, 1, count_include_pad=False)
    x = torch.where(rand[0] < share, x + (blur - x) * rand[2], x)
    noise = torch.randn(x.shape, generator=g, device=g.device).to(x.device)
    x = x + noise * 0.08 * rand[2] * ((rand[1] < share) & (rand[0] >= share))
    return x.clamp(0, 1)


@dataclass
class Recipe:
    """What one training needs to know."""

    name: str
    config: Config
    batch: int
    eps: float  # of the attack, L2 for pictures in [0, 1], at most
    attacks: int  # its steps
    peak: float = 1e-3  # learning rate of AdamW; Muon has twice that
    decay: float = 0.998  # of the running mean of the weights
    seed: int = 0
    steps: int = 4000
    workers: int = 4
    share: float = 0.5  # of the right pictures, how many are attacked
    init: Path | None = None  # weights to go on from, instead of random ones


def keep(path: Path, config, average: Average, tokenizer, card: dict) -> bool:
    """Save the mean weights, unless a number among them is none."""
    if not average.finite():
        print("the weights are no numbers: not saved", flush=True)
        return False
    copy = CLIP(config)
    copy.load_state_dict({k: v.cpu() for k, v in average.state.items()})
    folder = path.parent / f"{path.stem}.tmp"  # hashes.json is written on landing
    files.save_clip(folder / path.name, copy, tokenizer, card)
    (folder / path.name).replace(path)
    shutil.rmtree(folder)
    return True


def beginning(r: Recipe, paint, small: bool = False) -> tuple[CLIP, tuple]:
    """A model with random weights, or those of ``r.init``, and plain shapes."""
    device = paint.rgba.device
    fast_kernels()
    torch.manual_seed(r.seed)
    model = CLIP(r.config)
    for name, p in model.named_parameters():
        if name.endswith("bn3.weight") and ".layer" in name:
            nn.init.zeros_(p)  # each block begins as its shortcut
    if r.init:
        weights.load_state(model, files.load_clip(r.init)[0].state_dict(), r.init.name)
    model = fast.speed_up(model.to(device))
    model.visual.to(memory_format=torch.channels_last)
    bank = painted.plain_shapes(
        60 if small else 3000,
        paint.rgba.shape[-1],
        paint.hidden,
        random.Random(r.seed),
        torch.Generator().manual_seed(r.seed),
    )
    return model, bank


def card_of(r: Recipe, split) -> dict:
    """What a card says before the training."""
    return {
        "model": r.name,
        "data": data_hash(),
        "artists": sorted({c["source"] for c in split.cards}),
        "seed": r.seed,
        "batch": r.batch,
        "attack": f"L2, at most {r.eps} in [0, 1], {r.attacks} steps, "
        f"{r.share:.0%} of the batch",
        "optimisers": ["AdamW", "Muon"],
    }


def mixed(x: Tensor, own: Tensor) -> Tensor:
    """Each picture (b, 3, S, S) keeps a share ``own`` (b,), the rest is the last's."""
    share = own.view(-1, 1, 1, 1)
    return share * x + (1 - share) * x.roll(1, 0)


def learn(model, loss: Tensor, both, average: Average, step: int) -> None:
    """One step down the loss: weights, temperature (at most 100), running mean."""
    descend(loss, model, both)
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(100))
    average.update(model, step)


def fit(
    recipe: Recipe,
    split,
    paint,
    tokenizer: Tokenizer,
    seconds: float | None = None,
    out: Path | None = None,
    wrong=None,
    small: bool = False,
) -> CLIP:
    """Train from random weights, save at ``out`` if given; returns the model (EMA).

    ``paint``: the ``Painted`` of ``split``, on the device that trains. ``seconds``:
    how long, instead of the recipe's steps. ``wrong``: see wrong.py. ``small``: two
    steps, to try it all.
    """
    r, device, began = recipe, paint.rgba.device, time.time()
    model, bank = beginning(r, paint, small)
    g = torch.Generator(device).manual_seed(r.seed)
    force = wrong.force if wrong else 0
    forced = wrong.rows if wrong else ()
    plans = loader(
        Plans(paint, bank[1:], tokenizer, r.batch, r.seed, forced, force),
        0 if small else r.workers,
    )
    pictures = Pictures(paint, bank[0])
    average = Average(model, r.decay)
    both = optimisers(model, r.peak, device.type == "cuda")
    many = max(1, round(r.share * r.batch))  # so many are attacked
    card = card_of(r, split)
    if r.init:
        card["init"] = r.init.name
    if wrong is not None:
        card |= {"nothing": NOTHING, "failed drawings": wrong.failed}
    left = seconds and seconds - (time.time() - began)
    clock, saved = Clock(2 if small else r.steps, None if small else left), 0.0

    def see(x: Tensor) -> Tensor:
        with half(device):
            return model.encode_image(x)

    def save(steps: int) -> bool:
        spent = round((time.time() - began) / 60, 2)
        facts = {"steps": steps, "minutes": spent, "machine": machine(device)}
        return keep(out, r.config, average, tokenizer, card | facts)

    line = f"{r.name}: {len(split.cards)} drawings, {len(paint.hidden)} hidden names"
    print(f"{line}, ready after {time.time() - began:.0f} s", flush=True)
    for step, progress in clock:
        plan = next(plans)
        for group in [group for o in both for group in o.param_groups]:
            group["lr"] = rate(progress, group["peak"], warm=0.04)
        tokens = torch.as_tensor(plan["tokens"], device=device)
        shown, also = (
            torch.as_tensor(plan[k], device=device) for k in ("shown", "also")
        )
        x = augment.random_views(
            pictures(plan), r.config.image_size, g, keep_colours=True
        )
        positive = positives(shown, also)
        bad = wrong.draw(x, plan, progress) if wrong else None
        own = 1 - MIX * torch.rand(r.batch, generator=g, device=device)
        own[1::2] = 1.0  # every other picture is left as it is
        x = soften(mixed(x, own), g)
        own = own[:, None]
        truth = own * positive + (1 - own) * positive.roll(1, 0)
        with half(device):
            text = model.encode_text(tokens, cut=False)  # (B + 1, D), the last: nothing
        if wrong is None:
            text = text[:-1]

        # the attack: a share of the pictures, every wrong one
        with torch.no_grad():
            still, scale = text.detach(), model.scale()
        target = truth[-many:] / truth[-many:].sum(1, keepdim=True)

        def score(x: Tensor, still=still, scale=scale, target=target) -> Tensor:
            logits = scale * see(x) @ still.T
            logs = logits[:many].log_softmax(1)[:, : r.batch]
            loss = -(target * logs).sum()
            if wrong is not None:
                loss = loss + wrong.allure(logits[many:]).sum()
            return loss

        ramp = 1.0 if r.init else min(1.0, progress / 0.3)
        eps = ramp * r.eps * torch.rand(many, generator=g, device=device).sqrt()
        near = x[-many:]
        if wrong is not None:
            near = torch.cat([near, bad])
            eps = torch.cat([eps, wrong.eps(ramp)])
        model.visual.eval()
        near = attack(score, near, eps, r.attacks, g)
        model.visual.train()
        if wrong is not None:
            wrong.remember(near[many:])
        seen = see(torch.cat([x[:-many], near]))
        logits = model.scale() * seen @ text.T  # (B + K, B or B + 1)
        if wrong is None:
            loss = contrastive_loss(logits, truth)
        else:
            loss = wrong.loss(logits, truth)
        learn(model, loss, both, average, step)
        if clock.due:
            right = positive.gather(1, logits[: r.batch, : r.batch].argmax(1)[:, None])
            right = right.float()[:, 0]
            line = f"{r.name} {progress:.0%} step {step} loss {loss.item():.3f}"
            line += f" right {right[:-many].mean():.3f} attacked "
            line += f"{right[-many:].mean():.3f} scale {model.scale().item():.0f}"
            if wrong is not None:
                line += wrong.report(logits)
            print(line, flush=True)
        if out and (progress - saved > 0.3 or step == 1):
            saved = progress
            save(step + 1)
    if out:
        save(clock.step)
    print(f"{r.name}: {clock.step} steps, {time.time() - began:.0f} s", flush=True)
    model.load_state_dict(average.state)
    return model.eval()
