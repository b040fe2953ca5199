"""Where things are: every path of the workbook is built here."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
CORPUS = DATA / "corpus"
MODELS = DATA / "models"
VECTORS = DATA / "vectors"
PHOTOS = DATA / "photos"
CACHE = "PICTURES_AND_WORDS_CACHE"  # the variable that moves the folder of weights


def given(path) -> Path:
    """A path that somebody typed: text or a path, ``~`` is the home folder.

    Raises ValueError with one sentence for what is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"A path is text or a Path, not {type(path).__name__}.")
    if not str(path).strip():
        raise ValueError("The path is empty: name a file or a folder.")
    path = Path(os.fsdecode(path))
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, no home
        return path


def folder(path) -> Path:
    """A folder that is there, or is made now.

    Raises PermissionError with one sentence if it cannot be.
    """
    path = given(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(
            f"{path} cannot be written ({error.strerror}); choose another place."
        ) from None
    return path


def kept() -> Path:
    """The folder of downloaded weights, there or not: ``PICTURES_AND_WORDS_CACHE``."""
    return given(os.environ.get(CACHE) or "~/.cache/pictures-and-words/weights")


def cache() -> Path:
    """The folder for downloaded weights, made on first use, that can be written.

    Raises PermissionError with one sentence if it cannot.
    """
    path = kept()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".write-test").touch()
        (path / ".write-test").unlink()
    except OSError as error:
        raise PermissionError(
            f"The cache folder {path} cannot be written ({error.strerror}); set "
            f"{CACHE} to a folder that can."
        ) from None
    return path
