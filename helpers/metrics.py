"""How good is it: every measure of the course, against nothing but its definition.

Ranking and accuracy (N pictures, M texts, D embedding, on the unit sphere), calibration
and confusion (C classes), use of a codebook, and the distance of sets of pictures.
"""

import torch
from torch import Tensor


def ranks(queries: Tensor, targets: Tensor, right: Tensor) -> Tensor:
    """Place (0 is best) of the best right target for every query.

    queries (M, D), targets (N, D), right (M, N) bool with at least one True a row.
    Ties count against the query.
    """
    scores = queries @ targets.T
    right = right.to(scores.device)
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


def recall_at(rank: Tensor, k: int) -> float:
    """Share of queries whose best right answer is among the first k."""
    return (rank < k).float().mean().item()


def same(a: list, b: list) -> Tensor:
    """(len(a), len(b)) bool: where do two lists of labels agree?"""
    number = {label: i for i, label in enumerate(dict.fromkeys([*a, *b]))}
    left = torch.tensor([number[x] for x in a])
    right = torch.tensor([number[x] for x in b])
    return left[:, None] == right[None]


def top_k(images: Tensor, classes: Tensor, labels: Tensor, k: int) -> float:
    """Share of pictures (N, D) with label (N,) among the k nearest classes (C, D)."""
    best = (images @ classes.T).topk(min(k, len(classes)), dim=1).indices
    return (best == labels.to(best)[:, None]).any(1).float().mean().item()


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their pictures that were named right."""
    labels = labels.to(predicted.device)
    right = (predicted == labels).float()
    return (
        torch.stack([right[labels == c].mean() for c in labels.unique()]).mean().item()
    )


def about(share: float) -> str:
    """A share as "about 45 %", in steps of 5: what survives a change of machine."""
    return f"about {5 * round(20 * share)} %"


def usage(codes: Tensor, count: int) -> tuple[float, float]:
    """(share of the codes in use, perplexity) of codes (...,) from ``count`` codes."""
    share = torch.bincount(codes.flatten(), minlength=count).float()
    share = share / share.sum()
    spread = -(share * share.clamp(min=1e-12).log()).sum()
    return (share > 0).float().mean().item(), spread.exp().item()


def confusion(guess: Tensor, labels: Tensor, count: int) -> Tensor:
    """(count, count) shares: row = true class, column = answer; a row sums to 1."""
    table, one = torch.zeros(count, count), torch.ones(len(labels))
    table.index_put_((labels.cpu(), guess.cpu()), one, accumulate=True)
    return table / table.sum(1, keepdim=True).clamp(min=1)


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 10):
    """Is "80 % sure" right in 80 % of the cases? (Guo et al. 2017, §2)

    probabilities (N, C), labels (N,) -> (mean confidence, accuracy, count) per bin that
    is not empty, and the expected calibration error, all in [0, 1].
    """
    sure, guess = probabilities.max(1)
    right = (guess == labels.to(guess.device)).float()
    place = (sure * bins).long().clamp(max=bins - 1)
    rows, error = [], 0.0
    for b in range(bins):
        here = place == b
        if here.any():
            confidence, accuracy = sure[here].mean().item(), right[here].mean().item()
            rows.append((confidence, accuracy, int(here.sum())))
            error += abs(confidence - accuracy) * here.float().mean().item()
    return rows, error


def calibration_by_chance(
    probabilities: Tensor, bins: int = 10, draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """What calibration error a perfectly honest model would show on as many cases.

    Few cases in a bin stray from its diagonal by luck, and the error counts that too.
    probabilities (N, C): labels are drawn from them, ``draws`` times. Returns the mean
    error and its standard deviation.
    """
    probabilities = probabilities.cpu()
    g = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(probabilities, draws, True, generator=g)  # (N, draws)
    errors = [calibration(probabilities, column, bins)[1] for column in labels.T]
    errors = torch.tensor(errors)
    return errors.mean().item(), errors.std().item()


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features (N, D) and (M, D).

    With Inception's features it is the FID (Heusel et al. 2017); any embedding serves.

    |mean difference|^2 + trace(A + B - 2 (A B)^(1/2)), in double precision. Raises
    ValueError for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("A Fréchet distance needs at least two pictures on each side.")
    if a.ndim != 2 or a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"Features are (N, D) and (M, D), not {tuple(a.shape)} and "
            f"{tuple(b.shape)}."
        )
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
