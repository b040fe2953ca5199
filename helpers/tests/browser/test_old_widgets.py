"""The panels as Colab and older machines have them: ipywidgets 7.7.1, JupyterLab 3.6.

An environment of their own is made with what they need, on top of the one that runs the
tests, and the browser's tests run there. It takes minutes and needs PyPI:
``pytest -m nightly helpers/tests/browser``.
"""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from helpers import paths

from . import lab as labs

pytest.importorskip(
    "playwright", reason="playwright is not installed: no browser test."
)
pytestmark = [pytest.mark.nightly, pytest.mark.slow]
OLD = [  # jupyterlab_widgets 3 draws no widget of ipywidgets 7, and pip would take it
    "jupyterlab==3.6.*", "ipywidgets==7.7.1", "jupyterlab_widgets<3", "ipykernel",
]  # fmt: skip


@pytest.mark.skipif(labs.chromium() is None, reason="no Chromium on this machine")
def test_every_panel_works_in_jupyterlab_3_with_ipywidgets_7(tmp_path):
    venv.create(tmp_path / "old", with_pip=True)
    programs = tmp_path / "old" / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    install = [python, "-m", "pip", "install", "-q", *OLD]
    got = subprocess.run(install, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"The old releases cannot be installed: {got.stderr[-300:]}")
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.check_output(ask, text=True).strip())
    rest = sorted({sysconfig.get_path(kind) for kind in ("purelib", "platlib")})
    (own / "zz_rest.pth").write_text("\n".join(rest), "utf-8")
    tests = str(Path(__file__).with_name("test_panels.py"))
    plain = ["-o", "addopts=-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    ran = subprocess.run(
        [python, "-m", "pytest", tests, *plain], cwd=paths.ROOT, text=True,
        env={**os.environ, "PATH": path}, capture_output=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:]
