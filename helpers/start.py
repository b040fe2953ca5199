"""What the first cell of every page does: ``start()``.

Everywhere it sets the number of threads and lets freed memory be used again. In Colab
it also installs what the image lacks, and keeps downloaded weights on Drive if you have
mounted it.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from . import paths
from .device import keep_memory, set_threads

DRIVE = Path("/content/drive/MyDrive")  # where Colab mounts it
KEPT = "torch torchvision numpy pillow ipywidgets jupyterlab".split()  # as Colab has it


def start() -> None:
    """Threads; in Colab libraries and the folder of the weights, too.

    Prints nothing unless something is installed. Raises RuntimeError with one sentence
    if pip fails.
    """
    set_threads()
    keep_memory()
    if "google.colab" not in sys.modules:
        return
    if DRIVE.is_dir() and os.access(DRIVE, os.W_OK):
        os.environ.setdefault(
            paths.CACHE, str(DRIVE / "pictures-and-words" / "weights")
        )
    if lines := missing():
        install(lines)


def missing(file: Path = paths.ROOT / "requirements.txt") -> list[str]:
    """The lines of ``file`` that this Python lacks or has too old, for pip.

    Never one of ``KEPT`` and never a line that only the tests need.
    """
    lines = []
    for line in file.read_text("utf-8").splitlines():
        wanted, _, why = line.partition("#")
        if not wanted.strip() or why.strip().startswith("tests:"):
            continue
        needed = Requirement(wanted.strip())
        here = needed.specifier.contains(version(needed.name), prereleases=True)
        if needed.name not in KEPT and not here:
            lines.append(str(needed))
    return lines


def version(name: str) -> str:
    """The installed version of a library, "0" if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0"


def install(lines: list[str]) -> None:
    """Let pip install ``lines`` and change none of ``KEPT``."""
    print(f"Installing {', '.join(lines)}.")
    held = [f"{name}=={version(name)}\n" for name in KEPT if version(name) != "0"]
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder, "kept.txt")
        limits.write_text("".join(held), "utf-8")
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(limits)]
        done = subprocess.run([*command, *lines], capture_output=True, errors="replace")
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(
            f"pip could not install {', '.join(lines)} ({reason[-1]}); check the "
            "network, then run this cell again."
        )
    importlib.invalidate_caches()
