"""Wrong pictures for a judge: what shows nothing, however much it looks like something.

They are nobody's picture: captions must not choose them, and they must choose no
caption but "nothing". Dims: B batch, K wrong pictures, S pixels a side.
"""

import json
import math
import random
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import corpus, paths
from ...dream import cutouts, prompts
from ...pictures import on_background
from ..run import half

CARRIED = paths.ROOT / ".carry" / "judge"  # on a machine without the held-out splits
FAILED, OWN, MADE, CODES = 512, 512, 16, 32


def avoided() -> set[str]:
    """The captions of ``evaluate dream``: no failed drawing is made for them."""
    kept = CARRIED / "avoid.json"
    if kept.exists():
        return set(json.loads(kept.read_text("utf-8")))
    from ..evaluate.dream import captions

    try:
        return set(captions())
    except (ValueError, FileNotFoundError):
        print("no captions to avoid: neither a list of them nor the split is here")
        return set()


def many_views(pictures: Tensor, cuts: int, size: int, g: torch.Generator) -> Tensor:
    """Views as ``cutouts.views`` makes them, of many pictures at once.

    (P, 3, H, W) -> (cuts * P, 3, S, S); view v is of picture v % P.
    """
    P, device = len(pictures), pictures.device
    recipe = replace(cutouts.RECIPES["pixray"], noise=0.0)
    M = cutouts.homographies(cuts * P, tuple(pictures.shape[-2:]), recipe, g)
    line = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    where = points @ M.to(device).transpose(1, 2)
    grid = where[..., :2] / where[..., 2:].clamp(min=0.1)
    grid = grid.view(cuts * P, size, size, 2)
    seen = F.grid_sample(
        (pictures - 0.5).repeat(cuts, 1, 1, 1), grid, align_corners=False
    )
    seen = cutouts.change_colours(seen + 0.5, recipe, g)
    strength = 0.05 * torch.rand(len(seen), 1, 1, 1, device=device)
    return seen + strength * torch.randn_like(seen)


def failed_drawings(
    guide,
    captions,
    size: int,
    steps: int,
    cuts: int,
    until: float,
    g,
    at_once: int | None = None,
) -> Tensor:
    """Pictures that a guide believes in: its score climbed on raw pixels.

    Like ``dream`` with the drawer "pixel" and blocks of one pixel, many at once.
    Returns (N, 3, S, S) half in [0, 1] on the guide's device; N may be smaller than the
    number of ``captions`` if the clock passes ``until``.
    """
    device, model = guide.device, guide.model.eval().requires_grad_(False)
    at_once = at_once or (64 if device.type == "cuda" else 16)
    goals = guide.embed_texts(captions).to(device)
    look, out = cutouts.cut_size(guide), []
    for goal in goals.split(at_once):
        if out and time.time() > until:
            break
        colours = 0.5 + 0.15 * torch.randn(len(goal), 3, size, size, generator=g)
        colours = colours.clamp(0, 1).to(device).requires_grad_()
        adam = torch.optim.Adam([colours], lr=0.03)
        for step in range(steps):
            if step == round(0.75 * steps):
                adam.param_groups[0]["lr"] = 0.01
            if out and time.time() > until:
                break
            views = many_views(colours, cuts, look, g)
            with half(device):
                seen = model.encode_image(views)
            loss = prompts.distance(seen, goal.repeat(cuts, 1)).sum()
            (colours.grad,) = torch.autograd.grad(loss, colours)
            adam.step()
            with torch.no_grad():
                colours.clamp_(0, 1)
        out.append(colours.detach().half())
    return torch.cat(out)


def tiles_moved(x: Tensor, side: int) -> Tensor:
    """Cut pictures (B, 3, S, S) into tiles of ``side`` pixels and lay them anew."""
    B, C, S = x.shape[:3]
    n = S // side
    x = x[..., : n * side, : n * side].reshape(B, C, n, side, n, side)
    x = x.permute(0, 2, 4, 1, 3, 5).reshape(B, n * n, C, side, side)
    x = x[:, torch.randperm(n * n, device=x.device)].view(B, n, n, C, side, side)
    x = x.permute(0, 3, 1, 4, 2, 5).reshape(B, C, n * side, n * side)
    return F.pad(x, (0, S - n * side, 0, S - n * side), mode="replicate")


def dim_memory(x: Tensor, side: int) -> Tensor:
    """Blur pictures until only ``side`` x ``side`` colours are left."""
    small = F.adaptive_avg_pool2d(x, side)
    return F.interpolate(small, x.shape[-2:], mode="bicubic").clamp(0, 1)


def noises(count: int, size: int, device) -> Tensor:
    """Noise, fine and coarse: (count, 3, S, S)."""
    parts = []
    for side in (size, size // 4, 8, 4):
        many = math.ceil(count / 4)
        noise = 0.5 + 0.3 * torch.randn(many, 3, side, side, device=device)
        parts.append(F.interpolate(noise, (size, size), mode="bilinear"))
    return torch.cat(parts)[:count].clamp(0, 1)


class Wrong:
    """The wrong pictures of a training, for ``robust.fit``.

    Every batch gets ``force`` failed drawings with the captions that they failed at:
    half of them dreamed by the ``guide`` beforehand, half by the judge itself, which
    goes on with them each time it meets them. Then pictures of a ``codes`` VQGAN
    (shuffled and random codes), and what is left of drawings when they are blurred,
    mixed up in tiles or pixels, and noise.
    """

    def __init__(self, paint, size, guide, codes, until, seed=0, small=False):
        rng = random.Random(seed)
        self.device, self.size, self.codes = paint.rgba.device, size, codes
        self.gpu = torch.Generator(self.device).manual_seed(seed)
        g = torch.Generator().manual_seed(seed)
        avoid = avoided()
        rows = [
            i
            for i, c in enumerate(paint.cards)
            if corpus.article(c["name"]) not in avoid
        ]
        count, own, steps, cuts = (4, 4, 2, 2) if small else (FAILED, OWN, 80, 6)
        self.rows = rng.sample(rows, count + own)
        names = [corpus.article(paint.cards[i]["name"]) for i in self.rows[:count]]
        failed = failed_drawings(guide, names, size, steps, cuts, until, g)
        self.failed = len(failed)
        self.rows = self.rows[: self.failed] + self.rows[count:]
        self.store = torch.cat([failed, self.fresh(own).half()])
        self.force = 4 if small else 80
        self.made, self.shown = (2, 4) if small else (MADE, CODES)
        self.book = self.bank(paint, 8 if small else 1024)
        self.kinds = [("failed", self.force), ("codes", self.shown)]
        self.kinds += [(k, self.made) for k in ("blur", "pixels", "tiles", "noise")]
        self.count = sum(n for _, n in self.kinds)

    def fresh(self, count: int) -> Tensor:
        """Where a dream may begin: noise, fine or coarse, or one plain colour."""
        kind = torch.rand(count, 1, 1, 1, device=self.device)
        fine = torch.randn(count, 3, self.size, self.size, device=self.device)
        plain = torch.rand(count, 3, 1, 1, device=self.device)
        coarse = noises(count, self.size, self.device)
        out = torch.where(kind < 0.5, 0.5 + 0.15 * fine, coarse)
        out = torch.where(kind > 0.75, plain, out)
        return torch.where(kind > 0.87, 1.0, out).clamp(0, 1)

    @torch.no_grad()
    def bank(self, paint, count: int) -> Tensor:
        """Decoded codes: half random, half those of drawings in another order."""
        out = []
        rows = torch.randperm(len(paint.rgba))[:count].to(self.device)
        for at, part in enumerate(rows.split(128)):
            x = on_background(paint.rgba[part]).float() / 255
            x = F.interpolate(x, (self.size, self.size), mode="bilinear")
            codes = self.encode(x)
            flat = codes.flatten(1)
            flat = flat[:, torch.randperm(flat.shape[1], device=self.device)]
            if at % 2:
                flat = torch.randint_like(flat, self.codes.count)
            out.append(self.decode(flat.view(codes.shape)).half())
        return torch.cat(out)

    def encode(self, x: Tensor) -> Tensor:
        with half(self.device):
            z = self.codes.encode(x * 2 - 1)
        return self.codes.quantize.nearest(z.float())

    def decode(self, codes: Tensor) -> Tensor:
        with half(self.device):
            x = self.codes.decode(self.codes.quantize.rows(codes))
        return (x.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def draw(self, x: Tensor, plan: dict, progress: float) -> Tensor:
        """(K, 3, S, S); a few of the right pictures ``x`` pass through the VQGAN."""
        n, device = self.made, self.device
        few = x[self.force : self.force + 2 * n]
        few.copy_(self.decode(self.encode(few)))
        self.now = torch.as_tensor(plan["forced"], device=device)
        first = self.store[self.now].float()
        theirs = (self.now < self.failed).view(-1, 1, 1, 1)
        mirror = torch.rand(len(first), 1, 1, 1, device=device) < 0.5
        first = torch.where(theirs & mirror, first.flip(3), first)
        pick = torch.randint(len(self.book), (self.shown,), device=device)
        things = torch.as_tensor(plan["things"][-3 * n :].copy(), device=device)
        blur, pixels, tiles = x[things].split(n)
        side = (3, 4, 5, 6)[plan["order"][-1] % 4]
        return torch.cat(
            [
                first,
                self.book[pick].float(),
                dim_memory(blur, side),
                tiles_moved(pixels, (1, 2, 4)[plan["order"][-2] % 3]),
                tiles_moved(tiles, (8, 16)[plan["order"][-3] % 2]),
                noises(n, self.size, device),
            ]
        )

    def eps(self, ramp: float) -> Tensor:
        """How far the attack may change each: (K,)."""
        out = torch.full((self.count,), 6.0 * ramp, device=self.device)
        out[: self.force] = torch.where(self.now < self.failed, 6.0 * ramp, 5.0)
        return out

    def allure(self, logits: Tensor) -> Tensor:
        """What the attack climbs: (K, B + 1) -> (K,), how little it looks like nothing.

        A failed drawing tries for its own caption, the others for any.
        """
        own = logits[: self.force].log_softmax(1).diagonal()
        rest = logits[self.force :]
        return torch.cat([own, rest[:, :-1].logsumexp(1) - rest[:, -1]])

    @torch.no_grad()
    def remember(self, attacked: Tensor) -> None:
        """Keep the judge's own dreams as they are now; one in 25 begins anew."""
        new = attacked[: self.force]
        again = torch.rand(self.force, 1, 1, 1, device=self.device) < 0.04
        new = torch.where(again, self.fresh(self.force), new).half()
        own = (self.now >= self.failed).view(-1, 1, 1, 1)
        self.store[self.now] = torch.where(own, new, self.store[self.now])

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(B + K, B + 1) logits, (B, B) shares of truth -> the loss.

        Pictures choose among all captions and "nothing", captions among all pictures
        and wrong pictures; wrong ones choose "nothing" and no other before another.
        """
        B = len(truth)
        rows = truth / truth.sum(1, keepdim=True)
        columns = truth / truth.sum(0, keepdim=True)
        image = -(rows * logits[:B].log_softmax(1)[:, :B]).sum(1).mean()
        text = -(columns * logits[:, :B].log_softmax(0)[:B]).sum(0).mean()
        none = -logits[B:].log_softmax(1)[:, -1].mean()
        flat = -logits[B:, :B].log_softmax(1).mean() - math.log(B)
        return (image + text) / 2 + 0.3 * none + 0.3 * flat

    def report(self, logits: Tensor) -> str:
        """How often each kind is called nothing, and its own caption is put first."""
        bad = logits[-self.count :]
        none = (bad.argmax(1) == bad.shape[1] - 1).float()
        own = bad[: self.force, :-1]
        first = (own.diagonal() >= own.max(1).values).float()
        theirs = self.now < self.failed
        line = (
            f" fooled {first[theirs].mean():.2f} by itself {first[~theirs].mean():.2f}"
        )
        at = 0
        for kind, n in self.kinds:
            line, at = f"{line} {kind} {none[at : at + n].mean():.2f}", at + n
        return line
