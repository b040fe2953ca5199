"""Panels that make pictures: the studio, and helpers that draw many at once.

Built like panels.py: acting on a click, ipywidgets 7.7 and 8.
"""

import io
import itertools
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import ipywidgets as w
from PIL import Image

from .. import paths
from ..dream import Dream, Settings, files
from ..dream.cutouts import RECIPES
from ..dream.guides import ready_guides
from ..dream.packed import text_of
from ..dream.settings import STARTS
from ..pictures import read_picture, to_image
from ..values import members, short
from . import plots
from .lines import sentence, typed
from .painter import TokenPainter, full, glass, over
from .panels import (
    FAINT,
    Panel,
    Upload,
    download,
    encoded,
    line,
    picture_box,
    portable,
    press,
    wide,
)

__all__ = ["Studio", "TokenPainter", "contact_sheet", "draw_all"]


EXAMPLE = paths.DATA / "readme" / "sunflower.png"


@dataclass
class Drawing:
    """A finished picture: a PNG with its settings, a file name, and its status."""

    png: bytes
    name: str
    text: str
    sharp: bool = False  # squares stay squares when enlarged


def clock(seconds: float) -> str:
    """A time as people say it: 40 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class Studio(Panel):
    """Words in, a growing picture out: prompt, size, canvases, drawer, losses ...

    guides: ready CLIPs; vqgan: a ready VQGAN. Stop ends a run after the step that is
    being made and keeps the best picture; Save writes it with its settings beside the
    notebook, under a name that is still free; the link downloads it to where the
    browser is. The last pictures of the kernel stay, also for a studio that is opened
    later; opening one stops a run of another.
    """

    title = "Studio: type a prompt, press Draw and watch"
    past: list[Drawing] = []  # of all studios of this kernel, the newest last
    latest = None  # the studio that was opened last
    most = 6  # pictures to go back to

    def __init__(self, guides, vqgan=None, prompt="a sunflower", threaded=True):
        self.guides, self.vqgan, self.threaded = guides, vqgan, threaded
        self.dream, self.drawing, self.worker, self.halt = None, None, None, False
        self.door = threading.Lock()  # one run comes in at a time
        self.prompt = w.Text(
            value=typed(prompt), placeholder="a red fox | snow:0.5 | blurry:-0.3",
            layout=wide(260),
        )  # fmt: skip
        self.seed = w.IntText(value=0, description="seed", layout=wide(200))
        self.steps = w.IntSlider(
            value=Settings().steps,
            min=10,
            max=400,
            step=10,
            description="steps",
            layout=wide(200),
        )
        sizes = ["128 x 128", "192 x 128", "128 x 192", "192 x 192", "256 x 256"]
        self.size = self.menu("size", sizes)
        drawn = ["vqgan", "codes", "pixel", "fourier", "lines"]
        self.drawer = self.menu("drawer", drawn)
        self.recipe = self.menu("cutouts", list(RECIPES))
        self.cuts = w.IntSlider(
            value=8, min=1, max=32, description="cuts", layout=wide(200)
        )
        self.begin = self.menu("start", [*STARTS, "upload"])
        ways = [("coarse to fine", "coarse"), ("one alone", "off")]
        self.canvases = self.menu("canvases", ways)
        self.own = Upload(self.heard)
        self.upload = self.own.field
        self.palette = w.Text(
            placeholder="navy, gold, #fff0e0", description="palette", layout=wide(200)
        )
        tick = w.Layout(width="auto", margin="0 14px 0 0")
        self.symmetry, self.tile = (
            w.Checkbox(value=False, description=name, indent=False, layout=tick)
            for name in ("symmetry", "tile")
        )
        self.stop = press("Stop", self.end, disabled=True)
        self.keep = press("Save", self.save, disabled=True)
        self.bar = w.IntProgress(
            value=0, min=0, max=100, layout=w.Layout(width="auto", max_width="386px")
        )
        self.image = picture_box(384, 384)
        self.image.layout.border = f"1px solid {FAINT}"
        self.bar.layout.visibility = "hidden"  # outside a run
        self.link, self.shelf = w.HTML(), line()
        super().__init__([], "Draw")

    def menu(self, name: str, options: list) -> w.Dropdown:
        return w.Dropdown(options=options, description=name, layout=wide(200))

    def arrange(self, rows: list) -> list:
        easel = w.VBox(
            [self.image, self.bar, line(self.keep, self.link), self.shelf],
            layout=w.Layout(flex="0 1 392px", overflow="visible"),
        )
        fields = [
            self.seed, self.steps, self.size, self.drawer, self.recipe, self.cuts,
            self.begin, line(self.own), self.canvases, self.palette,
            line(self.symmetry, self.tile),
        ]  # fmt: skip
        side = w.VBox(
            fields, layout=w.Layout(flex="1 1 280px", max_width="420px", width="auto")
        )
        for field in fields:
            field.layout.flex = "0 0 auto"
        below = line(easel, side)
        below.layout.align_items = "flex-start"
        return [line(self.prompt, self.button, self.stop), self.status, below]

    def greet(self) -> None:
        """Show the last picture of the kernel or one of the course; end other runs."""
        last = Studio.latest and Studio.latest()
        if last is not None and last.halt is False:
            last.end()
        Studio.latest = weakref.ref(self)
        self.fill()
        if Studio.past:
            return self.look(Studio.past[-1])
        try:
            s = files.settings_of(EXAMPLE)
            said = f'drawn earlier: "{s.prompt}", seed {s.seed}, {s.steps} steps'
            said = f"{said}. Press Draw for your own words."
            self.look(Drawing(EXAMPLE.read_bytes(), EXAMPLE.name, said))
        except (OSError, ValueError):  # no such file, or one of another version
            self.say("Type what you want to see, then press Draw.")

    # -- fields -------------------------------------------------------------------

    def heard(self, problem: str) -> None:
        """An upload came or went: it is the start, or it no longer can be."""
        if problem:
            self.say(problem)
        elif self.own.picture:
            self.begin.value = "upload"
        elif self.begin.value == "upload":
            self.begin.value = "usual"

    def beginning(self) -> str:
        """Where to start, as the settings want it; an upload goes into them."""
        if self.begin.value != "upload":
            return self.begin.value
        if self.own.picture is None:
            raise ValueError("Upload a picture first, or start from white.")
        return text_of(read_picture(self.own.picture, 1024))

    def settings(self) -> Settings:
        """The settings that the panel shows. Raises ValueError for what makes none."""
        width, height = (int(n) for n in self.size.value.split(" x "))
        if not 0 <= self.seed.value < 2**63:
            raise ValueError(
                f"The seed is a whole number from 0 to 2^63 - 1, not {self.seed.value}."
            )
        wanted = {"symmetry": 1.0} if self.symmetry.value else {}
        if self.palette.value.strip():
            wanted["palette"] = (2.0, self.palette.value.strip())
        return Settings(
            prompt=self.prompt.value,
            seed=self.seed.value,
            steps=self.steps.value,
            width=width,
            height=height,
            drawer=self.drawer.value,
            recipe=self.recipe.value,
            cuts=self.cuts.value,
            start=self.beginning(),
            canvases=self.canvases.value,
            losses=wanted,
            tile=self.tile.value,
        )

    # -- a run --------------------------------------------------------------------

    def act(self) -> None:
        """Start in the background, so that Stop can be pressed; a second is refused."""
        if not self.threaded:
            self.halt = False
            return None if self.busy.locked() else super().act()
        with self.door:
            if self.worker is None or not self.worker.is_alive():
                self.halt, self.button.disabled = False, True
                self.worker = threading.Thread(target=super().act, daemon=True)
                self.worker.start()

    def end(self) -> None:
        """Stop was pressed."""
        self.halt = True
        if self.busy.locked():
            self.say("stopping after this step …")

    def run(self) -> str:
        self.stop.disabled, self.keep.disabled = False, True
        self.bar.layout.visibility = "visible"
        began, self.bar.value = time.time(), 0
        dream = self.dream = None
        try:
            dream = self.dream = Dream(
                self.settings(), self.guides, self.vqgan, peek=self.peek
            )
            if not self.halt:
                self.draw(dream, time.time())
        except Exception as error:
            if dream is None or dream.best is None:
                raise
            dream.notes.append(f"{sentence(error)} The best picture is kept.")
        finally:
            self.stop.disabled, self.keep.disabled = True, self.drawing is None
            self.bar.layout.visibility = "hidden"
        best = dream.best
        if best is None:
            return "Stopped before the first step."
        text = f"best: step {best.step + 1}, score {best.score:.2f}"
        name = f"{portable(dream.settings.prompt)}-{dream.settings.seed}.png"
        sharp = dream.settings.drawer == "pixel"
        drawing = Drawing(
            self.packed(best), name, f"{text}, {dream.settings.prompt}", sharp
        )
        Studio.past = [*Studio.past, drawing][-self.most :]
        newest = Studio.latest() or self
        newest.fill()
        self.look(drawing)
        said = " ".join(dream.notes)
        return f"{text}, {clock(time.time() - began)}. {said}".strip()

    def draw(self, dream: Dream, began: float) -> None:
        """Step after step, with a preview, the score and the time that is left."""
        steps, score = dream.settings.steps, None
        for frame in dream.steps():
            done = frame.step + 1
            self.bar.value = round(100 * done / steps)
            score = frame.score if frame.score is not None else score
            left = clock(left_over(dream.plan, done, time.time() - began))
            if frame.score is not None:
                self.show(frame)
            if self.halt:
                break
            known = "" if score is None else f", score {score:.2f}"
            self.say(f"step {done} of {steps}{known}, about {left} left")

    def packed(self, frame) -> bytes:
        """The picture of a frame as a PNG that carries its settings."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.png"
            return files.save(path, frame, self.dream.settings).read_bytes()

    # -- pictures -----------------------------------------------------------------

    def peek(self, picture) -> None:
        """A sketch, while DALL-E 2 still draws."""
        self.image.value = enlarged(to_image(picture))
        self.say("a first sketch by DALL-E 2 …")

    def show(self, frame) -> None:
        """A preview."""
        sharp = self.dream.settings.drawer == "pixel"
        self.image.value = enlarged(to_image(frame.picture), sharp)

    def look(self, drawing: Drawing) -> None:
        """Show a finished picture, which Save and the link then mean."""
        if self.busy.locked() and threading.current_thread() is not self.worker:
            if self.threaded:
                return  # a run shows its previews here
        self.drawing = drawing
        self.image.value = enlarged(Image.open(io.BytesIO(drawing.png)), drawing.sharp)
        self.link.value = download(drawing.name, drawing.png)
        self.keep.disabled = False
        self.say(drawing.text)

    def fill(self) -> None:
        """Lay out the last pictures of this kernel; a click shows one again."""
        style, rows = w.ButtonStyle(button_color="transparent"), []
        for drawing in reversed(Studio.past):
            image = w.Image(value=drawing.png, format="png", layout=full())
            go = glass(lambda d=drawing: self.look(d), drawing.text, style, full())
            rows.append(over(image, go, width=56, height=56))
        for row in rows:
            row.layout.margin, row.layout.border = "2px", f"1px solid {FAINT}"
        self.shelf.children = tuple(rows)

    def save(self) -> None:
        """Write the shown picture beside the notebook, under a name that is free."""
        drawing = self.drawing
        stem = drawing.name.removesuffix(".png")
        try:
            for n in itertools.count(1):
                path = Path.cwd() / (f"{stem}-{n}.png" if n > 1 else f"{stem}.png")
                try:
                    with open(path, "xb") as file:
                        file.write(drawing.png)
                    break
                except FileExistsError:
                    continue
            self.say(f"saved as {path.name}, with its settings inside")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "a name it cannot hold"
            self.say(
                f"The folder {Path.cwd()} takes no file ({reason}): use the link "
                f"Download {drawing.name}."
            )


def enlarged(image: Image.Image, sharp: bool = False) -> bytes:
    """A picture as large as the easel, as PNG; ``sharp``: squares stay squares."""
    factor = max(1, 384 // max(image.size))
    kind = Image.NEAREST if sharp or factor == 1 else Image.BICUBIC
    return encoded(image.convert("RGB").resize([n * factor for n in image.size], kind))


def left_over(plan, done: int, seconds: float) -> float:
    """Seconds to go after ``done`` steps; a step costs as the pixels of its canvas.

    Half of it at least: the guides look at as many views on every canvas.
    """
    full = plan[-1].width * plan[-1].height
    costs = [
        0.5 + 0.5 * canvas.width * canvas.height / full
        for canvas in plan
        for _ in range(canvas.steps)
    ]
    return seconds * sum(costs[done:]) / sum(costs[:done])


def contact_sheet(settings: Settings, seeds, guides=None, vqgan=None, progress=True):
    """Run several seeds: (frames, a figure of all pictures with seed and score)."""
    seeds, guides, frames = members(seeds), ready_guides(guides), []
    if not seeds:
        raise ValueError("A contact sheet needs at least one seed, in a list.")
    if not isinstance(settings, Settings):
        raise ValueError(f"A contact sheet needs Settings, not {short(settings)}.")
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
