"""VQGAN: a picture as a grid of codes, and back (Esser et al. 2021).

Dims: B batch, H/W pixels, h/w grid, K codes, D code width. Pictures inside are in
[-1, 1]. Encoder and decoder are in autoencoder.py, the codebook is in quantizers.py;
names of modules follow Taming Transformers, so that its weights load.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..values import rows, short, tensor, whole
from .autoencoder import Config, Decoder, Encoder
from .quantizers import GumbelQuantizer, VectorQuantizer


class VQGAN(nn.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self, config: Config):
        super().__init__()
        c = self.config = config
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.quantize = GumbelQuantizer(c) if c.gumbel else VectorQuantizer(c)
        self.quant_conv = nn.Conv2d(c.z_channels, c.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(c.embed_dim, c.z_channels, 1)

    def encode(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D, h, w), before quantizing."""
        return self.quant_conv(self.encoder(x))

    def decode(self, q: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, 3, H, W), about in [-1, 1]."""
        return self.decoder(self.post_quant_conv(q))

    def forward(self, x: Tensor):
        """(B, 3, H, W) -> (reconstruction, codes (B, h, w), quantizer loss)."""
        q, codes, loss = self.quantize(self.encode(x))
        return self.decode(q), codes, loss

    @torch.no_grad()
    def to_codes(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) pictures in [-1, 1] -> (B, h, w) codes.

        A size that is no multiple of the stride is padded at the right and below by
        repeating the edge, with a warning. Raises ValueError for other values.
        """
        pictures = check_pictures(pictures)
        s = self.config.stride
        H, W = pictures.shape[-2:]
        if not len(pictures):
            return torch.zeros(0, -(-H // s), -(-W // s), dtype=torch.long)
        more = (-W % s, -H % s)
        if any(more):
            warnings.warn(
                f"{W} x {H} is no multiple of {s}: padded to {W + more[0]} x "
                f"{H + more[1]} for the codes.",
                stacklevel=2,
            )
            pictures = F.pad(pictures, (0, more[0], 0, more[1]), mode="replicate")
        z = self.encode(pictures.to(self.post_quant_conv.weight))
        return self.quantize.nearest(z)

    @torch.no_grad()
    def from_codes(self, codes: Tensor, size: tuple | None = None) -> Tensor:
        """(B, h, w) codes -> (B, 3, H, W) pictures in [-1, 1].

        ``size``: (H, W) to crop back to. Raises ValueError for codes out of range and a
        size that is none.
        """
        if size is not None:
            size = [whole("A side", n, 1, 2**30) for n in rows("size", size, "(H, W)")]
            if len(size) != 2:
                raise ValueError(f"size is written (H, W), not {short(size)}.")
        codes = tensor("Codes", codes)
        counts = not codes.is_floating_point() and codes.dtype != torch.bool
        if codes.ndim != 3 or not counts or 0 in codes.shape[1:]:
            raise ValueError(
                "Codes must be whole numbers (B, h, w), not "
                f"{codes.dtype} {tuple(codes.shape)}."
            )
        codes = codes.long()
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.count:
            raise ValueError(
                f"Codes must lie between 0 and {self.count - 1}, but these lie between "
                f"{int(codes.min())} and {int(codes.max())}."
            )
        if not len(codes):
            stride = self.config.stride
            return torch.zeros(0, 3, *(size or [stride * n for n in codes.shape[1:]]))
        device = self.post_quant_conv.weight.device
        x = self.decode(self.quantize.rows(codes.to(device))).clamp(-1, 1)
        return x[..., : size[0], : size[1]] if size else x

    def rebuild(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> the same size, through the codes and back."""
        return self.from_codes(self.to_codes(pictures), tuple(pictures.shape[-2:]))

    @property
    def count(self) -> int:
        """K, the number of codes."""
        return self.config.n_embed


def check_pictures(pictures) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1]. Raises ValueError with one sentence."""
    pictures = tensor("Pictures", pictures)
    sides = pictures.ndim == 4 and pictures.shape[1] == 3 and min(pictures.shape[2:])
    if not sides or not pictures.is_floating_point():
        raise ValueError(
            "Pictures must be floats of shape (B, 3, H, W), not "
            f"{tuple(pictures.shape)} {pictures.dtype}."
        )
    if pictures.numel() and not pictures.abs().max() <= 1.001:
        raise ValueError(
            f"Pictures must lie in [-1, 1], not from {pictures.min():.2f} to "
            f"{pictures.max():.2f}; x * 2 - 1 brings [0, 1] there."
        )
    return pictures
