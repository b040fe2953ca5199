"""Text-to-image search: embed a collection once, then ask it in words or pictures.

Dims: N pictures, D embedding, k answers. Similarity is the cosine; nearest neighbours
are faiss's: exact for small collections, HNSW or IVF for large ones.
"""

import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from ..pictures import PATHS, plain
from ..values import (
    flag,
    floats,
    members,
    number,
    ready,
    short,
    tensor,
)
from . import storage
from .ask import at_least_one, one_text
from .build import Kept, embed
from .collect import Item, absolute, collect, inside, mark, walk
from .doubt import fits
from .nearest import choose, groups, neighbours

CHUNK = 64  # pictures embedded at a time
TWIN = 0.93  # pocket, on train: misses 4 % of copies, 4 % false (test_twins.py)


@dataclass
class Hit:
    """One answer: its place in the index, its name, its cosine with the query.

    ``path``: the file, where the picture is one.
    """

    place: int
    name: str
    score: float
    path: str | None = None


@dataclass
class Changes:
    """What an update did: pictures that were new, changed, gone, or kept."""

    new: int = 0
    changed: int = 0
    gone: int = 0
    kept: int = 0

    def __str__(self) -> str:
        return (
            f"{self.new} new, {self.changed} changed, {self.gone} gone, "
            f"{self.kept} kept"
        )


class ImageIndex:
    """Vectors of N pictures under their names, and the model that made them.

    ``vectors``: (N, D) float on the unit sphere. ``keys``: what tells whether a picture
    is still the same, (path, size, time in ns) of a file, otherwise a hash. ``base``:
    the folder to which paths are saved relatively. ``skipped``: what could not be read,
    as (name, reason). Make one with ``build`` or ``load``, or fill an empty one,
    ``ImageIndex(model)``, with ``update`` and ``add``. Raises ValueError with one
    sentence for names and vectors that do not fit together.
    """

    def __init__(
        self, model, names=(), vectors: Tensor | None = None, skipped=(), keys=None,
        base=None,
    ):  # fmt: skip
        self.model, self.names, self.skipped = ready(model), members(names), [*skipped]
        if self.names is None:
            raise ValueError(f"The names are a list of texts, not {short(names)}.")
        width = model.model.config.embed
        if vectors is None:
            vectors = torch.empty(0, width)
        self.vectors = vectors = floats("Vectors", tensor("Vectors", vectors), width)
        self.keys = [None] * len(self.names) if keys is None else list(keys)
        if not len(self.names) == len(vectors) == len(self.keys):
            raise ValueError(
                f"Each picture has its vector and its name, but there are "
                f"{len(vectors)} vectors and {len(self.names)} names."
            )
        self.base = absolute(base) if base is not None else None
        self._near: dict = {}

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        size = self.vectors.numel() * 4 / 1e6
        return f"ImageIndex: {len(self):,} pictures by {self.model.name}, {size:.1f} MB"

    @property
    def paths(self) -> list[str | None]:
        """The file of each picture; None for one that is no file."""
        return [key[0] if isinstance(key, tuple) else None for key in self.keys]

    # -- what goes in and out ----------------------------------------------------

    @classmethod
    def build(cls, pictures, model, names=None, progress=True, resume=None, base=None):
        """Embed a collection.

        ``pictures``: a folder (with its sub-folders), a corpus split, a list of paths,
        bytes, PIL pictures, arrays or tensors, or a batch of them. ``names``: one a
        picture, for all but a folder; without them a file is named by its whole path,
        a corpus picture by its caption. ``base``: the folder that moves with the index
        (a built folder is its own). Whatever Pillow reads is taken; other files are
        listed in ``skipped``.

        ``resume``: a path where the work is kept, as an index like any other; the same
        call then goes on from there, and takes only what is new or has changed. Nothing
        in that file is ever lost. Raises ValueError or FileNotFoundError with one
        sentence for an empty or missing collection.
        """
        items, refused, folder = collect(pictures, names)
        index = cls(model, skipped=refused, base=folder if base is None else base)
        index._take(items, progress, resume)
        if not len(index):
            raise ValueError(
                f"None of the {len(items)} pictures could be read; the first reason: "
                f"{index.skipped[0][1]}"
            )
        return index

    def add(
        self, pictures, names=None, progress: bool = False, replace: bool = False,
        resume=None,
    ) -> None:  # fmt: skip
        """Embed more pictures, as ``build`` takes them, and append them.

        A file that is there already is not doubled: it is embedded again if it has
        changed. Names need not differ; ``replace``: a picture takes the place of those
        that had its name. Raises as ``build`` does.
        """
        replace = flag("replace", replace)
        items, refused, folder = collect(pictures, names, first=len(self))
        if self.base is None and not len(self):
            self.base = folder
        self.skipped += refused
        before = len(self)
        good = self._take(items, progress, resume)
        if not good:
            raise ValueError(
                f"None of the {len(items)} pictures could be read; the first reason: "
                f"{dict(self.skipped)[items[0].name]}"
            )
        if replace:
            fresh = set(self.names[before:])
            old = [p for p in range(before) if self.names[p] in fresh]
            self._forget(old)

    def update(
        self, folder, progress: bool = True, resume=None, emptied: bool = False
    ) -> Changes:
        """Bring the index up to date with a folder and all below it.

        Only new and changed files are embedded; pictures whose file has vanished go.
        What lies elsewhere stays, and what lies behind a link that leads nowhere. A
        file counts as changed if its size or its time is another. If it is stopped
        half-way, what was embedded is kept. ``resume``: as in ``build``. ``emptied``:
        the folder is empty on purpose; without it a folder that has lost all of its
        pictures, as that of a drive that is not there, takes none from the index.
        Raises FileNotFoundError or ValueError with one sentence.
        """
        folder, emptied = absolute(folder), flag("emptied", emptied)
        files, refused = walk(folder)
        self.base = self.base or folder
        there, hidden = set(files), [where for where, _ in refused]
        before = self._marks()
        known = {path for path in before if inside(path, folder)}
        gone = {
            path
            for path in known - there
            if not any(inside(path, where) for where in hidden)
        }
        self.skipped = [row for row in self.skipped if not inside(row[0], folder)]
        self.skipped += refused
        todo = [f for f in files if f not in before or before[f] != mark(f)]
        good = self._take([Item(f, f, f) for f in todo], progress, resume)
        bad = before.keys() & set(todo) - good  # pictures once, and none any more
        if gone and gone == known and not good and not emptied:
            raise ValueError(
                f"The folder {plain(folder)} holds none of its pictures any more: is "
                f"its drive there? The index keeps them ({len(known)}); if they went "
                "on purpose, emptied=True takes them out."
            )
        self._forget_files(gone | bad)
        changed = len(good & before.keys())
        return Changes(
            new=len(good) - changed,
            changed=changed,
            gone=len(gone) + len(bad),
            kept=len(known - gone - set(todo)),
        )

    def merge(self, other: "ImageIndex") -> None:
        """Take in all pictures of another index of the same model.

        A file in both is taken once, as its later state; nothing else is left out.
        Raises ValueError with one sentence for another model.
        """
        if not isinstance(other, ImageIndex):
            raise ValueError(
                f"An index takes in another one, not {type(other).__name__}: read a "
                "saved one with ImageIndex.load."
            )
        self._same_model(other.model, "The other index")
        if other is self:
            return
        self._absorb(other, lambda mine, theirs: theirs[2] > mine[2])
        if self.base != other.base:
            self.base = common(self.base, other.base)

    def remove(self, names) -> None:
        """Forget pictures by name. Raises KeyError with one sentence if unknown."""
        several = None if isinstance(names, PATHS) else members(names)
        names = {str(name) for name in ([names] if several is None else several)}
        unknown = sorted(names - set(self.names), key=str)
        if unknown:
            raise KeyError(f"The index holds no picture named {unknown[0]!r}.")
        self._forget([p for p, name in enumerate(self.names) if name in names])

    def _marks(self) -> dict[str, tuple]:
        """The key of each file in the index."""
        return {key[0]: key for key in self.keys if isinstance(key, tuple)}

    def _forget(self, places: list[int]) -> None:
        if places:
            gone = set(places)
            keep = [p for p in range(len(self)) if p not in gone]
            self.names = [self.names[p] for p in keep]
            self.keys = [self.keys[p] for p in keep]
            self.vectors = self.vectors[keep]
            self._near.clear()

    def _forget_files(self, files: set[str]) -> None:
        self._forget([p for p, path in enumerate(self.paths) if path in files])

    def _take(self, items: list[Item], progress: bool, resume) -> set:
        """Embed items and put them in; returns the files (or numbers) that were good.

        However it ends, what was embedded until then is in the index, and in the file
        ``resume`` if there is one.
        """
        kept, known = Kept(resume, self), {}
        for index in (kept.index, self):
            known |= dict(zip(index.keys, index.vectors, strict=True))
        known.pop(None, None)
        rows: list[tuple] = []
        good: set = set()
        bar = tqdm(
            total=len(items), desc="indexing", unit=" pictures", leave=False,
            disable=not progress,
        )  # fmt: skip
        try:
            for at in range(0, len(items), CHUNK):
                done, bad = embed(items[at : at + CHUNK], self.model, known)
                rows += done
                self.skipped += bad
                good |= {item.file or id(item) for item, _, _ in done}
                bar.update(len(done) + len(bad))
                if kept.due():
                    self._put(rows)
                    rows.clear()
                    kept.save(self)
        finally:
            bar.close()
            self._put(rows)
            self.skipped = [r for r in dict.fromkeys(self.skipped) if r[0] not in good]
            kept.save(self)
        return good

    def _put(self, rows: list[tuple]) -> None:
        """Rows (item, key, vector): a file already there is renewed, others added."""
        at: dict[str, list[int]] = {}
        for place, path in enumerate(self.paths):
            at.setdefault(path or "", []).append(place)
        vectors = list(self.vectors)
        for item, key, vector in rows:
            places = at.get(item.file, [])
            if item.named:
                places = [p for p in places if self.names[p] == item.name]
            for place in places:
                self.keys[place], vectors[place] = key, vector
            if not places:
                at.setdefault(item.file or "", []).append(len(self))
                self.names.append(item.name)
                self.keys.append(key)
                vectors.append(vector)
        if rows:
            self.vectors = torch.stack(vectors)
            self._near.clear()

    def _absorb(self, other: "ImageIndex", wins) -> None:
        """Take the rows of another index; ``wins(mine, theirs)`` decides on a file."""
        mine, rows = self._marks(), []
        there = set(zip(self.names, self.keys, strict=True))
        for name, key, vector in zip(
            other.names, other.keys, other.vectors, strict=True
        ):
            file = key[0] if isinstance(key, tuple) else None
            if key is not None and (name, key) in there:
                continue
            if file not in mine or wins(mine[file], key):
                named = name != file and file not in mine
                rows.append((Item(name, None, file, named), key, vector))
        self._put(rows)
        held = {row[0] for row in self.skipped} | set(self.paths)
        self.skipped += [row for row in other.skipped if row[0] not in held]

    # -- what is asked -----------------------------------------------------------

    def query(
        self, words=None, picture=None, minus=None, weight: float = 0.5
    ) -> Tensor:
        """One (D,) query vector from words, a picture, both, and words to avoid.

        ``weight``: share of the picture beside the words, from 0 to 1. ``minus``: its
        vector is taken away at half strength. All parts are unit vectors; so is the
        result. Raises ValueError with one sentence for an empty query.
        """
        weight = number("The weight of the picture", weight, 0, 1)
        total = torch.zeros(self.vectors.shape[1])
        words, minus = one_text(words, "words"), one_text(minus, "minus")
        if words == "":
            raise ValueError("The query is empty: type what you want to see.")
        if words is None and picture is None:
            raise ValueError("Give words, a picture, or both to search for.")
        share = 0.0 if picture is None else 1.0 if words is None else weight
        if words is not None:
            total += (1 - share) * self.model.embed_texts(words)[0]
        if picture is not None:
            total += share * self.model.embed_images([picture])[0]
        if minus:
            total -= 0.5 * self.model.embed_texts(minus)[0]
        return F.normalize(total, dim=0)

    def search(
        self, words=None, k: int = 6, picture=None, minus=None, weight: float = 0.5,
        distinct: bool = False, kind: str = "exact", above: float | None = None,
    ) -> list[Hit]:  # fmt: skip
        """The k nearest pictures, best first.

        ``distinct``: of pictures that are nearly the same only the best one. ``kind``:
        "exact", "hnsw", "ivf" or "auto" (by size). ``above``: only pictures whose
        cosine with the query is at least this, perhaps none. If k is larger than the
        index, all pictures come back. Raises ValueError with one sentence.
        """
        count, distinct = at_least_one("k", k), flag("distinct", distinct)
        if above is not None:
            above = number("above, a cosine,", above)
        if not len(self):
            raise ValueError("The index is empty: add pictures first.")
        query = self.query(words, picture, minus, weight)[None].numpy()
        wide = min(len(self), 4 * count if distinct else count)
        while True:
            hits = self._hits(*self.near(kind).search(query, wide), above)
            if not distinct:
                return hits
            kept = self.thin(hits)[:count]
            if len(kept) == count or len(hits) < wide or wide == len(self):
                return kept
            wide = min(len(self), 4 * wide)  # too many of them were the same

    def _hits(self, scores, places, above: float | None) -> list[Hit]:
        paths = [self.keys[p] for p in places[0]]
        return [
            Hit(int(p), self.names[p], float(s), k[0] if isinstance(k, tuple) else None)
            for s, p, k in zip(scores[0], places[0], paths, strict=True)
            if p >= 0 and (above is None or s >= above)
        ]

    def fits(self, words: str) -> bool | None:
        """Does the best picture fit these words well? See ``doubt.py``."""
        return fits(self.model, self.search(words, 1)[0].score)

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
        above = number("above, a cosine,", above)
        return groups(self.vectors, self.near("exact"), above) if len(self) else []

    def near(self, kind: str = "auto"):
        """The faiss index of a kind, made on first use."""
        if kind == "auto":
            kind = choose(len(self))
        if not isinstance(kind, str) or kind not in self._near:
            self._near[kind] = neighbours(self.vectors, kind)
        return self._near[kind]

    # -- the file ------------------------------------------------------------------

    def save(self, path) -> None:
        """Write ``path``.safetensors, whole or not at all.

        Paths of pictures are written relative to ``base``. Raises OSError with one
        sentence where nothing can be written.
        """
        file = storage.file_of(path)
        files = [storage.pack(f, self.base) if f else None for f in self.paths]
        card = {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "base": storage.pack_base(self.base, file),
            "names": [
                None if name == f else name
                for name, f in zip(self.names, self.paths, strict=True)
            ],
            "files": files,
            "keys": [key[1:] if isinstance(key, tuple) else key for key in self.keys],
            "skipped": [
                [storage.pack(name, self.base), True, reason]
                if os.path.isabs(name)
                else [name, False, reason]
                for name, reason in self.skipped
            ],
        }
        storage.write(file, card, self.vectors)

    @classmethod
    def load(cls, path, model, base=None) -> "ImageIndex":
        """Read a saved index. ``model``: the one that made it.

        ``base``: where its pictures are now. Without it they are looked for as seen
        from the index file, so that both may move together, and then at their old
        place. Raises FileNotFoundError or ValueError with one sentence for a missing,
        cut or older file, or one made by another model.
        """
        file = storage.file_of(path)
        card, vectors = storage.read(file)
        index = cls(model, base=base)
        index.vectors = vectors
        if base is not None and not os.path.isdir(index.base):
            raise FileNotFoundError(f"There is no folder {plain(index.base)}.")
        made = card.get("model"), card.get("fingerprint")
        index._same_model(model, plain(file.name), *made)
        try:
            return index._unpack(card, file)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            raise ValueError(
                f"The index {plain(file.name)} is damaged or was changed; build the "
                "index again."
            ) from None

    def _unpack(self, card: dict, file) -> "ImageIndex":
        """Fill an index from the card of its file."""
        if self.base is None:
            some = [f for f in card["files"] if f]
            self.base = storage.find_base(card["base"], file, some)
        for name, f, key in zip(
            card["names"], card["files"], card["keys"], strict=True
        ):
            path = f and storage.unpack(f, self.base)
            self.names.append(path if name is None else str(name))
            self.keys.append((path, *key) if f else key)
        self.skipped = [
            (storage.unpack(name, self.base) if is_file else name, reason)
            for name, is_file, reason in card["skipped"]
        ]
        if self.vectors.shape != (len(self.names), self.model.model.config.embed):
            raise KeyError
        return self

    def _same_model(self, model, what: str, name=None, fingerprint=None) -> None:
        """One sentence if ``what`` was made by another model than this one's."""
        if (fingerprint or model.fingerprint) != self.model.fingerprint:
            raise ValueError(
                f"{what} was made by {name or model.name} and cannot be asked by "
                f"{self.model.name}: load that model, or build the index again."
            )


def common(a: str | None, b: str | None) -> str | None:
    """The folder that holds both base folders, if that is not the whole disk."""
    if not a or not b:
        return a or b
    try:
        both = os.path.commonpath([a, b])
    except ValueError:  # two drives
        return a
    return a if both == os.path.dirname(both) else both
