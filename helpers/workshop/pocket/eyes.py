"""Stage 3 of ``pocket``: a copy of the late stages and the colours learn from drawings.

Dims: B batch, C concepts, D embedding, F features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...corpus import colours
from ...pictures import on_background
from ..run import Average, in_pairs, rate, say
from . import texts as lessons
from .head import both_ways
from .pictures import tokens
from .words import encode

DROPOUT = 0.3  # on the features: a head of 0.5 M weights knows 5,000 concepts by heart
SOFT = 0.25  # share of the target that goes to concepts of a similar meaning
HALF = 0.5  # how much a plain name is right for a drawing in another colour


@torch.no_grad()
def ridge(x: Tensor, y: Tensor, strength: float = 0.08) -> tuple[Tensor, Tensor]:
    """The linear map of least squares: x (N, F), y (N, D) -> weight (D, F), bias (D,).

    ``strength`` times N is added to the diagonal.
    """
    mean = x.mean(0)
    x = x - mean
    eye = torch.eye(x.shape[1], device=x.device)
    inner = x.T @ x + strength * len(x) * eye
    W = torch.linalg.solve(inner, x.T @ y)
    return W.T, -mean @ W


class Bank:
    """The vectors of all wordings of all concepts; ``draw`` takes one of each."""

    def __init__(self, model, tokenizer, cards, ids: list[int], device):
        table = lessons.concept_texts(cards)
        names = {c["concept"]: i for c, i in zip(cards, ids, strict=True)}
        rows = [table[name] for name in sorted(names, key=names.get)]
        flat = [t for texts in rows for t in texts]
        vectors = encode(model, tokens(tokenizer, flat), device)
        most = max(map(len, rows))
        parts = vectors.split([len(r) for r in rows])
        self.vectors = torch.stack([F.pad(p, (0, 0, 0, most - len(p))) for p in parts])
        self.count = torch.tensor([len(r) for r in rows], device=device)
        self.first = self.vectors[:, 0]

    def draw(self) -> Tensor:
        """(concepts, D)"""
        pick = torch.rand(len(self.count), device=self.count.device) * self.count
        return self.vectors[torch.arange(len(pick), device=pick.device), pick.long()]


def teach_colours(tower, g: torch.Generator, steps: int) -> None:
    """Let ``tower.colour.name`` call pixels what ``colours.name_pixels`` calls them."""
    name = tower.colour.name.cpu()
    optimiser = torch.optim.AdamW(name.parameters(), lr=5e-3)
    which = torch.randint(len(colours.NAMES), (30_000,), generator=g)
    x = colours.PLAIN[which] + 0.15 * torch.randn(len(which), 3, generator=g)
    x = torch.cat([x.clamp(0, 1), torch.rand(30_000, 3, generator=g)])
    goal = colours.name_pixels(x[:, :, None, None])[:, 0, 0]
    for _ in range(steps):
        rows = torch.randint(len(x), (1024,), generator=g)
        loss = F.cross_entropy(name(4 * x[rows] - 2), goal[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    say(f"colour names of pixels, loss {loss:.3f}")


def targets(batch, bank_ids: Tensor, own: Tensor) -> Tensor:
    """Which columns (captions of the batch, then all concepts) are right for a picture.

    Returns shares (B, B + C), rows sum to 1. ``own``: share of itself that each picture
    keeps, (B,).
    """
    columns = torch.cat([batch.shown, bank_ids])
    right = (batch.shown[:, None] == columns).float()
    half = (batch.also[:, :, None] == columns).any(1).float()
    right = torch.maximum(right, HALF * half)
    right = right / right.sum(1, keepdim=True)
    own = own[:, None]
    return own * right + (1 - own) * right.roll(1, 0)


def image_stage(model, pictures, vectors, bank, size, clock, amp, save) -> int:
    """Stage 3, in place: the tuned branch, ``proj`` and the colours. Returns steps."""
    tower, device = model.visual, vectors.device
    late = list(tower.tuned.parameters())
    rest = [*tower.proj.parameters()]
    paint = list(tower.colour.parameters())
    scale = model.logit_scale
    params = [*late, *rest, *paint, scale]
    for p in params:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        [
            {"params": late, "peak": 4e-4, "weight_decay": 0.02},
            {"params": rest, "peak": 1e-3, "weight_decay": 0.02},
            {"params": paint, "peak": 2e-3, "weight_decay": 0.02},
            {"params": [scale], "peak": 5e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    average = Average(model, 0.995)
    bank_ids = torch.arange(len(bank.count), device=device)
    saved, side = False, model.config.image_size
    for step, done in clock:
        for group in optimiser.param_groups:
            group["lr"] = rate(done, group["peak"], warm=0.033)
        try:
            b = pictures(size, side)
            x, own = in_pairs(b.pictures, pictures.g)
            mixed = torch.rand(len(x), generator=pictures.g, device=device) < 0.4
            x = torch.where(mixed[:, None, None, None], x, b.pictures)
            own = torch.where(mixed, own, torch.ones_like(own))
            seen = (x - tower.mean) / tower.std
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                with torch.no_grad():
                    e = tower.early(seen)
                    named = tower.named(tower.trunk.classifier(tower.seen(e)))
                features = tower.drawn(e)
            drawn = tower.proj(F.dropout(features.float(), DROPOUT))
            cells = F.dropout(tower.colour.cells(x), 0.1)
            keep = torch.rand(len(x), 1, generator=pictures.g, device=device)
            # half of the drawings as they are must be known without their colours
            told = torch.arange(len(x), device=device)[:, None] >= b.plain
            keep = (keep < 0.5) | told
            gain = 1.5 * torch.rand(len(x), 1, generator=pictures.g, device=device)
            out = drawn + keep * tower.colour.mix(cells) + gain * named.float()
            image = F.normalize(out, dim=-1)
            captions = vectors[b.captions]
            words = torch.cat([captions, bank.draw()])
            hard = targets(b, bank_ids, own)
            with torch.no_grad():
                near = (15 * captions[: b.plain] @ bank.first.T).softmax(-1)
                target = hard.clone()
                target[: b.plain] *= 1 - SOFT
                target[: b.plain, len(x) :] += SOFT * near
            scores = model.scale() * image @ words.T
            loss = both_ways(scores, target, hard)
            cosine = own * (image * captions).sum(1)
            cosine = cosine + (1 - own) * (image * captions.roll(1, 0)).sum(1)
            loss = loss + 1 - cosine.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(late, 1.0)
            nn.utils.clip_grad_norm_(paint, 1.0)
            optimiser.step()
            with torch.no_grad():
                scale.clamp_(max=math.log(50))
            average.update(model, step)
        except torch.cuda.OutOfMemoryError:
            size //= 2
            torch.cuda.empty_cache()
            say(f"out of memory: batches of {size} now")
            if size < 32:
                break
            continue
        if clock.due:
            speed = (step + 1) * size / clock.spent()
            right = hard.gather(1, scores.argmax(1)[:, None]).gt(0).float().mean()
            say(
                f"step {step} loss {loss:.3f} cosine {cosine.mean():.3f} "
                f"right {right:.3f} scale {model.scale():.1f}, {speed:.0f} pictures/s"
            )
        if done > 0.5 and not saved:
            saved = True
            save(step, average.state)
    model.load_state_dict(average.state)
    say(f"step {clock.step}, done")
    return clock.step


@torch.no_grad()
def look(tower, rgba: Tensor, size: int, amp: bool, way=None) -> dict[str, Tensor]:
    """The parts of the embedding of drawings on white, or of ``way(rgba)`` views."""
    found = {"seen": [], "drawn": [], "named": [], "colour": []}
    for part in rgba.split(256):
        x = way(part) if way else on_background(part).float() / 255
        if x.shape[-1] != size:
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
            x = x.clamp(0, 1)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
            e = tower.early((x - tower.mean) / tower.std)
            seen, drawn = tower.seen(e).float(), tower.drawn(e).float()
        found["seen"].append(seen)
        found["drawn"].append(tower.proj(drawn))
        found["named"].append(tower.named(tower.trunk.classifier(seen)))
        found["colour"].append(tower.colour(x))
    return {k: torch.cat(v) for k, v in found.items()}
