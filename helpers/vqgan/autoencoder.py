"""The parts of VQGAN: residual blocks, attention, encoder and decoder.

Dims: B batch, C channels, H/W pixels, h/w grid. Pictures inside are in [-1, 1]. Names
of modules follow Taming Transformers (Esser et al. 2021), so that its weights load.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Config:
    """Sizes of a VQGAN; the defaults are those of our ``pocket`` model."""

    ch: int = 32  # channels at the first level
    ch_mult: tuple = (1, 2, 4)  # per level; each level but the last halves the size
    num_res_blocks: int = 1
    attn_resolutions: tuple = ()  # sizes at which attention is added
    resolution: int = 128  # pixels a side in training; other sizes work too
    z_channels: int = 64
    embed_dim: int = 32  # D
    n_embed: int = 1024  # K
    gumbel: bool = False  # the quantizer of the f8 model
    fold: int = 2  # pixels a side that become channels first; 1 in the paper

    @property
    def stride(self) -> int:
        """Pixels a side of one code."""
        return self.fold * 2 ** (len(self.ch_mult) - 1)


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of 4 channels or more a group, at most 32 groups (paper: 128 / 32).

    A group of one channel would wipe out the colour of a plain picture.
    """
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """norm, swish, 3x3 twice, around a shortcut: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.norm1 = norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    """Every place looks at every other one, one head: (B, C, H, W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (
            nn.Conv2d(channels, channels, 1) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (  # (B, 1, H * W, C)
            part(y).flatten(2).transpose(1, 2)[:, None]
            for part in (self.q, self.k, self.v)
        )
        h = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(h.reshape(x.shape))


class Downsample(nn.Module):
    """Half the size: a 3x3 of stride 2 over a picture padded right and below."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size: repeat every pixel, then a 3x3."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def middle(channels: int) -> nn.Module:
    """Block, attention, block at the smallest size."""
    mid = nn.Module()
    mid.block_1 = ResnetBlock(channels, channels)
    mid.attn_1 = AttnBlock(channels)
    mid.block_2 = ResnetBlock(channels, channels)
    return mid


class Encoder(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> (B, z_channels, H / stride, W / stride)."""

    def __init__(self, c: Config):
        super().__init__()
        self.fold = c.fold
        self.conv_in = nn.Conv2d(3 * c.fold**2, c.ch, 3, padding=1)
        self.down = nn.ModuleList()
        channels, size = c.ch, c.resolution // c.fold
        for level, factor in enumerate(c.ch_mult):
            stage = nn.Module()
            stage.block, stage.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(c.num_res_blocks):
                stage.block.append(ResnetBlock(channels, c.ch * factor))
                channels = c.ch * factor
                if size in c.attn_resolutions:
                    stage.attn.append(AttnBlock(channels))
            if level < len(c.ch_mult) - 1:
                stage.downsample = Downsample(channels)
                size //= 2
            self.down.append(stage)
        self.mid = middle(channels)
        self.norm_out = norm(channels)
        self.conv_out = nn.Conv2d(channels, c.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(F.pixel_unshuffle(x, self.fold))
        for stage in self.down:
            for n, block in enumerate(stage.block):
                h = block(h)
                if len(stage.attn):
                    h = stage.attn[n](h)
            if hasattr(stage, "downsample"):
                h = stage.downsample(h)
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(h)))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """(B, z_channels, h, w) -> (B, 3, h * stride, w * stride), about in [-1, 1]."""

    def __init__(self, c: Config):
        super().__init__()
        channels = c.ch * c.ch_mult[-1]
        size = c.resolution // c.stride
        self.conv_in = nn.Conv2d(c.z_channels, channels, 3, padding=1)
        self.mid = middle(channels)
        stages = []
        for level in reversed(range(len(c.ch_mult))):
            stage = nn.Module()
            stage.block, stage.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(c.num_res_blocks + 1):
                stage.block.append(ResnetBlock(channels, c.ch * c.ch_mult[level]))
                channels = c.ch * c.ch_mult[level]
                if size in c.attn_resolutions:
                    stage.attn.append(AttnBlock(channels))
            if level:
                stage.upsample = Upsample(channels)
                size *= 2
            stages.insert(0, stage)  # up.0 is the full size, as in the paper's code
        self.up = nn.ModuleList(stages)
        self.norm_out = norm(channels)
        self.fold = c.fold
        self.conv_out = nn.Conv2d(channels, 3 * c.fold**2, 3, padding=1)

    @property
    def last_layer(self) -> Tensor:
        """Where the adaptive weight of the discriminator measures gradients."""
        return self.conv_out.weight

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(h)))
        for stage in reversed(self.up):
            for n, block in enumerate(stage.block):
                h = block(h)
                if len(stage.attn):
                    h = stage.attn[n](h)
            if hasattr(stage, "upsample"):
                h = stage.upsample(h)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.fold)
