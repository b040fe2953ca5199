"""The panel of notebook 07: a caption becomes drawings, the best of them first."""

import ipywidgets as w
import torch

from ..dalle.dalle1 import Dalle1
from ..words import fold
from . import plots
from .lines import typed
from .panels import Panel, download, line, picture_box, portable

WIDE = w.Layout(width="460px", max_width="100%")
SLIDER = w.Layout(width="300px", flex="0 0 auto")  # never squeezed


class DrawPanel(Panel):
    """Type a caption, see what DALL-E 1 draws, ordered by a CLIP.

    dalle: a loaded DALL-E 1; eyes: a loaded CLIP; caption: what stands there first.
    """

    title = "Drawing panel: type a caption, English or Persian, and press Draw"

    def __init__(self, dalle: Dalle1, eyes, caption: str = "a red apple"):
        self.dalle, self.eyes = dalle, eyes
        self.caption = w.Text(value=typed(caption), description="caption", layout=WIDE)
        self.style = w.Dropdown(
            options=["any style", *dalle.styles], description="style"
        )
        self.count = w.IntSlider(
            value=16, min=8, max=32, step=8, description="draw", layout=SLIDER
        )
        self.guidance = w.FloatSlider(
            value=5, min=0, max=10, step=0.5, description="guidance", layout=SLIDER
        )
        self.heat = w.FloatSlider(
            value=0.7,
            min=0,
            max=1.5,
            step=0.1,
            description="temperature",
            style={"description_width": "initial"},
            layout=SLIDER,
        )
        self.seed = w.IntText(value=0, description="seed")
        self.image = picture_box(830, 250)
        rows = [
            line(self.caption, self.style),
            line(self.count, self.guidance),
            line(self.heat, self.seed),
        ]
        self.link = w.HTML()
        rows.append(w.VBox([self.image, self.link]))
        super().__init__(rows, "Draw")

    def run(self) -> str:
        caption = fold(self.caption.value, persian=False)
        if not caption:
            return "Type a caption first."
        if self.style.value != "any style":
            caption = f"{self.style.value} of {caption}"
        pictures, cosine = self.dalle.best_of(
            caption, self.count.value, self.eyes, self.seed.value,
            guidance=self.guidance.value, temperature=self.heat.value,
        )  # fmt: skip
        titles = [f"{v:.2f}" for v in cosine[:16].tolist()]
        shown = list((pictures[:16] * 255).round().to(torch.uint8).cpu())
        self.image.value = sheet = plots.png(plots.grid(shown, titles, 8, 1.0))
        self.link.value = download(f"{portable(caption)}-{self.seed.value}.png", sheet)
        return f'"{caption}": the best {len(shown)} of {len(pictures)}, best first'
