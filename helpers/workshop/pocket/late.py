"""Train the late stages of an EfficientNet on cached views of the drawings.

The early stages keep their ImageNet weights, so every view of a picture goes through
them once; training then runs on what they gave. Two more savings make it fast on a CPU:
batch norms are multiplied into their convolutions, and depthwise convolutions become
one small matrix a channel, whose backward pass is many times faster.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ... import corpus
from ...corpus import augment
from ..run import in_pairs

SIZE = 160  # pixels a side
VIEWS = 10  # random views of every drawing; a silhouette has one
FROZEN = 5  # stages that keep their ImageNet weights


class Toeplitz(nn.Module):
    """A depthwise convolution on small squares, (B, C, H, H) -> (B, C, h, h).

    Every channel is one (H * H, h * h) matrix that holds the kernel's weights.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv, self.where = conv, {}

    def places(self, H: int) -> tuple[Tensor, int]:
        """Which weight stands at each place of the matrix (K * K: none), and h."""
        if H not in self.where:
            k, s = self.conv.kernel_size[0], self.conv.stride[0]
            h = -(-H // s)
            pad = max((h - 1) * s + k - H, 0) // 2  # as TensorFlow pads
            y = torch.arange(H)[:, None] - torch.arange(h)[None] * s + pad  # (H, h)
            row = y[:, None, :, None].expand(H, H, h, h)
            column = y[None, :, None, :].expand(H, H, h, h)
            inside = (row >= 0) & (row < k) & (column >= 0) & (column < k)
            where = torch.where(inside, row * k + column, k * k)
            self.where[H] = where.reshape(H * H, h * h), h
        return self.where[H]

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, _ = x.shape
        where, h = self.places(H)
        matrix = F.pad(self.conv.weight.flatten(1), (0, 1))[:, where]
        y = torch.bmm(x.transpose(0, 1).reshape(C, B, H * H), matrix)
        y = y.view(C, B, h, h).transpose(0, 1)
        return y if self.conv.bias is None else y + self.conv.bias[:, None, None]


def swap(module: nn.Module, back: bool = False) -> None:
    """Put ``Toeplitz`` in the place of every depthwise convolution, or take it out."""
    for name, child in list(module.named_children()):
        if isinstance(child, Toeplitz):
            if back:
                setattr(module, name, child.conv)
        elif isinstance(child, nn.Conv2d) and child.groups > 1 and not back:
            setattr(module, name, Toeplitz(child))
        else:
            swap(child, back)


def early(trunk: nn.Module, x: Tensor) -> Tensor:
    """(B, 3, SIZE, SIZE) in [0, 1] -> what the frozen stages give."""
    x = ((x - 0.498) / 0.502).contiguous(memory_format=torch.channels_last)
    return trunk.blocks[:FROZEN](trunk.bn1(trunk.conv_stem(x)))


def late(trunk: nn.Module, x: Tensor) -> Tensor:
    """What the frozen stages gave -> (B, 1280) features."""
    x = trunk.bn2(trunk.conv_head(trunk.blocks[FROZEN:](x)))
    return trunk.forward_head(x, pre_logits=True)


@torch.inference_mode()
def views(split: corpus.Corpus, trunk: nn.Module, path: Path, seed: int, many=VIEWS):
    """(rows (N,), drawings, views (many, N, C, h, h)), kept in a file once made.

    The first ``drawings`` rows have all views, the silhouettes after them only one.
    """
    if not path.exists():
        trunk = trunk.to(memory_format=torch.channels_last)
        sort = [int(c["source"] == "gameicons") for c in split.cards]
        rows = torch.tensor(sort).argsort(stable=True)
        drawings = sort.count(0)
        g = torch.Generator().manual_seed(seed)
        seen = None
        for view in range(many):
            count = drawings if view else len(rows)
            for at in tqdm(range(0, count, 64), desc=f"view {view}", mininterval=10):
                part = rows[at : min(at + 64, count)]
                x = augment.random_views(split.rgba[part], SIZE, g)
                with torch.autocast("cpu", torch.bfloat16):
                    y = early(trunk, x).bfloat16()
                if seen is None:
                    shape = (many, len(rows), *y.shape[1:])
                    seen = torch.empty(shape, dtype=torch.bfloat16)
                seen[view, at : at + len(part)] = y
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"rows": rows, "nkeep": drawings, "views": seen}
        torch.save(found, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    found = torch.load(path, mmap=True, weights_only=True)
    return found["rows"], found["nkeep"], found["views"]


class Batches:
    """Seeded batches of cached views, half of them mirrored, mixed in pairs.

    Gives (views, concept, other concept, share of the first): the second of each pair
    is the batch shifted by one.
    """

    def __init__(self, found, concept: Tensor, batch: int, seed: int):
        self.rows, self.drawings, self.views = found
        self.concept, self.batch = concept[self.rows], batch
        self.g = torch.Generator().manual_seed(seed)
        self.weight = torch.where(
            torch.arange(len(self.rows)) < self.drawings, 1.0, 0.15
        )

    def __call__(self):
        i = torch.multinomial(self.weight, self.batch, generator=self.g)
        v = torch.randint(len(self.views), (self.batch,), generator=self.g)
        x = self.views[torch.where(i < self.drawings, v, 0), i]
        mirror = torch.rand(self.batch, generator=self.g) < 0.5
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
        x, share = in_pairs(x, self.g)
        t = self.concept[i]
        return x.bfloat16().contiguous(), t, t.roll(1), share
