"""How good is a CLIP: recall at k and zero-shot accuracy, from embeddings alone.

Dims: N pictures, M texts, D embedding; all embeddings are on the unit sphere.
"""

import torch
from torch import Tensor


def ranks(queries: Tensor, targets: Tensor, right: Tensor) -> Tensor:
    """Place (0 is best) of the best right target for every query.

    queries (M, D), targets (N, D), right (M, N) bool with at least one True a row.
    Ties count against the query.
    """
    scores = queries @ targets.T
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
    return (best == labels[:, None]).any(1).float().mean().item()


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their pictures that were named right."""
    right = (predicted == labels).float()
    return (
        torch.stack([right[labels == c].mean() for c in labels.unique()]).mean().item()
    )


def about(share: float) -> str:
    """A share as "about 45 %", in steps of 5: what survives a change of machine."""
    return f"about {5 * round(20 * share)} %"
