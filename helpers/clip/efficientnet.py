"""The image tower of ``pocket``: EfficientNet-Lite0 in two branches, and colours.

Dims: B batch, D embedding, H/W pixels, h/w a sixteenth of them.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FROZEN = 5  # stages of the trunk that the two branches of ColourTower share
GRID = 4  # cells a side of its colour grid


class ColourGrid(nn.Module):
    """What colours a picture has where: (B, 3, H, W) in [0, 1] -> (B, D).

    ``name`` gives every pixel a soft colour name (11 probabilities); their means and
    the mean colour of each cell of a 4 x 4 grid go through a small network. Gradients
    reach the colour of every pixel.
    """

    def __init__(self, embed: int, hidden: int = 128, names: int = 11):
        super().__init__()
        self.name = nn.Sequential(nn.Linear(3, 32), nn.GELU(), nn.Linear(32, names))
        self.mix = nn.Sequential(
            nn.Linear((names + 3) * (GRID**2 + 1), hidden),
            nn.GELU(),
            nn.Linear(hidden, embed, bias=False),
        )

    def cells(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 17 * 14): the 16 cells and the whole picture."""
        x = F.adaptive_avg_pool2d(x, x.shape[-1] // 4).permute(0, 2, 3, 1)
        x = torch.cat([x, self.name(4 * x - 2).softmax(-1)], -1).permute(0, 3, 1, 2)
        whole = x.mean((2, 3))
        return torch.cat([F.adaptive_avg_pool2d(x, GRID).flatten(1), whole], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.cells(x))


class ColourTower(nn.Module):
    """EfficientNet-Lite0 with three ways into the space, added: (B, 3, H, W) -> (B, D).

    The late stages stand twice behind the same early ones. ``trunk`` is ImageNet's own
    network, which nothing tuned: ``classes`` adds the word vector of each of its 1,000
    classes, weighted by the class probability (ConSE, Norouzi 2014), for photographs.
    ``tuned`` knows drawings, and ``proj`` maps its 1,280 features. ``colour`` adds what
    the colours say.
    """

    def __init__(self, c):
        super().__init__()
        import timm

        self.mean, self.std = c.mean[0], c.std[0]
        self.trunk = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
        self.tuned = nn.Module()
        self.copy_late()
        self.proj = nn.Linear(1280, c.embed)
        self.classes = nn.Linear(1000, c.embed, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(1.0))  # of the class probabilities
        self.colour = ColourGrid(c.embed)

    def copy_late(self) -> None:
        """Let the tuned branch start as the plain one."""
        self.tuned.blocks = deepcopy(self.trunk.blocks[FROZEN:])
        self.tuned.conv_head = deepcopy(self.trunk.conv_head)
        self.tuned.bn2 = deepcopy(self.trunk.bn2)

    def early(self, x: Tensor) -> Tensor:
        """What the shared stages give, (B, 112, H/16, W/16)."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.trunk.blocks[:FROZEN](self.trunk.bn1(self.trunk.conv_stem(x)))

    def drawn(self, x: Tensor) -> Tensor:
        """(B, 112, h, w) -> the 1,280 features of the tuned branch."""
        t = self.tuned
        return t.bn2(t.conv_head(t.blocks(x))).mean((2, 3))

    def seen(self, x: Tensor) -> Tensor:
        """(B, 112, h, w) -> the 1,280 features of the plain branch."""
        t = self.trunk
        return t.bn2(t.conv_head(t.blocks[FROZEN:](x))).mean((2, 3))

    def named(self, logits: Tensor) -> Tensor:
        """ImageNet logits (B, 1000) -> (B, D), the classes' mean word vector."""
        return self.classes((self.sharpness * logits.float()).softmax(-1))

    def pixels(self, x: Tensor) -> Tensor:
        """Normalised pictures back in [0, 1]."""
        return x * self.std + self.mean

    def forward(self, x: Tensor) -> Tensor:
        e = self.early(x)
        out = self.proj(self.drawn(e).float()) + self.colour(self.pixels(x)).float()
        return out + self.named(self.trunk.classifier(self.seen(e)))
