"""Panels that make pictures: paint with codes, and draw from words.

Built like panels.py: silent, acting on a click, ipywidgets 7.7 and 8.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path

import ipywidgets as w
import torch

from .. import paths
from ..dream import Dream, Settings, files
from ..dream.cutouts import RECIPES
from ..pictures import to_image
from . import plots
from .panels import Panel, picture_box, uploaded


class TokenPainter(Panel):
    """Change single codes of a picture and see what the decoder makes of it.

    vqgan: a ready VQGAN; codes: (h, w), the grid to start from. Row, column and brush
    say where and how large; "code" is what is painted.
    """

    title = "Token painter: choose a cell and a code, press Paint"

    def __init__(self, vqgan, codes: torch.Tensor):
        self.vqgan, self.codes, self.first = vqgan, codes.clone(), codes.clone()
        h, width = codes.shape
        self.row = w.IntSlider(value=h // 2, min=0, max=h - 1, description="row")
        self.column = w.IntSlider(
            value=width // 2, min=0, max=width - 1, description="column"
        )
        self.brush = w.IntSlider(value=2, min=1, max=6, description="brush")
        self.code = w.BoundedIntText(
            value=int(codes[0, 0]), min=0, max=vqgan.count - 1, description="code"
        )
        self.undo = w.Button(description="Start again")
        self.undo.on_click(lambda _: self.restart())
        self.image = picture_box(560, 290)
        rows = [w.HBox([self.row, self.column]), w.HBox([self.brush, self.code])]
        super().__init__([*rows, self.undo, self.image], "Paint")
        self.show()

    def restart(self) -> None:
        self.codes = self.first.clone()
        self.status.value = self.show()

    def paint(self, row: int, column: int, code: int, brush: int = 1) -> None:
        """Set a square of ``brush`` cells to one code."""
        self.codes[row : row + brush, column : column + brush] = code

    def run(self) -> str:
        at = self.row.value, self.column.value
        self.paint(*at, self.code.value, self.brush.value)
        return self.show()

    def show(self) -> str:
        """Decode the grid and say what stands where."""
        at = self.row.value, self.column.value
        there = int(self.codes[at])
        self.image.value = plots.png(plots.painting(self.vqgan, self.codes, at))
        changed = int((self.codes != self.first).sum())
        return f"row {at[0]}, column {at[1]} holds code {there}; {changed} changed"


class Studio(Panel):
    """Words in, a growing picture out: prompt, weights, seed, steps, size, start.

    guides: ready CLIPs; vqgan: a ready VQGAN. Stop ends a run at any moment and keeps
    the best picture; Save writes it with its settings.
    """

    title = "Studio: type a prompt, press Draw and watch"

    def __init__(self, guides, vqgan=None, prompt="a sunflower", threaded=True):
        self.guides, self.vqgan, self.threaded = guides, vqgan, threaded
        self.frame, self.dream, self.worker = None, None, None
        half = w.Layout(width="290px")
        self.prompt = w.Text(
            value=prompt,
            placeholder="a red fox | snow:0.5 | blurry:-0.3",
            description="prompt",
            layout=w.Layout(width="600px"),
        )
        self.seed = w.IntText(value=0, description="seed", layout=half)
        self.steps = w.IntSlider(
            value=120, min=10, max=400, step=10, description="steps", layout=half
        )
        self.size = w.Dropdown(
            options=["128 x 128", "192 x 128", "128 x 192", "192 x 192", "256 x 256"],
            description="size",
            layout=half,
        )
        self.drawer = w.Dropdown(
            options=["vqgan", "codes", "pixel", "fourier", "lines"],
            description="drawer",
            layout=half,
        )
        self.recipe = w.Dropdown(
            options=list(RECIPES), description="cutouts", layout=half
        )
        self.cuts = w.IntSlider(value=8, min=1, max=32, description="cuts", layout=half)
        self.upload = w.FileUpload(accept="image/*", multiple=False)
        self.begin = w.Dropdown(
            options=["noise", "gradient", "upload"], description="start", layout=half
        )
        self.stop = w.Button(description="Stop", disabled=True)
        self.keep = w.Button(description="Save", disabled=True)
        self.stop.on_click(lambda _: setattr(self, "halt", True))
        self.keep.on_click(lambda _: self.save())
        self.bar = w.IntProgress(
            value=0, min=0, max=100, layout=w.Layout(width="290px")
        )
        self.image = picture_box(384, 384)
        self.halt = False
        rows = [
            self.prompt,
            w.HBox([self.seed, self.steps]),
            w.HBox([self.size, self.drawer]),
            w.HBox([self.recipe, self.cuts]),
            w.HBox([self.begin, self.upload]),
            w.HBox([self.stop, self.keep, self.bar]),
            self.image,
        ]
        super().__init__(rows, "Draw")

    def act(self) -> None:
        """Start in the background, so that Stop can be pressed meanwhile."""
        self.halt = False
        if not self.threaded:
            return super().act()
        if self.worker is None or not self.worker.is_alive():
            self.worker = threading.Thread(target=super().act, daemon=True)
            self.worker.start()

    def settings(self) -> Settings:
        """The settings that the panel shows. Raises ValueError for a bad prompt."""
        width, height = (int(n) for n in self.size.value.split(" x "))
        start = self.begin.value
        if start == "upload":
            raw = uploaded(self.upload.value)
            if raw is None:
                raise ValueError("Upload a picture first, or start from noise.")
            path = paths.cache() / "upload.png"
            path.write_bytes(raw)
            start = str(path)
        return Settings(
            prompt=self.prompt.value,
            seed=self.seed.value,
            steps=self.steps.value,
            width=width,
            height=height,
            drawer=self.drawer.value,
            recipe=self.recipe.value,
            cuts=self.cuts.value,
            start=start,
        )

    def run(self) -> str:
        self.dream = Dream(self.settings(), self.guides, self.vqgan)
        self.stop.disabled, self.keep.disabled = False, True
        began, steps = time.time(), self.dream.settings.steps
        try:
            for frame in self.dream.steps():
                self.bar.value = round(100 * (frame.step + 1) / steps)
                if frame.score is not None:
                    self.show(frame)
                    self.status.value = (
                        f"step {frame.step + 1} of {steps}, score {frame.score:.2f}"
                    )
                if self.halt:
                    break
        finally:
            self.stop.disabled = True
        self.frame = self.dream.best
        self.show(self.frame)
        self.keep.disabled = False
        said = " ".join(self.dream.notes)
        return (
            f"best: step {self.frame.step + 1}, score {self.frame.score:.2f}, "
            f"{time.time() - began:.0f} s. {said}"
        )

    def show(self, frame) -> None:
        import io

        image = to_image(frame.picture)
        factor = max(1, 384 // max(image.size))
        image = image.resize([n * factor for n in image.size], 0 if factor == 1 else 3)
        out = io.BytesIO()
        image.save(out, "PNG")
        self.image.value = out.getvalue()

    def save(self) -> None:
        """Write the best picture beside the notebook, under the words of its prompt."""
        words = "-".join(self.dream.settings.prompt.lower().split())
        name = "".join(c for c in words if c.isalnum() or c == "-")[:40] or "picture"
        try:
            path = files.save(
                Path.cwd() / f"{name}-{self.dream.settings.seed}.png",
                self.frame,
                self.dream.settings,
            )
            self.status.value = f"saved as {path.name}, with its settings inside"
        except OSError as error:
            self.status.value = str(error)


def contact_sheet(settings: Settings, seeds, guides=None, vqgan=None, progress=True):
    """Run several seeds: (frames, a figure of all pictures with seed and score)."""
    seeds = list(seeds)
    if not seeds:
        raise ValueError("A contact sheet needs at least one seed.")
    frames = []
    for seed in seeds:
        dream = Dream(replace(settings, seed=seed), guides, vqgan)
        frames.append(dream.run(progress))
    titles = [f"seed {s}: {f.score:.2f}" for s, f in zip(seeds, frames, strict=True)]
    return frames, plots.grid([f.picture for f in frames], titles, 4, 1.8)
