"""A small GAN: any vector is a picture (Goodfellow et al. 2014; DCGAN, Radford 2016).

Dims: B batch, Z numbers of a vector, H/W pixels. Pictures inside are in [-1, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import weights
from ..device import pick_device
from ..values import whole


@dataclass
class Config:
    """Sizes of the generator."""

    z: int = 64  # numbers of a vector
    widths: tuple = (192, 160, 96, 64, 32)  # channels at 4, 8, 16, 32 and 64 pixels


class Generator(nn.Module):
    """Vectors (B, Z), standard normal -> pictures (B, 3, 64, 64) in [-1, 1]."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, (first, *_) = config, config.widths
        self.first = nn.Linear(config.z, first * 16)
        parts = [nn.Unflatten(1, (first, 4, 4)), nn.BatchNorm2d(first), nn.ReLU()]
        for before, after in zip(config.widths, config.widths[1:], strict=False):
            parts += [nn.Upsample(scale_factor=2)]
            parts += [nn.Conv2d(before, after, 3, padding=1, bias=False)]
            parts += [nn.BatchNorm2d(after), nn.ReLU()]
        parts += [nn.Conv2d(config.widths[-1], 3, 3, padding=1), nn.Tanh()]
        self.main = nn.Sequential(*parts)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(self.first(z))

    def sample(self, count: int, g: torch.Generator) -> Tensor:
        """Vectors (count, Z) from a CPU generator, on the model's device.

        Raises ValueError with one sentence for a count that is none.
        """
        count = whole("The number of vectors", count, 0, 2**20)
        return torch.randn(count, self.config.z, generator=g).to(self.first.weight)


def load(name: str = "pocket", device=None) -> Generator:
    """The shipped GAN of faces (emoji), or a file of the same kind.

    Raises ValueError or FileNotFoundError with one sentence.
    """
    path = weights.find("gan", name)
    tensors, metadata = weights.read(path, "gan")
    sizes = weights.config(Config, metadata, path)
    model = weights.construct(Generator, sizes, path)
    weights.load_state(model, tensors, path.name)
    model.card = weights.note(metadata, "card", path)
    return model.eval().requires_grad_(False).to(pick_device(device))
