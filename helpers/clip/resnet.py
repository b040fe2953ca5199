"""The ResNet image tower of CLIP (Radford et al. 2021, §2.4), for OpenAI's RN weights.

It differs from the usual ResNet in three places: a stem of three small convolutions,
average pooling before every stride (so that nothing is skipped), and an attention layer
in place of the last average. Names follow OpenAI's release.

Dims: B batch, C channels (width), D embedding, H/W pixels, L places + 1.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import check_heads


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool, 1x1 convolutions around a shortcut."""

    def __init__(self, before: int, planes: int, stride: int):
        super().__init__()
        after = 4 * planes
        self.conv1 = nn.Conv2d(before, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1 or before != after:
            layers = [("-1", nn.AvgPool2d(stride))]
            layers += [("0", nn.Conv2d(before, after, 1, bias=False))]
            layers += [("1", nn.BatchNorm2d(after))]
            self.downsample = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.avgpool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """The mean of all places asks, all places answer: (B, C, H, W) -> (B, D)."""

    def __init__(self, side: int, width: int, embed: int, heads: int):
        super().__init__()
        self.heads = check_heads(width, heads)
        places = side**2 + 1
        self.positional_embedding = nn.Parameter(
            torch.randn(places, width) * width**-0.5
        )
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed)

    def forward(self, x: Tensor) -> Tensor:
        B, C = x.shape[:2]
        x = x.flatten(2).transpose(1, 2)  # (B, L - 1, C)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding
        q, k, v = (  # each (B, heads, places, C / heads); only the mean asks
            part.view(B, -1, self.heads, C // self.heads).transpose(1, 2)
            for part in (self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x))
        )
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, 1, C / heads)
        return self.c_proj(out.reshape(B, C))


class ModifiedResNet(nn.Module):
    """(B, 3, H, W) normalised -> (B, D); ``c.layers`` holds the blocks of 4 stages."""

    def __init__(self, c):
        super().__init__()
        width = c.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        before = width
        for stage, blocks in enumerate(c.layers):
            planes = width * 2**stage
            rows = []
            for place in range(blocks):
                stride = 2 if stage and not place else 1
                rows.append(Bottleneck(before, planes, stride))
                before = 4 * planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*rows))
        side = c.image_size // 32
        self.attnpool = AttentionPool(side, width * 32, c.embed, c.heads)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, bn in (
            (self.conv1, self.bn1),
            (self.conv2, self.bn2),
            (self.conv3, self.bn3),
        ):
            x = F.relu(bn(conv(x)))
        x = self.avgpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.attnpool(x)
