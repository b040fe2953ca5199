"""What goes into an index: folders of pictures, lists, corpus splits, tensors."""

import hashlib
import os
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from .. import corpus, paths
from ..pictures import PATHS, one_or_many, plain
from ..values import members, short


@dataclass
class Item:
    """A picture on its way into an index.

    ``file``: its absolute path, if it is a file. ``named``: its name was given, and is
    not just the path or a number.
    """

    name: str
    source: object
    file: str | None = None
    named: bool = False


def collect(pictures, names=None, first: int = 0):
    """Any collection -> (items, what cannot be listed, its folder or None).

    ``first``: the number that names the first picture without a name. Raises
    ValueError or FileNotFoundError with one sentence.
    """
    folder = absolute(pictures) if isinstance(pictures, PATHS) else None
    if folder and not os.path.isfile(folder):
        if names is not None:
            raise ValueError(
                "The pictures of a folder are named by their paths; for other names "
                "give a list of paths."
            )
        files, refused = walk(folder)
        if not files:
            why = f" ({refused[0][1]})" if refused else ""
            raise ValueError(f"The folder {plain(folder)} holds no pictures{why}.")
        return [Item(f, f, f) for f in files], refused, folder
    if isinstance(pictures, corpus.Corpus):
        if names is None:
            names = [c["name"] for c in pictures.cards]
        pictures = pictures.pictures()
    rows = one_or_many(pictures)
    if not rows:
        raise ValueError("The collection is empty: there is no picture to index.")
    if names is not None:
        several = members(names)
        names = [titled(n) for n in ([names] if several is None else several)]
        if len(names) != len(rows):
            raise ValueError(f"There are {len(rows)} pictures but {len(names)} names.")
    items = []
    for place, row in enumerate(rows):
        typed = isinstance(row, PATHS) and str(row).strip()  # none is skipped later
        file = absolute(row) if typed else None
        name = names[place] if names else file or str(first + place)
        items.append(Item(name, file or row, file, bool(names)))
    return items, [], None


def titled(name) -> str:
    """A name that was given, as text: a text, a path or a number."""
    if isinstance(name, (*PATHS, Integral)) and not isinstance(name, bool):
        return str(name)
    raise ValueError(f"A name is text, a path or a whole number, not {short(name)}.")


def absolute(path) -> str:
    """A path as absolute text, with ~ as the home folder; links stay as they are.

    Raises ValueError with one sentence for what is no path.
    """
    return os.path.abspath(paths.given(path))


def walk(folder: str) -> tuple[list[str], list[tuple[str, str]]]:
    """All files below a folder, in order, and what cannot be read there.

    That is folders, and links that lead nowhere, as to a drive that is not there. Links
    in a loop are followed once.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {plain(folder)}.")
    found, refused, seen = [], [], set()

    def no_entry(error: OSError) -> None:
        refused.append((str(error.filename), f"no permission ({error.strerror})"))

    for here, below, files in os.walk(folder, onerror=no_entry, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()
        for path in (os.path.join(here, name) for name in sorted(files)):
            if os.path.islink(path) and not os.path.exists(path):
                why = "a link to nothing: there is no picture at its end"
                refused.append((path, why))
            else:
                found.append(path)
    return found, refused


def inside(path: str, folder: str) -> bool:
    """Does a path lie in a folder or below it? Both are absolute."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def mark(file: str) -> tuple[str, int, int] | None:
    """What tells whether a file has changed: (path, size, time); None: not there."""
    try:
        seen = os.stat(file)
    except (OSError, ValueError):
        return None
    return file, seen.st_size, seen.st_mtime_ns


def digest(prepared: Tensor) -> str:
    """What tells a picture without a file: a hash of its pixels (3, S, S) in [0, 1]."""
    pixels = (prepared * 255).round().to(torch.uint8).numpy()
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:32]
