"""Measure CLIP models: ``python -m helpers.workshop.evaluate clip [NAMES]``."""

from pathlib import Path

from ...clip import files, load, measure
from ...clip.model import CLIP
from ...clip.tokenizer import Tokenizer


def show(names: list[str]) -> None:
    """Print the figures of models (names or paths), one column each."""
    for name in names:  # what is no model is said before the work
        load(name)
    tables = {name: measure.table(name) for name in names}
    print(f"{'measure':36s}" + "".join(f"{name[-24:]:>26s}" for name in tables))
    for row in measure.MEASURES:
        values = "".join(f"{100 * t[row]:24.1f} %" for t in tables.values())
        print(f"{row:36s}{values}")


def finish(path: Path, model: CLIP, tokenizer: Tokenizer, card: dict) -> None:
    """Save a finished model, measure it, and enter the figures in its card."""
    files.save_clip(path, model, tokenizer, card)
    figures = {k: round(v, 4) for k, v in measure.table(str(path)).items()}
    files.save_clip(path, model, tokenizer, card | {"figures": figures})
