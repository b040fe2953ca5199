"""The panel of notebook 08: a caption becomes vectors, and these become pictures."""

import ipywidgets as w
import torch

from ..dalle.unclip import Painter, between
from ..words import fold
from . import plots
from .lines import typed
from .panels import Panel, download, line, picture_box, portable

WIDE = w.Layout(width="460px", max_width="100%")
SLIDER = w.Layout(width="300px", flex="0 0 auto")  # never squeezed
COUNT = 8


class UnclipPanel(Panel):
    """Type a caption, see what DALL-E 2 draws; with a second one, the way to it.

    painter: a loaded DALL-E 2; caption: what stands there first.
    """

    title = "Drawing panel: type a caption, English or Persian, and press Draw"

    def __init__(self, painter: Painter, caption: str = "a red apple"):
        self.painter = painter
        self.caption = w.Text(value=typed(caption), description="caption", layout=WIDE)
        self.towards = w.Text(
            placeholder="a second caption, or nothing", description="towards",
            layout=WIDE,
        )  # fmt: skip
        self.guidance = w.FloatSlider(
            value=3, min=0, max=6, step=0.5, description="guidance", layout=SLIDER
        )
        self.steps = w.IntSlider(
            value=20, min=2, max=40, description="steps", layout=SLIDER
        )
        self.seed = w.IntText(value=0, description="seed")
        self.image = picture_box(830, 150)
        rows = [
            line(self.caption),
            line(self.towards, self.seed),
            line(self.guidance, self.steps),
        ]
        self.link = w.HTML()
        rows.append(w.VBox([self.image, self.link]))
        super().__init__(rows, "Draw")

    def run(self) -> str:
        first, last = (fold(t.value, False) for t in (self.caption, self.towards))
        if not first:
            return "Type a caption first."
        seed, painter = self.seed.value, self.painter
        if last:
            ends = painter.imagine([first, last], seed)
            shares = torch.linspace(0, 1, COUNT)
            seen = between(ends[:1], ends[1:], shares.to(ends))
            start = painter.noise(seed, 1, *painter.places).expand(COUNT, -1, -1, -1)
            titles = [f"{100 * s:.0f} %" for s in shares.tolist()]
            said = f'From "{first}" to "{last}", the same noise each time'
        else:
            seen, start, titles = painter.imagine([first] * COUNT, seed), None, None
            said = f'"{first}": {COUNT} drawings, none left out'
        latents = painter.decode(
            seen, seed, self.guidance.value, self.steps.value, start
        )
        pictures = (painter.paint(latents) * 255).round().to(torch.uint8)
        self.image.value = sheet = plots.png(
            plots.grid(list(pictures.cpu()), titles, 8, 1.0)
        )
        name = portable(f"{first} to {last}" if last else first)
        self.link.value = download(f"{name}-{seed}.png", sheet)
        return said
