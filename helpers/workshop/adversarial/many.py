"""The training of robust.py on many machines: ``torchrun`` starts this once on each.

Each machine paints, attacks and reads its own b = B / W pictures; DistributedData-
Parallel takes the mean of the gradients, and clip/distributed.py says what each share
of the loss is. Every batch is a function of the seed, the step and the machine, so a
training that lost a machine goes on from its last checkpoint and ends with the weights
that it would have had. ``torchrun --max-restarts 3`` starts all machines again by
itself. Dims: W machines, b pictures on each, B in all, S pixels a side.
"""

import hashlib
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ...clip import CLIP
from ...clip.distributed import (
    Towers,
    gathered,
    join_norms,
    local_contrastive_loss,
    place,
)
from ...corpus import augment
from ..run import MIX, WORK, Average, Run, half, rate
from .batches import Numbered, Pictures, Plans, loader, seed_of
from .robust import (
    Recipe,
    attack,
    beginning,
    card_of,
    keep,
    learn,
    mixed,
    optimisers,
    positives,
    soften,
)

PLAIN = ("shown", "also")  # what pictures show, and the plainer name


def count() -> int:
    """How many machines (processes) ``torchrun`` has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def own_device(device, batch: int, seconds=None) -> torch.device:
    """The device of this process: of several GPUs its own.

    Raises ValueError with one sentence for what cannot be shared out.
    """
    device, local = torch.device(device), int(os.environ.get("LOCAL_RANK", 0))
    if count() == 1:
        return device
    if seconds:
        raise ValueError(
            "Machines that count seconds part company: give --steps, not --seconds."
        )
    if batch % count() or batch // count() < 2:
        raise ValueError(
            f"A batch of {batch} cannot be shared by {count()} processes: "
            "give a multiple of their number, two pictures each or more."
        )
    if device.type != "cuda":
        return device
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"This machine has {torch.cuda.device_count()} GPUs: "
            "start no more processes than that (--nproc-per-node)."
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def checkpoint_of(recipe: Recipe) -> Path:
    """Where this training, and no other, keeps its checkpoint."""
    mark = hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]
    return WORK / f"{recipe.name}-{mark}.checkpoint"


def agree(first: int, path: Path, device) -> None:
    """Do all machines begin at the same step? Raises ValueError if not."""
    steps = gathered(torch.tensor([first], device=device)).tolist()
    if len(set(steps)) > 1:
        raise ValueError(
            f"The machines would begin at steps {steps}: let all of them see the "
            f"folder {path.parent}, or delete {path.name} in it."
        )


def truths(plan: dict, own: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of truth, two tables (b, B): own pictures by captions, and turned round.

    ``own`` (b,): the share of itself that each own picture keeps. The picture mixed
    into picture i of a machine is the one before it there.
    """
    shown, also = (torch.as_tensor(plan[k], device=own.device) for k in PLAIN)
    all_shown, all_also, all_own = gathered(shown), gathered(also), gathered(own)

    def share(true: Tensor, keeps: Tensor) -> Tensor:  # (..., b pictures, N captions)
        keeps = keeps[..., None]
        return keeps * true + (1 - keeps) * true.roll(1, -2)

    b = len(own)
    rows = share(positives(shown, also, all_shown), own)  # (b, B)
    columns = positives(all_shown, all_also, shown)  # (B pictures, b own captions)
    columns = share(columns.view(-1, b, b), all_own.view(-1, b))  # (W, b, b)
    return rows, columns.reshape(-1, b).T


def fit(
    recipe: Recipe,
    split,
    paint,
    tokenizer,
    out: Path | None = None,
    small: bool = False,
) -> CLIP:
    """Train from random weights, or from the last checkpoint, on all machines.

    As ``robust.fit``, but for the wrong pictures; the first machine saves at ``out``.
    """
    device = paint.rgba.device
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        return together(recipe, split, paint, tokenizer, out, small)
    finally:
        dist.destroy_process_group()


def together(r: Recipe, split, paint, tokenizer, out, small) -> CLIP:
    device, (rank, machines) = paint.rgba.device, place()
    b = r.batch // machines
    many = max(1, round(r.share * b))  # so many are attacked
    model, bank = beginning(r, paint, small)
    join_norms(model)
    gpus = [device.index] if device.type == "cuda" else None
    towers = DistributedDataParallel(Towers(model), device_ids=gpus)
    pictures, average = Pictures(paint, bank[0]), Average(model, r.decay)
    both = optimisers(model, r.peak, device.type == "cuda")
    parts = {"model": model, "adamw": both[0], "muon": both[1]}
    path, g = checkpoint_of(r), torch.Generator(device)
    run = Run(r.name, path, parts, average, g, r.steps, device=device)
    agree(run.first, path, device)
    steps = range(run.first, r.steps)
    plans = Numbered(Plans(paint, bank[1:], tokenizer, b, r.seed), rank)
    plans = loader(plans, 0 if small else r.workers, steps)
    for step in run if rank == 0 else steps:
        plan, progress = next(plans), step / r.steps
        number = seed_of(r.seed, step, rank)
        torch.manual_seed(number)  # Pictures draws from it
        g.manual_seed(number)
        for group in [group for o in both for group in o.param_groups]:
            group["lr"] = rate(progress, group["peak"], warm=0.04)
        x = augment.random_views(
            pictures(plan), r.config.image_size, g, keep_colours=True
        )
        own = 1 - MIX * torch.rand(b, generator=g, device=device)
        own[1::2] = 1.0  # every other picture is left as it is
        x = soften(mixed(x, own), g)
        rows, columns = truths(plan, own)
        tokens = torch.as_tensor(plan["tokens"], device=device)[:-1]
        near = attacked(model, x[-many:], tokens, rows[-many:], r, progress, g)
        with half(device):
            seen, read, scale = towers(torch.cat([x[:-many], near]), tokens, cut=False)
        loss = local_contrastive_loss(seen, read, scale, rows, columns)
        learn(model, loss, both, average, step)
        if rank == 0 and run.due(step):
            run.save(step)
            print(f"{r.name} step {step} loss {loss.item():.3f}", flush=True)
    if rank == 0:
        if out:
            card = card_of(r, split) | run.facts(processes=machines)
            keep(out, r.config, average, tokenizer, card)
        path.unlink(missing_ok=True)
    dist.barrier()
    model.load_state_dict(average.state)
    return model.eval()


def attacked(model, x: Tensor, tokens: Tensor, truth: Tensor, r, progress, g) -> Tensor:
    """Own pictures (n, 3, S, S), changed so as to fit their captions (n, B) worst."""
    with torch.no_grad(), half(x.device):
        still, scale = gathered(model.encode_text(tokens, cut=False)), model.scale()
    truth = truth / truth.sum(1, keepdim=True)

    def score(x: Tensor) -> Tensor:
        with half(x.device):
            logits = scale * model.encode_image(x) @ still.T
        return -(truth * logits.log_softmax(1)).sum()

    far = torch.rand(len(x), generator=g, device=x.device).sqrt()
    eps = min(1.0, progress / 0.3) * r.eps * far
    model.visual.eval()
    near = attack(score, x, eps, r.attacks, g)
    model.visual.train()
    return near
