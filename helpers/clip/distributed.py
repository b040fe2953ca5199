"""A batch spread over machines: the losses of model.py, each machine with its share.

A machine is a process of ``torch.distributed`` (a "rank"); ``torchrun`` starts them.
Each holds b of the B = W * b pairs of the joint batch and returns its own share of the
loss. The mean of the shares over the W machines is the loss of the joint batch, and so
is the mean of their gradients, which is what DistributedDataParallel takes. Without
``torch.distributed`` all of it works on the one batch there is.

Dims: W machines, b pairs on each, B pairs in all, D embedding.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .model import siglip_loss


def place() -> tuple[int, int]:
    """(number of this machine, from 0; how many there are)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class Gather(torch.autograd.Function):
    """(b, ...) of every machine -> (B, ...), in the order of the machines."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(place()[1])]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        rank, count = place()
        slope = slope.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(slope)  # every machine used my rows: add what each wants
        return slope.chunk(count)[rank]


class PassOn(torch.autograd.Function):
    """Give x to the next machine, take that of the one before; slopes go back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return exchange(x, 1)

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        return exchange(slope, -1)


def exchange(x: Tensor, step: int) -> Tensor:
    """Send x ``step`` machines further round the ring, return what arrives here."""
    rank, count = place()
    arrived = torch.empty_like(x, memory_format=torch.contiguous_format)
    both = [
        dist.P2POp(dist.isend, x.contiguous(), (rank + step) % count),
        dist.P2POp(dist.irecv, arrived, (rank - step) % count),
    ]
    for work in dist.batch_isend_irecv(both):
        work.wait()
    return arrived


def gathered(x: Tensor) -> Tensor:
    """The rows of all machines, (b, ...) -> (B, ...), with their gradients.

    Raises ValueError if the machines hold different numbers of rows.
    """
    equal(x)
    return Gather.apply(x.contiguous()) if place()[1] > 1 else x


def equal(x: Tensor) -> None:
    """Do all machines hold as many rows? (Unequal ones would wait for ever.)"""
    rank, count = place()
    if count > 1:
        lengths = torch.zeros(count, dtype=torch.long, device=x.device)
        lengths[rank] = len(x)
        dist.all_reduce(lengths)
        if (lengths != len(x)).any():
            raise ValueError(
                f"The machines hold {lengths.tolist()} rows of the batch; give each "
                "as many as the others (drop the last, shorter batch)."
            )


def strip(positive: Tensor | None, b: int, device) -> Tensor:
    """(b, B): which of all are right for the own b; without ``positive`` the own."""
    rank, count = place()
    if positive is None:
        positive = torch.zeros(b, b * count, dtype=torch.bool, device=device)
        positive[:, rank * b : (rank + 1) * b].fill_diagonal_(True)
    if positive.shape != (b, b * count):
        raise ValueError(
            f"`positive` has shape {tuple(positive.shape)}; give {(b, b * count)}: "
            "own rows against those of all machines."
        )
    return positive


def local_contrastive_loss(
    images: Tensor, texts: Tensor, scale, rows=None, columns=None
) -> Tensor:
    """This machine's share of ``contrastive_loss`` (paper Figure 3).

    ``images``, ``texts``: the own (b, D), unit vectors; ``scale``: the factor on the
    cosines. ``rows`` (b, B): which captions of all machines are true of the own
    pictures, bool or shares; ``columns`` (b, B): which pictures of all machines the
    own captions are true of. Without them, each its own alone. Memory: two (b, B)
    tables, not (B, B). Raises ValueError for shares of unequal length.
    """
    b = len(images)
    every_image, every_text = gathered(images), gathered(texts)  # (B, D)
    image_logits = scale * images @ every_text.T  # (b, B)
    text_logits = scale * texts @ every_image.T  # (b, B)
    rows = strip(rows, b, images.device).to(image_logits.dtype)
    columns = strip(columns, b, images.device).to(image_logits.dtype)
    rows = rows / rows.sum(1, keepdim=True)
    columns = columns / columns.sum(1, keepdim=True)
    image = -(rows * image_logits.log_softmax(1)).sum(1).mean()
    text = -(columns * text_logits.log_softmax(1)).sum(1).mean()
    return (image + text) / 2


def ring_siglip_loss(
    images: Tensor, texts: Tensor, scale, bias, positive=None
) -> Tensor:
    """This machine's share of ``siglip_loss``, by neighbour exchange (Zhai 2023, §3.3).

    The captions go round the ring: each machine compares its own pictures with the b
    captions that are with it, hands these to the next machine, and takes the next b.
    A sum over pairs needs no row whole, so one (b, b) table at a time is enough; it is
    made again for the gradient (``checkpoint``). ``images``, ``texts`` (b, D);
    ``positive`` (b, B) bool: which captions of all machines are true of the own
    pictures. Raises ValueError for shares of unequal length.
    """
    rank, count = place()
    b = len(images)
    equal(images)
    positive = strip(positive, b, images.device)

    def table(images, texts, right):
        return siglip_loss(scale * images @ texts.T, bias, right)

    total = 0.0
    for turn in range(count):
        owner = (rank - turn) % count  # whose captions are here
        right = positive[:, owner * b : (owner + 1) * b]
        total = total + checkpoint(table, images, texts, right, use_reentrant=False)
        if turn < count - 1:
            texts = PassOn.apply(texts)
    return total


class JointNorm(nn.BatchNorm2d):
    """Batch normalisation over the pictures of all machines (b, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        count = place()[1]
        if not self.training or count == 1:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            full = x.float()
            mean = Gather.apply(full.mean((0, 2, 3))[None]).mean(0)
            mean = mean.view(1, -1, 1, 1)
            off = full - mean
            spread = Gather.apply(off.square().mean((0, 2, 3))[None]).mean(0)
            out = off * (spread.view(1, -1, 1, 1) + self.eps).rsqrt()
            out = out * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        with torch.no_grad():
            n = count * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(spread * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        return out.to(x.dtype)


def join_norms(model: nn.Module) -> nn.Module:
    """Let every batch normalisation see the joint batch, in place; returns the model.

    Parameters and their names stay, so the file of weights is the same.
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JointNorm
    return model


class Towers(nn.Module):
    """What DistributedDataParallel wraps: (pictures, tokens) -> features and scale."""

    def __init__(self, clip: nn.Module):
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor, tokens: Tensor, cut: bool = True) -> tuple:
        clip = self.clip
        seen, read = clip.encode_image(images), clip.encode_text(tokens, cut)
        return seen, read, clip.scale()
