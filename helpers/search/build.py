"""The work of a long build: embed what is new, and keep it in a file meanwhile."""

import os
import time
import warnings

import torch

from . import storage
from .collect import Item, digest, mark

PAUSE = 30  # seconds, at least, between two savings of a long build


class Kept:
    """The work of a long build at a path, as an index; without a path, nothing.

    ``index``: the ImageIndex that is built.
    """

    def __init__(self, path, index):
        self.file = storage.file_of(path) if path is not None else None
        self.index = type(index)(index.model, base=index.base)
        self.saved, self.pause = time.monotonic(), PAUSE
        if self.file:
            if os.path.exists(self.file):
                self.index = type(index).load(self.file, index.model)
            self.index.save(self.file)  # if that fails, then before the work

    def due(self) -> bool:
        """Is it time to save? The work takes at least 20 times as long as saving."""
        return self.file is not None and time.monotonic() - self.saved > self.pause

    def save(self, index) -> None:
        """Add the rows of ``index``; what the file held already stays."""
        if not self.file:
            return
        began = time.monotonic()
        self.index._absorb(index, lambda mine, theirs: True)
        try:
            self.index.save(self.file)
        except OSError as error:  # no reason to lose what was embedded
            warnings.warn(str(error), stacklevel=2)
        self.saved = time.monotonic()
        self.pause = max(PAUSE, 20 * (self.saved - began))


def embed(items: list[Item], model, known: dict) -> tuple[list[tuple], list[tuple]]:
    """Items -> (rows (item, key, vector), what could not be read (name, reason)).

    ``known``: vectors by key, which are not computed again.
    """
    rows, bad, todo, ready = [], [], [], []
    for item in items:
        key = mark(item.file) if item.file else None
        if key is None or key not in known:
            try:
                prepared = model.preprocess(item.source)
            except (ValueError, TypeError, OSError) as error:
                bad.append((item.name, str(error)))
                continue
            key = key or digest(prepared)
        if key not in known:
            todo.append(len(rows))
            ready.append(prepared)
        rows.append((item, key, known.get(key)))
    if ready:
        vectors = model.embed_images(torch.stack(ready))
        for place, vector in zip(todo, vectors, strict=True):
            rows[place] = (*rows[place][:2], vector)
    return rows, bad
