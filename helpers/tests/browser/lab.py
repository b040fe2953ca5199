"""JupyterLab on this machine, opened by the README's command, and a browser before it.

Nothing leaves 127.0.0.1, and nothing is written into the checkout: the notebooks are
copies in a temporary folder, beside links to ``helpers`` and ``data``.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from helpers import paths

FLAGS = (
    "--no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
).split()
PATIENCE = 600  # seconds for a page, a kernel, a notebook: CI machines are busy
SOON = 60  # seconds for the answer of a panel


def chromium() -> str | None:
    """Where a browser of the Chromium family is, or None."""
    names = "chromium chromium-browser google-chrome google-chrome-stable".split()
    return next(filter(None, map(shutil.which, names)), None)


def command() -> list[str]:
    """What the README tells a newcomer to type, from the word jupyter on."""
    text = (paths.ROOT / "README.md").read_text("utf-8")
    return re.search(r"bin/jupyter (lab .*00_start_here\.ipynb)", text)[1].split()


class Lab:
    """A running JupyterLab: ``url`` is where the README's command would lead."""

    def __init__(self, folder: Path):
        self.folder = folder / "course"
        self.folder.mkdir()
        shutil.copytree(paths.ROOT / "notebooks", self.folder / "notebooks")
        for name in ("helpers", "data"):
            (self.folder / name).symlink_to(paths.ROOT / name)
        shutil.copy(paths.ROOT / ".jupyter_config.py", self.folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mine = {
            f"JUPYTER_{kind}_DIR": str(folder / kind)
            for kind in ("CONFIG", "DATA", "RUNTIME")
        }
        self.log = folder / "lab.log"
        more = [
            "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
            "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
            f"--LabApp.user_settings_dir={folder / 'settings'}",
            f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        ]  # fmt: skip
        quiet = folder / "settings/@jupyterlab/apputils-extension"
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false"}'
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter", *command(), *more],
                cwd=self.folder, env={**os.environ, **mine}, stdout=log, stderr=log,
            )  # fmt: skip
        self.url = self.where()

    def where(self) -> str:
        """The address that the command would have opened, once it answers."""
        end, runtime = time.time() + PATIENCE, self.log.parent / "RUNTIME"
        while time.time() < end and self.process.poll() is None:
            time.sleep(0.3)
            for page in runtime.glob("jpserver-file-to-run-*.html"):
                found = re.search(r"url=(http[^\"]+ipynb)", page.read_text("utf-8"))
                try:
                    urllib.request.urlopen(found[1]).close()
                    return found[1]
                except (OSError, TypeError):
                    pass
        self.close()
        said = self.log.read_text("utf-8", "replace")
        raise RuntimeError(f"JupyterLab did not start: {said[-1500:]}")

    def at(self, name: str) -> str:
        """The address of another notebook."""
        return self.url.replace("00_start_here.ipynb", name)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Notebook:
    """One notebook in the browser."""

    def __init__(self, browser, url: str, shots: Path):
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(1000 * SOON)
        self.shots = shots
        self.page.goto(f"{url}?reset", timeout=1000 * PATIENCE)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=1000 * PATIENCE)
        self.wait("() => window.jupyterapp")
        self.wait(
            "() => { const p = window.jupyterapp.shell.currentWidget; return p && "
            "p.sessionContext && p.sessionContext.session && "
            "p.sessionContext.session.kernel && "
            "p.sessionContext.session.kernel.status === 'idle'; }"
        )

    def wait(self, function: str) -> None:
        """Until a function of the page is true."""
        self.page.wait_for_function(function, timeout=1000 * PATIENCE)

    def do(self, name: str, **args):
        """A command of JupyterLab, such as "docmanager:save"."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)"
            ".then(() => null)",
            [name, args],
        )

    def run_all(self) -> None:
        """Run All, until every cell has its number or one shows an error."""
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )
        self.wait(
            "() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
            ".every(e => /\\[\\d+\\]/.test(e.textContent)) || "
            "document.querySelector('[data-mime-type=\"application/vnd.jupyter.error\"]')"
        )

    def wrong(self) -> list[str]:
        """Every error that the page shows."""
        kinds = ("vnd.jupyter.error", "vnd.jupyter.stderr")
        which = ", ".join(f"[data-mime-type='application/{k}']" for k in kinds)
        found = self.page.locator(which).all_inner_texts()
        text = self.page.locator(".jp-Notebook").inner_text()
        broken = r"Error displaying widget.*|.*javascript error.*|Traceback.*"
        return found + re.findall(broken, text)

    def shot(self, name: str, where=None) -> None:
        """A screenshot to look at."""
        (where or self.page).screenshot(path=self.shots / f"{name}.png")
