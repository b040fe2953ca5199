"""How far apart two sets of pictures are: Fréchet distance (Heusel et al. 2017).

FID uses features of Inception; here any embedding does. Dims: N pictures, D features.
"""

import torch
from torch import Tensor


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features (N, D) and (M, D).

    |mean difference|^2 + trace(A + B - 2 (A B)^(1/2)), in double precision. Raises
    ValueError for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("A Fréchet distance needs at least two pictures on each side.")
    a, b = a.double(), b.double()
    A, B = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # the trace of (A B)^(1/2) is that of the symmetric (A^(1/2) B A^(1/2))^(1/2)
    inner = torch.linalg.eigvalsh(root @ B @ root).clamp(min=0).sqrt().sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return (means + A.trace() + B.trace() - 2 * inner).clamp(min=0).item()


def sharpness(pictures: Tensor) -> float:
    """Mean size of the Laplacian of the grey pictures (N, 3, H, W) in [0, 1]."""
    grey = pictures.mean(1)
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2]
    return (4 * middle - around - grey[:, 1:-1, 2:]).abs().mean().item()


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each pair of pictures in [0, 1]: (N,)."""
    error = (a - b).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-10).log10()
