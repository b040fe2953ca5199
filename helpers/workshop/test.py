"""All tests in one command: ``python -m helpers.workshop.test``.

Style (ruff on .py and .ipynb), then the helpers (pytest) and every notebook (strict
nbval), one process a core, one notebook a process.
"""

import os
import subprocess
import sys

from .. import paths
from ..device import MALLOC


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core a notebook
    os.environ |= MALLOC  # the helpers keep their memory, as pages do
    python = [sys.executable, "-m"]
    steps = [
        [*python, "ruff", "check", "."],
        [*python, "ruff", "format", "--check", "."],
        [*python, "pytest", *sys.argv[1:]],
    ]
    for step in steps:
        code = subprocess.run(step, cwd=paths.ROOT).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
