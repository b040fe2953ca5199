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


def cache() -> Path:
    """The folder for downloaded weights, created on first use.

    ``PICTURES_AND_WORDS_CACHE`` overrides it. Raises PermissionError with one sentence
    if the folder cannot be written.
    """
    folder = os.environ.get(CACHE, "~/.cache/pictures-and-words/weights")
    path = Path(folder).expanduser()
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
