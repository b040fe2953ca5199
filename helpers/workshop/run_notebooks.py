"""Run every notebook in place: ``python -m helpers.workshop.run_notebooks [NUMBERS]``.

The same code gives the same bytes twice: no timings, no widget state, no view ids.
Figures are stored small, and cells have names that stay when cells move. The seconds
go to seconds.json, from where ``pages`` writes them into the page's header.
"""

import argparse
import base64
import io
import os
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from .. import paths
from ..device import THREADS
from . import pages

WIDGET = "application/vnd.jupyter.widget-view+json"
COLOURS = 256  # of a figure's palette
QUALITY = 80  # of a JPEG
PHOTO = 30_000  # different colours from which a figure counts as a photograph
SMALL = (
    "a an and are as at by do for from how in is it its of on one or s the to two with"
)
MADE = re.compile(r"c\d+|[0-9a-f]{8}(-[0-9a-f-]{27})?")  # ids that name nothing


def run(path: Path) -> float:
    """Execute one notebook in place; returns the seconds it takes on an idle machine.

    These are the kernel's seconds at work, which waiting for a busy core does not
    lengthen; or those on the clock, where they are fewer or the system tells no others.
    """
    book = nbformat.read(path, as_version=4)
    began, worked = time.time(), sum(os.times()[2:4])  # kernels that have ended
    NotebookClient(
        book,
        timeout=1200,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    tidy(book, path.name[:2])
    nbformat.write(book, path)
    clock, worked = time.time() - began, sum(os.times()[2:4]) - worked
    return min(clock, worked) if worked > 1 else clock


def tidy(book, number: str) -> None:
    """Take out what changes from run to run, name the cells, store figures small."""
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    name_cells(book.cells, number)
    for cell in book.cells:
        cell.metadata = nbformat.from_dict(
            {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        )
        for output in cell.get("outputs", []):
            if data := output.get("data"):
                data.pop(WIDGET, None)
                if "image/png" in data:
                    kind, raw = small(base64.b64decode(data.pop("image/png")))
                    data[kind] = base64.b64encode(raw).decode()


# -- figures ----------------------------------------------------------------------


def small(raw: bytes) -> tuple[str, bytes]:
    """A PNG in fewer bytes: (MIME type, bytes).

    A palette of 256 colours, which lines and letters survive; a JPEG where a figure is
    mostly photographs and that is smaller. The PNG itself, if neither helps.
    """
    image = Image.open(io.BytesIO(raw))
    if image.mode == "P":  # it has been here before
        return "image/png", raw
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    image = white.convert("RGB")
    few = image.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    rows = [("image/png", encoded(few, "PNG", optimize=True)), ("image/png", raw)]
    if len(image.getcolors(image.width * image.height)) > PHOTO:
        rows.append(
            ("image/jpeg", encoded(image, "JPEG", quality=QUALITY, optimize=True))
        )
    return min(rows, key=lambda row: len(row[1]))


def encoded(image: Image.Image, kind: str, **more) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


# -- names of cells ---------------------------------------------------------------


def name_cells(cells, number: str) -> None:
    """Give every cell whose id is a position or chance a name such as "05-loop".

    A name is made once, from the words of the cell and its heading; ids that are names
    already stay, wherever the cell goes.
    """
    taken = {cell.get("id") for cell in cells if not MADE.fullmatch(cell.get("id", ""))}
    heading = check = ""
    for cell in cells:
        if found := re.search(r"^#+ (?:\d\d · )?(.+)", cell.source, re.M):
            heading = slug(found[1]) if cell.cell_type == "markdown" else heading
        if found := re.search(r"^checks\.(\w+)\(\w+\)$", cell.source, re.M):
            check = found[1]
        if not MADE.fullmatch(cell.get("id", "c0")):
            continue
        name = f"{number}-{words_of(cell, heading, check)}"[:52].strip("-")
        names = [name, *(f"{name}-{n}" for n in range(2, len(cells) + 2))]
        cell.id = next(n for n in names if n not in taken)
        taken.add(cell.id)


def words_of(cell, heading: str, check: str) -> str:
    """What a cell is about, in a few words with hyphens between."""
    text = cell.source
    if cell.cell_type == "markdown":
        if "<summary>Solution" in text:
            return f"solution-{slug(check)}"
        return heading if re.search(r"^#+ ", text, re.M) else f"{heading}-text"
    if text.startswith("# Setup"):
        return "setup"
    if "raise NotImplementedError" in text:
        return f"exercise-{slug(check)}"
    if "pick_device()" in text:
        return "imports"
    if found := re.search(r"^(?:def|class) (\w+)", text, re.M):
        return slug(found[1])
    found = re.search(r"^(\w+)(?:, \w+)* = ", text, re.M) or re.search(r"(\w+)\(", text)
    return f"{heading}-{slug(found[1])}" if found else heading


def slug(text: str) -> str:
    """A heading or a Python name as at most three plain words."""
    words = re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))
    return "-".join([w for w in words if w not in SMALL.split()][:3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="02 03; without any: all")
    chosen = tuple(parser.parse_args().numbers) or ("",)
    found = sorted((paths.ROOT / "notebooks").glob("*.ipynb"))
    for number in chosen:
        if not any(path.name.startswith(number) for path in found):
            parser.error(f"no page begins with {number}")
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.environ.setdefault(
        THREADS, "1"
    )  # as the tests run them: other threads, other sums
    pages.write()  # the setup cell that will be run
    for path in found:
        if not path.name.startswith(chosen):
            continue
        seconds = run(path)
        measured = pages.stored(pages.SECONDS)
        pages.store(pages.SECONDS, measured | {path.stem: round(seconds)})
        print(f"{path.name}: {seconds:.0f} s", flush=True)
        pages.write()


if __name__ == "__main__":
    main()
