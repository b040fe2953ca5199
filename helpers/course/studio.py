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

    vqgan: a ready VQGAN; codes: (h, w), the grid to start from. A click on the figure
    paints where ``ipyevents`` is installed; row, column and Paint do so everywhere. The
    swatches are codes of this picture, each in the mean colour that it decodes to.
    """

    title = "Token painter: choose a cell and a swatch, press Paint"
    swatches = 12

    def __init__(self, vqgan, codes: torch.Tensor):
        self.vqgan, self.codes, self.first = vqgan, codes.clone(), codes.clone()
        self.before: list[torch.Tensor] = []  # one grid a stroke, for Undo
        h, width = codes.shape
        wide = w.Layout(width="280px")
        self.row, self.column, self.brush = (
            w.IntSlider(value=n, min=low, max=high, description=name, layout=wide)
            for name, n, low, high in (
                ("row", h // 3, 0, h - 1),
                ("column", width // 3, 0, width - 1),
                ("brush", min(2, h, width), 1, min(6, h, width)),
            )
        )
        self.code = w.BoundedIntText(
            value=int(codes[0, 0]),
            min=0,
            max=vqgan.count - 1,
            description="code",
            layout=wide,
        )
        self.undo, self.again = (w.Button(description=n) for n in ("Undo", "Reset"))
        self.undo.on_click(lambda _: self.step_back())
        self.again.on_click(lambda _: self.restart())
        self.palette = w.HBox([self.swatch(*pair) for pair in self.colours()])
        self.image = picture_box(560, round(280 * h / width))
        super().__init__([self.palette], "Paint")
        self.children = [
            w.HBox([self.row, self.column]),
            w.HBox([self.brush, self.code]),
            self.palette,
            w.HBox([self.button, self.undo, self.again]),
            self.status,
            self.image,
        ]
        self.decode()
        for field in (self.row, self.column, self.brush):
            field.observe(lambda _: self.mark(), "value")
        self.mouse = clicks(self.image, self.click)

    def colours(self) -> list[tuple[int, str]]:
        """Codes to choose from, as far apart in colour as this picture offers."""
        found, counts = self.codes.unique(return_counts=True)
        common = found[counts.argsort(descending=True, stable=True)[:48]]
        grids = common[:, None, None].expand(-1, 3, 3)
        middle = self.vqgan.from_codes(grids).cpu().unflatten(2, (3, -1))[:, :, 1]
        middle = middle.unflatten(3, (3, -1))[:, :, :, 1]  # (N, 3, s, s), in [-1, 1]
        rgb = ((middle + 1) / 2).mean((2, 3))
        chosen = [0]
        while len(chosen) < min(self.swatches, len(common)):
            far = torch.cdist(rgb, rgb[chosen]).amin(1)
            far[chosen] = -1.0
            chosen.append(int(far.argmax()))
        colours = (255 * rgb).round().byte().numpy()
        return [(int(common[i]), f"#{colours[i].tobytes().hex()}") for i in chosen]

    def swatch(self, code: int, colour: str) -> w.Button:
        """A button in the colour of a code; pressing it chooses the code."""
        button = w.Button(tooltip=f"code {code}", layout=w.Layout(width="40px"))
        button.style.button_color = colour
        button.on_click(lambda _: setattr(self.code, "value", code))
        return button

    def click(self, x: float, y: float) -> None:
        """Paint at a place of the figure, x and y in [0, 1): either half of it."""
        h, width = self.codes.shape
        self.row.value = min(int(y * h), h - 1)
        self.column.value = min(int(2 * x % 1 * width), width - 1)
        self.act()

    def step_back(self) -> None:
        """Take back the last stroke."""
        if self.before:
            self.codes = self.before.pop()
            self.decode()
        else:
            self.status.value = "There is nothing to take back."

    def restart(self) -> None:
        self.before.append(self.codes)
        self.codes = self.first.clone()
        self.decode()

    def paint(self, row: int, column: int, code: int, brush: int = 1) -> None:
        """Set a square of ``brush`` cells to one code."""
        self.before.append(self.codes)
        self.codes = self.codes.clone()
        self.codes[row : row + brush, column : column + brush] = code

    def run(self) -> str:
        self.paint(self.row.value, self.column.value, self.code.value, self.brush.value)
        return self.decode()

    def decode(self) -> str:
        self.picture = (self.vqgan.from_codes(self.codes[None])[0] + 1) / 2
        return self.mark()

    def mark(self) -> str:
        """Draw picture, codes and the square of the brush; say what stands there."""
        at = self.row.value, self.column.value
        figure = plots.painting(self.picture, self.codes, at, self.brush.value)
        self.image.value = plots.png(figure)
        changed = int((self.codes != self.first).sum())
        there = int(self.codes[at])
        self.status.value = (
            f"row {at[0]}, column {at[1]} holds code {there}; {changed} changed"
        )
        return self.status.value


def clicks(image: w.Image, act):
    """Call act(x, y), both in [0, 1), on a click; None without ``ipyevents``."""
    try:
        from ipyevents import Event
    except ImportError:
        return None

    def handle(event: dict) -> None:
        x = event["relativeX"] / max(1, event["boundingRectWidth"])
        y = event["relativeY"] / max(1, event["boundingRectHeight"])
        act(min(max(x, 0.0), 0.999), min(max(y, 0.0), 0.999))

    mouse = Event(source=image, watched_events=["click"])
    mouse.on_dom_event(handle)
    return mouse


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
            options=["white", "noise", "gradient", "upload"],
            description="start",
            layout=half,
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
                raise ValueError("Upload a picture first, or start from white.")
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


def draw_all(runs: dict, guides: dict, vqgan=None) -> dict[str, list]:
    """Draw several settings and say meanwhile how far they are: {name: previews}.

    runs: {name: Settings}; guides: {name: ready CLIP}. The line of text is empty again
    at the end, so that a page stores no progress.
    """
    from IPython import get_ipython
    from IPython.display import display

    line = None
    if get_ipython() is not None:
        line = display({"text/plain": ""}, raw=True, display_id=True)

    def say(text: str) -> None:
        if line is not None:
            line.update({"text/plain": text}, raw=True)

    out = {}
    for n, (name, s) in enumerate(runs.items()):
        out[name] = []
        for frame in Dream(s, [guides[g] for g in s.guides], vqgan).steps():
            if frame.score is not None:
                out[name].append(frame)
                many = f"picture {n + 1} of {len(runs)}"
                say(f"{many}, {name}: step {frame.step + 1} of {s.steps}")
    say("")
    return out
