"""What trains a VQGAN: pixels, perception, and a discriminator of patches (paper §3.1).

Dims: B batch, H/W pixels. Pictures are in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Real or fake, patch by patch: (B, 3, H, W) -> (B, 1, H', W') scores.

    As in pix2pix: strided 4x4 convolutions with batch norm; names as in Taming
    Transformers. ``width``: channels of the first layer (64 in the paper).
    """

    def __init__(self, width: int = 64, layers: int = 3):
        super().__init__()
        parts = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        before = width
        for n in range(1, layers + 1):
            after = width * min(2**n, 8)
            stride = 2 if n < layers else 1
            parts += [nn.Conv2d(before, after, 4, stride, 1, bias=False)]
            parts += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2, True)]
            before = after
        parts += [nn.Conv2d(before, 1, 4, 1, 1)]
        self.main = nn.Sequential(*parts)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class FeatureDiscriminator(nn.Module):
    """Real or fake, patch by patch, in the features of a frozen network.

    One small head a depth: [(B, C, h, w) ...] -> [(B, 1, h, w) ...] scores. Eyes that
    are trained already need no learning to see (Projected GANs, Sauer et al. 2021);
    spectral norm keeps the heads from growing sure of themselves.
    """

    def __init__(self, channels: list[int], width: int = 64):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.heads = nn.ModuleList(
            nn.Sequential(
                norm(nn.Conv2d(count, width, 1)),
                nn.LeakyReLU(0.2),
                norm(nn.Conv2d(width, width, 3, 1, 1)),
                nn.LeakyReLU(0.2),
                norm(nn.Conv2d(width, 1, 1)),
            )
            for count in channels
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        pairs = zip(self.heads, features, strict=True)
        return [head(f.float() * f.shape[1] ** 0.5) for head, f in pairs]


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss: real scores above 1, fake scores below -1."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def adaptive_weight(rebuild: Tensor, fool: Tensor, last: Tensor) -> Tensor:
    """How loud the discriminator may be: equal gradients of both losses (paper eq. 7).

    rebuild, fool: scalar losses of the generator; last: the decoder's last weights.
    """
    a = torch.autograd.grad(rebuild, last, retain_graph=True)[0].norm()
    b = torch.autograd.grad(fool, last, retain_graph=True)[0].norm()
    return (a / (b + 1e-4)).clamp(0, 1e4).detach()


class Perceptual(nn.Module):
    """Distance in the features of a frozen network, several depths (as LPIPS).

    ``trunk``: EfficientNet-Lite0 with ImageNet weights. Features are brought to unit
    length along the channels, so that every depth counts alike. ``depths``: after which
    stages it looks, besides the stem.
    """

    def __init__(self, trunk: nn.Module, depths=(0, 1, 2)):
        super().__init__()
        self.trunk, self.depths = trunk.eval().requires_grad_(False), depths

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> one (B, C, h, w) a depth."""
        h = self.trunk.bn1(self.trunk.conv_stem(x))
        out = [F.normalize(h.float(), dim=1)]
        for depth in range(max(self.depths) + 1):
            h = self.trunk.blocks[depth](h)
            if depth in self.depths:
                out.append(F.normalize(h.float(), dim=1))
        return out

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            goal = self.features(b)
        return self.distance(self.features(a), goal)

    @staticmethod
    def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Squared distance of two pictures' features, the mean over depths."""
        pairs = zip(a, b, strict=True)
        return sum((x - y).pow(2).sum(1).mean() for x, y in pairs) / len(a)
