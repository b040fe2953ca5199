"""Quantizers: from the vectors of a grid to codes, and how a codebook learns.

Dims: B batch, h/w grid, K codes, D code width. Names of modules follow Taming
Transformers, so that its weights load.
"""

import torch
from torch import Tensor, nn

from .autoencoder import Config


def nearest_row(z: Tensor, book: Tensor) -> Tensor:
    """(B, D, h, w), (K, D) -> (B, h, w): the row with the smallest distance."""
    rows = z.permute(0, 2, 3, 1).flatten(0, 2)  # (B * h * w, D)
    # |z - e|^2 = |z|^2 - 2 z.e + |e|^2; |z|^2 is the same for every code
    distance = book.pow(2).sum(1) - 2 * rows @ book.T
    return distance.argmin(1).view(z.shape[0], *z.shape[2:])


class VectorQuantizer(nn.Module):
    """Each vector of the grid becomes the nearest row of the codebook.

    forward: (B, D, h, w) -> (quantized (B, D, h, w), codes (B, h, w), loss). The
    gradient passes straight through; ``commitment_weight`` is the paper's beta.
    """

    def __init__(self, c: Config, commitment_weight: float = 0.25):
        super().__init__()
        self.commitment_weight = commitment_weight
        self.embedding = nn.Embedding(c.n_embed, c.embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / c.n_embed, 1 / c.n_embed)

    @property
    def codebook(self) -> Tensor:
        """(K, D)."""
        return self.embedding.weight

    def nearest(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, h, w), the code with the smallest distance."""
        return nearest_row(z, self.codebook)

    def logits(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, K, h, w), the larger the nearer."""
        rows = z.flatten(2).transpose(1, 2)  # (B, h * w, D)
        distance = torch.cdist(rows, self.codebook)  # (B, h * w, K)
        return -distance.transpose(1, 2).unflatten(2, z.shape[2:])

    def rows(self, codes: Tensor) -> Tensor:
        """(B, h, w) -> (B, D, h, w)."""
        return self.embedding(codes).permute(0, 3, 1, 2)

    def forward(self, z: Tensor):
        codes = self.nearest(z)
        q = self.rows(codes)
        commitment = (q.detach() - z).pow(2).mean()  # the encoder comes to the code
        codebook = (q - z.detach()).pow(2).mean()  # the code comes to the encoder
        loss = codebook + self.commitment_weight * commitment
        return z + (q - z).detach(), codes, loss


class GumbelQuantizer(nn.Module):
    """The quantizer of the published f8 model: logits over the codes; the best wins.

    It was trained with Gumbel noise; here it is only used, so its loss is 0.
    """

    def __init__(self, c: Config):
        super().__init__()
        self.proj = nn.Conv2d(c.embed_dim, c.n_embed, 1)
        self.embed = nn.Embedding(c.n_embed, c.embed_dim)

    @property
    def codebook(self) -> Tensor:
        """(K, D)."""
        return self.embed.weight

    def nearest(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, h, w), the code with the largest logit."""
        return self.logits(z).argmax(1)

    def logits(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, K, h, w), as the encoder learned to write them."""
        return self.proj(z)

    def rows(self, codes: Tensor) -> Tensor:
        """(B, h, w) -> (B, D, h, w)."""
        return self.embed(codes).permute(0, 3, 1, 2)

    def forward(self, z: Tensor):
        codes = self.nearest(z)
        return self.rows(codes), codes, z.new_zeros(())


class CodebookAverage:
    """The codebook as a moving average of the vectors that chose each code.

    The gradient-free way to move codes (van den Oord et al. 2017, appendix A.1): each
    code goes to the mean of its vectors, weighted towards the latest. ``book`` (K, D)
    is changed in place. Counts and totals live where the book lives; vectors and codes
    may come from any device.
    """

    def __init__(self, book: Tensor, decay: float = 0.99):
        self.book, self.decay = book, decay
        self.count = torch.ones(len(book), device=book.device)
        self.total = book.detach().clone()

    @torch.no_grad()
    def update(self, z: Tensor, codes: Tensor) -> None:
        """z (N, D) encoder outputs, codes (N,) what they became, on any device."""
        z, codes = z.to(self.total), codes.to(self.book.device)
        fresh = torch.zeros_like(self.total).index_add_(0, codes, z)
        ones = torch.ones_like(codes, dtype=self.count.dtype)
        count = torch.zeros_like(self.count).index_add_(0, codes, ones)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(fresh, 1 - self.decay)
        self.book.copy_(self.total / self.count.clamp(min=1e-4)[:, None])

    @torch.no_grad()
    def restart(self, z: Tensor, g: torch.Generator, least: float = 0.03) -> int:
        """Codes chosen less than ``least`` times a step start again at random z.

        z (N, D); returns how many.
        """
        dead = (self.count < least).nonzero()[:, 0]
        rows = torch.randint(len(z), (len(dead),), generator=g).to(z.device)
        self.total[dead] = z[rows].to(self.total)
        self.count[dead] = 1.0
        self.book[dead] = self.total[dead]
        return len(dead)

    def state(self) -> tuple:
        return self.count, self.total
