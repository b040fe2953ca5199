"""Text-to-image search: embed a collection once, then ask it in words or pictures.

Dims: N pictures, D embedding, k answers. Similarity is the cosine; nearest neighbours
are faiss's: exact for small collections, HNSW or IVF for large ones.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .storage import CHUNK, Partial, collect, embed_files, read, stem, write

TWIN = 0.94  # cosine above which two pictures count as the same (clip-retrieval's)


@dataclass
class Hit:
    """One answer: its place in the index, its name and its cosine with the query."""

    place: int
    name: str
    score: float


class ImageIndex:
    """Vectors of N pictures under their names, and the model that made them.

    ``vectors``: (N, D) float on the unit sphere. ``skipped``: what could not be read,
    as (name, reason). Build it with ``ImageIndex.build`` or ``ImageIndex.load``.
    """

    def __init__(self, model, names: list[str], vectors: Tensor, skipped=()):
        self.model, self.names, self.vectors = model, list(names), vectors
        self.skipped = list(skipped)
        self._near: dict = {}

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        size = self.vectors.numel() * 4 / 1e6
        return f"ImageIndex: {len(self):,} pictures by {self.model.name}, {size:.1f} MB"

    @classmethod
    def build(cls, pictures, model, names=None, progress=True, resume=None):
        """Embed a collection.

        ``pictures``: a folder (with its sub-folders), a corpus split, a list of paths,
        bytes or PIL pictures, or a (N, 3, H, W) uint8 tensor. ``names``: one per
        picture; without them file paths or captions serve. ``resume``: a path where
        an interrupted build saves its work; the same call then goes on from there.
        Bad files are listed in ``skipped``. Raises ValueError or FileNotFoundError
        with one sentence for an empty or missing collection.
        """
        rows, names, skipped = collect(pictures, names)
        done = Partial(resume, model, names)
        bar = tqdm(
            total=len(names), desc="indexing", unit=" pictures", leave=False,
            disable=not progress, initial=done.count,
        )  # fmt: skip
        with bar, done:  # an interrupt saves what is done
            for at in range(done.count, len(names), CHUNK):
                part = rows[at : at + CHUNK]
                if isinstance(part, Tensor):
                    good, vectors = list(range(len(part))), model.embed_images(part)
                else:
                    good, vectors, bad = embed_files(part, model)
                    done.skipped += [(names[at + i], reason) for i, reason in bad]
                done.add([names[at + i] for i in good], vectors, at + len(part))
                bar.update(len(part))
        index = cls(model, done.names, done.vectors(), [*skipped, *done.skipped])
        if not len(index):
            raise ValueError(
                f"None of the {len(names)} pictures could be read; the first reason: "
                f"{index.skipped[0][1]}"
            )
        return index

    def add(self, pictures, names=None, progress: bool = False) -> None:
        """Embed more pictures and append them. A name that is there is replaced."""
        more = ImageIndex.build(pictures, self.model, names, progress)
        known = set(more.names)
        self.remove([n for n in self.names if n in known])
        self.names += more.names
        self.vectors = torch.cat([self.vectors, more.vectors])
        self.skipped += more.skipped
        self._near.clear()

    def remove(self, names: list[str]) -> None:
        """Forget pictures by name. Raises KeyError with one sentence if unknown."""
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise KeyError(f"The index holds no picture named {unknown[0]!r}.")
        gone = set(names)
        keep = [i for i, n in enumerate(self.names) if n not in gone]
        self.names = [self.names[i] for i in keep]
        self.vectors = self.vectors[keep]
        self._near.clear()

    def query(
        self, words=None, picture=None, minus=None, weight: float = 0.5
    ) -> Tensor:
        """One (D,) query vector from words, a picture, both, and words to avoid.

        ``weight``: share of the picture beside the words, from 0 to 1. ``minus``: its
        vector is taken away at half strength. All parts are unit vectors; so is the
        result. Raises ValueError with one sentence for an empty query.
        """
        if not 0 <= weight <= 1:
            raise ValueError(f"The weight of the picture is {weight}; give 0 to 1.")
        total = torch.zeros(self.vectors.shape[1])
        if words is not None and not str(words).strip():
            raise ValueError("The query is empty: type what you want to see.")
        if words is None and picture is None:
            raise ValueError("Give words, a picture, or both to search for.")
        share = 0.0 if picture is None else 1.0 if words is None else weight
        if words is not None:
            total += (1 - share) * self.model.embed_texts(words)[0]
        if picture is not None:
            total += share * self.model.embed_images([picture])[0]
        if minus is not None and str(minus).strip():
            total -= 0.5 * self.model.embed_texts(minus)[0]
        return F.normalize(total, dim=0)

    def search(
        self, words=None, k: int = 6, picture=None, minus=None, weight: float = 0.5,
        distinct: bool = False, kind: str = "exact",
    ) -> list[Hit]:  # fmt: skip
        """The k nearest pictures, best first.

        ``distinct``: of pictures that are nearly the same only the best one. ``kind``:
        "exact", "hnsw", "ivf" or "auto" (by size). If k is larger than the index, all
        pictures come back.
        """
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"k is {k!r}; give a whole number of at least 1.")
        if not len(self):
            raise ValueError("The index is empty: add pictures first.")
        query = self.query(words, picture, minus, weight)[None]
        count = min(len(self), 4 * k if distinct else k)
        scores, places = self.near(kind).search(query.numpy(), count)
        hits = [
            Hit(int(p), self.names[p], float(s))
            for s, p in zip(scores[0], places[0], strict=True)
            if p >= 0
        ]
        return self.thin(hits)[:k] if distinct else hits

    def thin(self, hits: list[Hit]) -> list[Hit]:
        """Drop every hit that is nearly the same picture as a better one."""
        kept: list[Hit] = []
        for hit in hits:
            rows = self.vectors[[h.place for h in kept]]
            if not kept or (rows @ self.vectors[hit.place]).max() < TWIN:
                kept.append(hit)
        return kept

    def twins(self, above: float = TWIN) -> list[list[int]]:
        """Groups of places whose pictures are nearly the same (connected by cosine)."""
        x = self.vectors.numpy()
        limits, _, near = self.near("exact").range_search(x, above)
        root = list(range(len(self)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for i in range(len(self)):
            for j in near[limits[i] : limits[i + 1]]:
                root[find(int(j))] = find(i)
        groups: dict[int, list[int]] = {}
        for i in range(len(self)):
            groups.setdefault(find(i), []).append(i)
        return sorted(g for g in groups.values() if len(g) > 1)

    def near(self, kind: str = "auto"):
        """The faiss index of a kind, made on first use."""
        if kind == "auto":
            kind = choose(len(self))
        if kind not in self._near:
            self._near[kind] = neighbours(self.vectors, kind)
        return self._near[kind]

    def save(self, path) -> None:
        """Write ``path``.safetensors and ``path``.json, whole or not at all."""
        path = stem(path)
        card = {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "names": self.names,
            "skipped": self.skipped,
        }
        write(path, card, self.vectors)

    @classmethod
    def load(cls, path, model) -> "ImageIndex":
        """Read a saved index. ``model``: the one that made it.

        Raises FileNotFoundError or ValueError with one sentence for a missing, cut or
        older file, or one made by another model.
        """
        path = stem(path)
        card, vectors = read(path)
        if card["fingerprint"] != model.fingerprint:
            raise ValueError(
                f"{path.name} was made by {card['model']} and cannot be asked by "
                f"{model.name}: load that model, or build the index again."
            )
        return cls(model, card["names"], vectors, map(tuple, card["skipped"]))


def choose(count: int) -> str:
    """Exact up to 20,000 vectors, a graph up to 200,000, inverted lists above."""
    return "exact" if count <= 20_000 else "hnsw" if count <= 200_000 else "ivf"


def neighbours(vectors: Tensor, kind: str):
    """A faiss index over unit vectors (N, D): "exact", "hnsw" or "ivf"."""
    import faiss

    x = vectors.float().cpu().contiguous().numpy()
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


def rank(model, vectors, text: str, count: int) -> tuple[list[int], list[float]]:
    """Indices and cosines of the ``count`` pictures that fit a text best."""
    scores = vectors @ model.embed_texts([text])[0]
    best = scores.topk(min(count, len(scores)))
    return best.indices.tolist(), best.values.tolist()
