"""Nearest neighbours among many vectors, by faiss: exact, a graph, inverted lists.

Dims: N vectors, D embedding.
"""

from torch import Tensor

from ..values import tensor


def choose(count: int) -> str:
    """Exact up to 20,000 vectors, a graph up to 200,000, inverted lists above."""
    return "exact" if count <= 20_000 else "hnsw" if count <= 200_000 else "ivf"


def neighbours(vectors: Tensor, kind: str):
    """A faiss index over unit vectors (N, D): "exact", "hnsw" or "ivf".

    Raises ValueError with one sentence for another kind, and for no such vectors.
    """
    import faiss

    x = tensor("Vectors", vectors).detach().float().cpu()
    if x.ndim != 2 or not x.isfinite().all() or (kind == "ivf" and not len(x)):
        raise ValueError(
            f"Vectors to search in are finite numbers (N, D), not {tuple(x.shape)}."
        )
    x = x.contiguous().numpy()
    count, width = x.shape
    if kind == "exact":
        index = faiss.IndexFlatIP(width)
    elif kind == "hnsw":  # a graph: every vector knows 32 neighbours
        index = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        index.hnsw.efSearch = 64
    elif kind == "ivf":  # lists around centres: a query reads only the nearest lists
        lists = max(1, min(4096, count // 39))
        centres = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFFlat(centres, width, lists, faiss.METRIC_INNER_PRODUCT)
        index.own_fields = True
        centres.this.disown()
        index.cp.niter = 8
        index.cp.min_points_per_centroid = 1
        index.train(x[:: max(1, count // (lists * 40))])
        index.nprobe = max(1, lists // 64)
    else:
        raise ValueError(f'There is no index kind "{kind}": exact, hnsw, ivf or auto.')
    index.add(x)
    return index


def groups(vectors: Tensor, exact, above: float) -> list[list[int]]:
    """Groups of rows (N, D) that a chain of cosines over ``above`` connects.

    ``exact``: the exact index over them.
    """
    limits, _, near = exact.range_search(vectors.numpy(), above)
    root = list(range(len(vectors)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i in range(len(vectors)):
        for j in near[limits[i] : limits[i + 1]]:
            root[find(int(j))] = find(i)
    found: dict[int, list[int]] = {}
    for i in range(len(vectors)):
        found.setdefault(find(i), []).append(i)
    return sorted(g for g in found.values() if len(g) > 1)
