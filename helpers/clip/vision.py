"""The vision transformer of CLIP, with the paper's patches or a convolutional stem.

Dims: B batch, L patches + 1, C channels (width), D embedding, H/W pixels. Names follow
OpenAI's release, so that its weights load.
"""

import torch
from torch import Tensor, nn

from ..blocks import Transformer


def convolutional_stem(width: int) -> nn.Sequential:
    """Patches of 16 x 16 by small convolutions, (B, 3, H, W) -> (B, C, H/16, W/16).

    On little data a few early convolutions see better than one large patch (Xiao et al.
    2021, "ViT-C").
    """
    layers, before = [], 3
    plan = ((width // 8, 2), (width // 4, 2), (width // 4, 1), (width // 2, 2))
    for channels, stride in (*plan, (width // 2, 1), (width, 2)):
        layers += [nn.Conv2d(before, channels, 3, stride, 1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


class VisionTransformer(nn.Module):
    """Cut the picture into patches, read them as a sequence, answer at the class token.

    (B, 3, H, W) normalised -> (B, D).
    """

    def __init__(self, c):
        super().__init__()
        self.config = c
        if c.stem == "conv":
            self.conv1 = convolutional_stem(c.width)
        else:
            self.conv1 = nn.Conv2d(3, c.width, c.patch, c.patch, bias=False)
        scale = c.width**-0.5
        places = (c.image_size // c.patch) ** 2 + 1
        self.class_embedding = nn.Parameter(scale * torch.randn(c.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(places, c.width))
        self.ln_pre = nn.LayerNorm(c.width)
        self.transformer = Transformer(c.width, c.layers, c.heads, c.quick_gelu)
        self.ln_post = nn.LayerNorm(c.width)
        self.proj = nn.Parameter(scale * torch.randn(c.width, c.embed))

    def forward(self, x: Tensor) -> Tensor:
        if self.config.stem == "conv":
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (B, L - 1, C)
        x = x + self.positional_embedding[1:]
        first = self.class_embedding + self.positional_embedding[0]
        x = torch.cat([first.expand(len(x), 1, -1).to(x.dtype), x], dim=1)
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        x = self.transformer.at(self.ln_pre(x), first)  # (B, C), the class token
        return self.ln_post(x) @ self.proj
