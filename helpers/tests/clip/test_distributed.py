"""A batch spread over processes gives the gradients of the joint batch.

Two machines could swap "next" and "before" unseen, so three of them run as well. This
file is also the program that they run: one import, then a fork for each machine.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

from helpers import paths
from helpers.clip import CLIP, Config, contrastive_loss, distributed, siglip_loss

b, D = 5, 12
SMALL = Config(
    embed=16,
    image_size=32,
    width=32,
    layers=1,
    heads=2,
    vocab=40,
    context=8,
    text_width=32,
    text_layers=1,
    text_heads=2,
)
LOSSES = ("contrastive", "siglip")
KINDS = [f"{loss}, {right}" for loss in LOSSES for right in ("own", "several")]


def features(count: int) -> dict[str, torch.Tensor]:
    """The joint batch: the same numbers in every process."""
    g = torch.Generator().manual_seed(count)
    x = {k: torch.randn(count * b, D, generator=g) for k in ("images", "texts")}
    ids = torch.randint(4, (count * b,), generator=g)
    x |= {"scale": torch.tensor(9.0), "bias": torch.tensor(-3.0)}
    x |= {"positive": (ids[:, None] == ids).double()}
    x["positive"][:, 1] *= 0.3  # shares, and a table that is not its own mirror
    x["pictures"] = torch.rand(count * b, 3, 32, 32, generator=g)
    x["tokens"] = torch.randint(1, 38, (count * b, 8), generator=g)
    x["tokens"][:, 5] = 39
    return x


def leaves(x: dict, rows=slice(None)) -> list[torch.Tensor]:
    out = [x["images"][rows], x["texts"][rows], x["scale"], x["bias"]]
    return [v.double().clone().requires_grad_() for v in out]


def joint(kind: str, x: dict) -> list[torch.Tensor]:
    """Loss and gradients of one process that holds all."""
    images, texts, scale, bias = some = leaves(x)
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    right = x["positive"] if "several" in kind else None
    if "siglip" in kind:
        loss = siglip_loss(logits, bias, None if right is None else right > 0.5)
    else:
        loss = contrastive_loss(logits, right)
    loss.backward()
    return [loss, *(torch.zeros(()) if v.grad is None else v.grad for v in some)]


def shared(kind: str, x: dict, rank: int) -> dict[str, torch.Tensor]:
    """The same by one machine of several: its loss, its gradients, what it kept."""
    mine, kept = slice(rank * b, rank * b + b), [0]
    images, texts, scale, bias = some = leaves(x, mine)

    def keep(v):
        kept[0] = max(kept[0], v.numel())
        return v

    pair = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    right = x["positive"] if "several" in kind else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda v: v):
        if "siglip" in kind:
            rows = None if right is None else right[mine] > 0.5
            loss = distributed.ring_siglip_loss(*pair, scale, bias, rows)
        else:
            own = (None, None) if right is None else (right[mine], right[:, mine].T)
            loss = distributed.local_contrastive_loss(*pair, scale, *own)
    loss.backward()
    grads = [torch.zeros(()) if v.grad is None else v.grad for v in some]
    values = [loss.detach(), *grads, torch.tensor(kept[0])]
    return {f"{kind} {n}": v.contiguous() for n, v in enumerate(values)}


def whole(x: dict, rows=slice(None), spread: bool = False) -> dict:
    """Gradients of all parameters, of a CLIP with normalisation over the batch."""
    torch.manual_seed(0)
    model = distributed.join_norms(CLIP(SMALL))
    towers = distributed.Towers(model)
    towers = DistributedDataParallel(towers) if spread else towers
    seen, read, scale = towers(x["pictures"][rows], x["tokens"][rows])
    distributed.local_contrastive_loss(seen, read, scale).backward()
    out = {f"grad {n}": p.grad for n, p in model.named_parameters()}
    return out | {n: v for n, v in model.named_buffers() if "running" in n}


def machine(rank: int, count: int, folder: str) -> None:
    """What one process does; its numbers go into a file."""
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet{count}"
    dist.init_process_group("gloo", meet, rank=rank, world_size=count)
    x, out = features(count), {}
    for kind in KINDS:
        out |= shared(kind, x, rank)
    out |= whole(x, slice(rank * b, rank * b + b), spread=True)
    refused = 0
    for loss, more in (
        (distributed.local_contrastive_loss, (9.0,)),
        (distributed.ring_siglip_loss, (9.0, -3.0)),
    ):
        pair = [F.normalize(torch.randn(b - rank, D), dim=1) for _ in range(2)]
        try:
            loss(*pair, *more)
        except ValueError as error:
            refused += "give each as many" in str(error)
    out["refused"] = torch.tensor(refused)
    save_file(out, f"{folder}/{count}-{rank}.safetensors")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this torch has no gloo")
    folder, made = str(tmp_path_factory.mktemp("machines")), {}
    command = [sys.executable, "-m", __name__, folder]
    subprocess.run(command, check=True, timeout=600, cwd=paths.ROOT)
    for count in (2, 3):
        files = [f"{folder}/{count}-{r}.safetensors" for r in range(count)]
        made[count] = [load_file(f) for f in files]
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_the_loss_have_the_gradients_of_the_whole(machines, count, kind):
    loss, images, texts, scale, bias = joint(kind, features(count))
    got = [[r[f"{kind} {n}"] for n in range(5)] for r in machines[count]]
    columns = list(zip(*got, strict=True))
    near = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(torch.stack(columns[0]).mean(), loss, **near)
    # each machine's rows: the mean over machines has 1 / W of what its own loss has
    torch.testing.assert_close(torch.cat(columns[1]) / count, images, **near)
    torch.testing.assert_close(torch.cat(columns[2]) / count, texts, **near)
    torch.testing.assert_close(torch.stack(columns[3]).mean(0), scale, **near)
    torch.testing.assert_close(
        torch.stack(columns[4]).mean(0), bias.to(columns[4][0]), **near
    )
    assert images.abs().max() > 1e-3 and scale.abs() > 1e-4


def test_memory_grows_with_the_own_share(machines):
    for kind in KINDS:
        for results in (machines[2], machines[3]):
            B = b * len(results)
            for kept in (int(r[f"{kind} 5"]) for r in results):
                assert kept <= (max(b * b, b * D) if "siglip" in kind else B * D)
                assert kept < B * B or "contrastive" in kind


def test_ddp_gives_the_gradients_of_the_joint_batch(machines):
    want, (first, second) = whole(features(2)), machines[2]
    assert any("conv1" in n for n in want) and any("running" in n for n in want)
    for name, value in want.items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(first[name], second[name])


def test_unequal_shares_get_a_sentence_not_a_wait(machines):
    assert [int(r["refused"]) for r in machines[2]] == [2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_one_machine_is_the_plain_loss(kind):
    x = {k: v[: 3 * b] for k, v in features(3).items() if v.ndim} | {
        "scale": torch.tensor(4.0),
        "bias": torch.tensor(-1.0),
    }
    alone = leaves(x)
    pair = F.normalize(alone[0], dim=1), F.normalize(alone[1], dim=1)
    right = x["positive"] if "several" in kind else None
    if "siglip" in kind:
        rows = None if right is None else right > 0.5
        loss = distributed.ring_siglip_loss(*pair, alone[2], alone[3], rows)
    else:
        own = (None, None) if right is None else (right, right.T)
        loss = distributed.local_contrastive_loss(*pair, alone[2], *own)
    torch.testing.assert_close(loss, joint(kind, x)[0])
    with pytest.raises(ValueError, match="own rows against those"):
        distributed.local_contrastive_loss(*pair, 9.0, torch.ones(2, 2))


if __name__ == "__main__":
    way = "fork" if hasattr(os, "fork") else "spawn"
    for each in (2, 3):
        start_processes(machine, (each, sys.argv[1]), each, start_method=way)
