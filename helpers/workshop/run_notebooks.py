"""Run every notebook in place: ``python -m helpers.workshop.run_notebooks``.

The same code gives the same bytes twice: no timings, no widget state, no view ids.
"""

import argparse
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from .. import paths

WIDGET = "application/vnd.jupyter.widget-view+json"


def run(path: Path) -> float:
    """Execute one notebook in place; returns the seconds it took."""
    book = nbformat.read(path, as_version=4)
    began = time.time()
    NotebookClient(
        book,
        timeout=1200,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
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
    for number, cell in enumerate(book.cells, 1):
        cell.id = f"c{number:02d}"
        cell.metadata = nbformat.from_dict(
            {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        )
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    nbformat.write(book, path)
    return time.time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="02 03; without any: all")
    chosen = tuple(parser.parse_args().numbers) or ("",)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    for path in sorted((paths.ROOT / "notebooks").glob("*.ipynb")):
        if not path.name.startswith(chosen):
            continue
        print(f"{path.name}: {run(path):.0f} s", flush=True)


if __name__ == "__main__":
    main()
