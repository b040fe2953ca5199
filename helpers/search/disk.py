"""A search index larger than memory: short codes in lists that lie on disk (faiss).

The vectors are grouped around centres ("inverted lists"); of each vector a list holds
one byte for 8 numbers ("product quantisation", Jegou et al. 2011). A query reads the
lists nearest to it, then the true vectors of the best few from their parts.
Dims: N vectors, D embedding, k answers.
"""

import json
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from .. import paths
from ..values import ready, whole
from . import parts as stored
from .ask import at_least_one, one_text
from .index import Hit

LEAST = 10_000  # vectors; fewer have room in memory, and teach no codes
TAUGHT = 200_000  # vectors that centres and codes are learnt from, at most
BLOCK = 500_000  # vectors in memory at a time
WIDER = 10  # how many times k are read before the true vectors decide


def learn(sample: np.ndarray, count: int):
    """An empty IVF-PQ index over unit vectors, taught by a ``sample`` (n, D) float32.

    ``count``: how many vectors it will hold, which says how many lists it has.
    """
    import faiss

    width = sample.shape[1]
    lists, probes = lists_for(count, len(sample))
    codes = next(m for m in range(max(1, width // 8), 0, -1) if width % m == 0)
    index = faiss.index_factory(
        width, f"IVF{lists},PQ{codes}", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = 10
    index.train(sample)
    index.nprobe = probes
    return index


def lists_for(count: int, taught: int) -> tuple[int, int]:
    """(lists of an index of ``count`` vectors, how many of them a query reads)."""
    lists = max(16, min(65_536, int(4 * count**0.5), taught // 39))
    return lists, max(8, lists // 32)


def fill(index, blocks, path: Path):
    """``index`` with the vectors of ``blocks`` ((n, D) arrays), lists on disk.

    Writes ``path``.faiss and ``path``.ivfdata; in memory is one block at a time.
    """
    import faiss
    from faiss.contrib.ondisk import merge_ondisk

    first, files = 0, []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for block in blocks:
            part = faiss.clone_index(index)
            part.add_with_ids(block, np.arange(first, first + len(block)))
            first += len(block)
            files.append(f"{folder}/{len(files)}.faiss")
            faiss.write_index(part, files[-1])
        merge_ondisk(index, files, str(beside(path, ".ivfdata")))
    faiss.write_index(index, str(beside(path, ".faiss")))
    return index


def build(parts: list[Path], model, path) -> "DiskIndex":
    """Index the parts that ``workshop.embed`` has written, at ``path`` (no ending).

    Raises ValueError with one sentence if they hold too few vectors.
    """
    path = paths.given(path)
    counts = [stored.card_of(p)["count"] for p in parts]
    total = sum(counts)
    if total < LEAST:
        raise ValueError(
            f"A disk index needs {LEAST:,} pictures or more, these are {total:,}: "
            "keep them in memory (leave out --disk)."
        )
    every = max(1, total // TAUGHT)
    sample = torch.cat([stored.read(p)[1][::every] for p in parts]).numpy()
    fill(learn(sample, total), blocks_of(parts), path)
    card = {"model": model.name, "fingerprint": model.fingerprint, "counts": counts}
    card["parts"] = [str(p.resolve()) for p in parts]
    beside(path, ".disk.json").write_text(json.dumps(card), "utf-8")
    return DiskIndex(path, model)


def blocks_of(parts: list[Path]) -> Iterator[np.ndarray]:
    """The vectors of the parts in their order, in blocks of ``BLOCK`` or more."""
    held: list[torch.Tensor] = []
    for number, part in enumerate(parts, 1):
        held.append(stored.read(part)[1])
        if number == len(parts) or sum(map(len, held)) >= BLOCK:
            yield torch.cat(held).numpy()
            held = []


class DiskIndex:
    """Search in words what does not fit into memory; ``build`` has written it.

    Raises FileNotFoundError or ValueError with one sentence for files that are missing
    or of another model.
    """

    def __init__(self, path, model):
        import faiss

        path, self.model = paths.given(path), ready(model)
        for ending in (".disk.json", ".faiss", ".ivfdata"):
            if not beside(path, ending).is_file():
                raise FileNotFoundError(f"There is no file {beside(path, ending)}.")
        try:
            card = json.loads(beside(path, ".disk.json").read_text("utf-8"))
            made, by = card["fingerprint"], card["model"]
            self.parts = [Path(p) for p in card["parts"]]
            self.ends = list(accumulate(whole("", n, 0, 2**40) for n in card["counts"]))
            self.near = faiss.read_index(
                str(beside(path, ".faiss")), faiss.IO_FLAG_ONDISK_SAME_DIR
            )
            if not len(self.parts) == len(self.ends) > 0:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            raise ValueError(
                f"The disk index {path.name} is damaged: build the index again."
            ) from None
        if made != model.fingerprint:
            raise ValueError(
                f"{path.name} was made by {by} and cannot be asked by "
                f"{model.name}: load that model, or build the index again."
            )

    def __len__(self) -> int:
        return self.ends[-1]

    def at(self, place: int) -> tuple[str, torch.Tensor]:
        """The name and the true vector (D,) of one place."""
        n = bisect_right(self.ends, place)
        row = place - (self.ends[n - 1] if n else 0)
        return names(self.parts[n])[row], stored.row(self.parts[n], row)

    def search(self, words: str, k: int = 6) -> list[Hit]:
        """The k nearest pictures, best first, with their true cosines."""
        k, words = at_least_one("k", k), one_text(words, "words")
        if not words:
            raise ValueError("The query is empty: type what you want to see.")
        k = min(k, len(self))
        query = self.model.embed_texts(words)
        found = self.near.search(query.numpy(), WIDER * k)[1][0]
        rows = [(int(p), *self.at(int(p))) for p in found if p >= 0]
        hits = [Hit(p, name, float(vector @ query[0])) for p, name, vector in rows]
        return sorted(hits, key=lambda h: -h.score)[:k]


@lru_cache(maxsize=64)
def names(part: Path) -> list[str]:
    """The names of one part."""
    return stored.card_of(part)["names"]


def beside(path: Path, ending: str) -> Path:
    """One of the files of a disk index."""
    return path.with_name(path.name + ending)
