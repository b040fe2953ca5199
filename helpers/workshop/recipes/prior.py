"""The prior of notebook 04: a GPT over the codes of the shipped VQGAN.

Every picture of the train split (no silhouettes) becomes a grid of codes, in several
views; the GPT learns to continue it, told the style and the group of the drawing.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ... import corpus, gpt, vqgan, weights
from ...pictures import on_background
from ...vqgan.prior import ANY, Prior
from ..run import WORK, Average, Run, groups, half, learning_rate

FILE = "prior-pocket.safetensors"
VIEWS = 2  # as drawn, and mirrored
UNTOLD = 0.15  # how often a condition is left open


@torch.inference_mode()
def code_views(split: corpus.Corpus, model: vqgan.VQGAN) -> Tensor:
    """The codes of all without_silhouettes on white, (VIEWS, N, grid * grid) int16."""
    out, device = [], model.post_quant_conv.weight.device
    for view in range(VIEWS):
        rows = []
        for part in tqdm(split.rgba.split(64), desc=f"codes, view {view}"):
            x = on_background(part).to(device).float() / 127.5 - 1
            if view:
                x = x.flip(3)
            with half(device):
                z = model.encode(x)
            found = model.quantize.nearest(z.float()).flatten(1)
            rows.append(found.to(torch.int16).cpu())
        out.append(torch.cat(rows))
    return torch.stack(out)


def train(
    steps: int = 2400,
    seed: int = 0,
    resume: bool = True,
    out: Path | None = None,
    device="cpu",
    batch: int = 16,
    split: corpus.Corpus | None = None,
    codes: vqgan.VQGAN | None = None,
    peak: float = 1.5e-3,
) -> Prior:
    """Train the prior; with ``out`` save it there with its card."""
    torch.manual_seed(seed)
    split = split or corpus.without_silhouettes(corpus.load("train"))
    codes = codes or vqgan.load("pocket", device)
    lists = {
        "styles": [ANY, *sorted({c["style"] for c in split.cards})],
        "groups": [ANY, *sorted({c["group"] for c in split.cards})],
    }
    g = torch.Generator().manual_seed(seed)
    path = WORK / f"prior-{codes.card['mark'][:8]}.codes"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(code_views(split, codes), path)
    views = torch.load(path, weights_only=True)
    config = gpt.Config(
        codes=codes.count,
        grid=codes.config.resolution // codes.config.stride,
        values=len(lists["styles"]) + len(lists["groups"]),
    )
    model = gpt.GPT(config).to(device)
    style = torch.tensor([lists["styles"].index(c["style"]) for c in split.cards])
    group = torch.tensor([lists["groups"].index(c["group"]) for c in split.cards])
    optimiser = torch.optim.AdamW(groups(model, 0.05), betas=(0.9, 0.95))
    average = Average(model, 0.998)
    parts = {"model": model, "optimiser": optimiser}
    path = WORK / "prior.checkpoint"
    run = Run("prior", path, parts, average, g, steps, resume, device)
    for step in run:
        for part in optimiser.param_groups:
            part["lr"] = learning_rate(step, steps, peak, 100)
        rows = torch.randint(len(split), (batch,), generator=g)
        view = torch.randint(VIEWS, (batch,), generator=g)
        told = torch.rand(batch, 2, generator=g) >= UNTOLD
        ahead = torch.stack([style[rows], group[rows]], 1) * told  # 0 is "any"
        ahead = ahead + torch.tensor(
            [config.codes, config.codes + len(lists["styles"])]
        )
        tokens = torch.cat([ahead, views[view, rows].long()], 1).to(device)
        model.train()
        with half(device):
            logits = model(tokens[:, :-1])
        at = config.conditions - 1  # the conditions themselves are not predicted
        loss = F.cross_entropy(
            logits[:, at:].flatten(0, 1).float(), tokens[:, at + 1 :].flatten()
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model, step)
        if run.due(step):
            print(f"step {step} loss {loss:.3f}", flush=True)
            run.save(step)
    model.load_state_dict(average.state)
    card = run.facts(
        model="prior-pocket",
        vqgan=codes.card["mark"],
        seed=seed,
        batch=batch,
        loss=round(loss.item(), 3),
    )
    if out:
        weights.save_model(out, "prior", model, card, lists=lists)
    return Prior(model.eval(), codes, lists, card)
