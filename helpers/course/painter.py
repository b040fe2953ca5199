"""The painter of notebook 04: a picture whose every cell is a button.

Built like panels.py: ipywidgets 7.7 and 8, no other package, no figure.
"""

import threading

import ipywidgets as w
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from ..pictures import to_image
from ..values import tensor, whole
from .panels import FAINT, Panel, blank, download, encoded, line, press, wide
from .plots.style import ORANGE

SIDE = 320  # pixels of the picture on the page


def full() -> w.Layout:
    """The layout of what fills its box."""
    return w.Layout(
        width="100%", height="100%", max_width="none", min_width="0", padding="0",
        margin="0",
    )  # fmt: skip


def over(*layers, width: int, height: int) -> w.GridBox:
    """Widgets on top of each other, the last one in front."""
    for layer in layers:
        layer.layout.grid_area = "1 / 1 / 2 / 2"
    layout = w.Layout(
        width=f"{width}px", height=f"{height}px", overflow="hidden",
        grid_template_columns="100%", grid_template_rows="100%",
    )  # fmt: skip
    return w.GridBox(list(layers), layout=layout)


def glass(act, tooltip: str, style, layout) -> w.Button:
    """A button that one sees through: what lies below it can be clicked."""
    button = w.Button(tooltip=tooltip, style=style, layout=layout)
    button.on_click(lambda _: act())
    return button


class TokenPainter(Panel):
    """Change single codes of a picture and see what the decoder makes of it.

    vqgan: a ready VQGAN; codes: (h, w), the grid to start from. A click on the picture
    sets the cells below the brush to the chosen code; row, column and Paint do so with
    the keyboard. The swatches are codes of this picture, each in the mean colour that
    it decodes to.
    """

    title = "Token painter: choose a swatch, then click the picture"
    swatches = 12

    def __init__(self, vqgan, codes: torch.Tensor):
        codes = tensor("Codes", codes)
        if codes.ndim != 2:
            raise ValueError(f"The codes are a grid (h, w), not {tuple(codes.shape)}.")
        self.vqgan, self.codes, self.first = vqgan, codes.clone(), codes.clone()
        self.strokes = threading.Lock()
        self.quiet = False  # True while the marker moves to a click
        self.before: list[torch.Tensor] = []  # one grid a stroke, for Undo
        h, width = codes.shape
        self.row, self.column, self.brush = (
            w.IntSlider(value=n, min=low, max=high, description=name, layout=wide(260))
            for name, n, low, high in (
                ("row", h // 3, 0, h - 1),
                ("column", width // 3, 0, width - 1),
                ("brush", min(2, h, width), 1, min(6, h, width)),
            )
        )
        self.brush.layout.max_width = "300px"
        self.known = self.colours()
        palette = self.spread()
        self.code = w.BoundedIntText(
            value=palette[0], min=0, max=vqgan.count - 1, description="code",
            layout=w.Layout(width="170px"),
        )  # fmt: skip
        self.tool = w.ToggleButtons(
            options=["paint", "pick up"], value="paint", style={"button_width": "84px"},
            tooltips=["a click paints", "a click takes the code that stands there"],
        )  # fmt: skip
        self.undo = press("Undo", lambda: self.step_back(), disabled=True)
        self.again = press("Reset", lambda: self.restart(), disabled=True)
        self.palette = line(*[self.swatch(code) for code in palette])
        self.palette.layout.width = "auto"
        high = round(SIDE * h / width)
        self.image = w.Image(value=blank(), format="png", layout=full())
        self.cells = over(self.image, self.grid(), width=SIDE, height=high)
        self.map = w.Image(
            value=blank(), format="png",
            layout=w.Layout(width=f"{SIDE}px", height=f"{high}px"),
        )  # fmt: skip
        self.cells.layout.margin = self.map.layout.margin = "2px 8px 2px 0"
        self.link = w.HTML()
        super().__init__([], "Paint")
        self.code.observe(lambda _: self.chosen(), "value")
        self.chosen()
        for field in (self.row, self.column, self.brush):
            field.observe(lambda _: self.mark(), "value")

    def arrange(self, rows: list) -> list:
        return [
            line(self.tool, self.brush),
            line(self.palette, self.code),
            line(self.undo, self.again, self.link),
            self.status,
            line(self.cells, self.map),
            line(self.row, self.column, self.button),
        ]

    def greet(self) -> None:
        super().act()

    # -- codes and colours --------------------------------------------------------

    def colours(self) -> dict[int, torch.Tensor]:
        """Each code of the picture in its mean colour there: {code: (3,) in [0, 1]}."""
        picture = (self.vqgan.from_codes(self.codes[None]).cpu() + 1) / 2
        cells = F.adaptive_avg_pool2d(picture.clamp(0, 1), self.codes.shape)[0]
        codes = self.codes.cpu()
        return {int(n): cells[:, codes == n].mean(1) for n in codes.unique()}

    def colour(self, code: int) -> torch.Tensor:
        """The mean colour of a code, (3,); a new one is decoded among its like."""
        if code not in self.known:
            x = self.vqgan.from_codes(torch.full((1, 3, 3), code)).cpu()[0]
            side = x.shape[-1] // 3
            x = (x[:, side : 2 * side, side : 2 * side] + 1) / 2
            self.known[code] = x.clamp(0, 1).mean((1, 2))
        return self.known[code]

    def spread(self) -> list[int]:
        """Codes to choose from, as far apart in colour as this picture offers."""
        found, counts = self.codes.cpu().unique(return_counts=True)
        common = found[counts.argsort(descending=True, stable=True)[:48]]
        rgb = torch.stack([self.colour(n) for n in common.tolist()])
        chosen = [0]
        while len(chosen) < min(self.swatches, len(common)):
            far = torch.cdist(rgb, rgb[chosen]).amin(1)
            far[chosen] = -1.0
            chosen.append(int(far.argmax()))
        return common[chosen].tolist()

    def swatch(self, code: int) -> w.Button:
        """A button in the colour of a code; pressing it chooses the code."""
        layout = w.Layout(width="32px", height="28px")
        button = w.Button(tooltip=f"code {code}", layout=layout)
        rgb = (255 * self.colour(code)).round().byte().tolist()
        button.style.button_color = f"#{bytes(rgb).hex()}"
        button.on_click(lambda _: setattr(self.code, "value", code))
        return button

    def chosen(self) -> None:
        """Frame the swatch of the chosen code."""
        for button in self.palette.children:
            here = button.tooltip == f"code {self.code.value}"
            button.layout.border = (
                f"3px solid {ORANGE}" if here else f"1px solid {FAINT}"
            )

    def grid(self) -> w.GridBox:
        """A button of glass for every cell."""
        h, width = self.codes.shape
        style = w.ButtonStyle(button_color="transparent")
        place = w.Layout(
            width="auto", height="auto", min_width="0", padding="0", margin="0"
        )
        cells = [
            glass(
                lambda r=r, c=c: self.click(r, c), f"row {r}, column {c}", style, place
            )
            for r in range(h)
            for c in range(width)
        ]
        layout = w.Layout(
            grid_template_columns=f"repeat({width}, minmax(0, 1fr))",
            grid_template_rows=f"repeat({h}, minmax(0, 1fr))",
            grid_gap="0", width="100%", height="100%", overflow="hidden",
        )  # fmt: skip
        return w.GridBox(cells, layout=layout)

    # -- what one does ------------------------------------------------------------

    def click(self, row: int, column: int) -> None:
        """A cell of the picture was clicked."""
        painting = self.tool.value == "paint"
        self.quiet = True
        self.row.value, self.column.value = row, column
        self.quiet = False
        if painting:
            return self.act()
        self.code.value = int(self.codes[row, column])
        self.tool.value = "paint"
        self.mark()

    def act(self) -> None:
        """Paint the cells below the brush: every stroke counts, however fast."""
        self.paint(self.row.value, self.column.value, self.code.value, self.brush.value)
        super().act()

    def step_back(self) -> None:
        """Take back the last stroke."""
        if not self.before:
            return self.say("There is nothing to take back.")
        with self.strokes:
            self.codes = self.before.pop()
        super().act()

    def restart(self) -> None:
        """Back to the first grid; Undo takes that back, too."""
        with self.strokes:
            self.before.append(self.codes)
            self.codes = self.first.clone()
        super().act()

    def paint(self, row: int, column: int, code: int, brush: int = 1) -> None:
        """Set a square of ``brush`` cells to one code; ValueError for one outside."""
        h, width = self.codes.shape
        row, column = whole("row", row, 0, h - 1), whole("column", column, 0, width - 1)
        code = whole("code", code, 0, self.vqgan.count - 1)
        brush = whole("brush", brush, 1, max(h, width))
        with self.strokes:
            codes = self.codes.clone()
            codes[row : row + brush, column : column + brush] = code
            self.before.append(self.codes)
            self.codes = codes

    def run(self) -> str:
        return self.decode()

    def decode(self) -> str:
        """Let the decoder paint the codes; show the picture."""
        x = self.vqgan.from_codes(self.codes[None])[0]
        self.picture = (x + 1) / 2
        self.link.value = download("painting.png", encoded(self.picture.clamp(0, 1)))
        self.undo.disabled = not self.before
        self.again.disabled = bool((self.codes == self.first).all())
        return self.mark()

    def mark(self) -> str:
        """Frame the cells below the brush in both pictures; say what stands there."""
        if self.quiet:
            return self.status.value
        at, brush = (self.row.value, self.column.value), self.brush.value
        codes = self.codes.cpu()
        colours = [self.colour(n) for n in codes.flatten().tolist()]
        colours = torch.stack(colours, 1).unflatten(1, codes.shape)  # (3, h, w)
        self.image.value = self.framed(self.picture, at, brush, Image.BICUBIC)
        self.map.value = self.framed(colours, at, brush, Image.NEAREST)
        changed = int((codes != self.first.cpu()).sum())
        there = int(codes[at])
        self.say(f"row {at[0]}, column {at[1]} holds code {there}; {changed} changed")
        return self.status.value

    def framed(self, picture, at: tuple, brush: int, smooth) -> bytes:
        """A picture in the size of the page with the square of the brush framed."""
        h, width = self.codes.shape
        size = (2 * SIDE, round(2 * SIDE * h / width))
        image = to_image(picture).resize(size, smooth)
        cell = 2 * SIDE / width
        top, left = at
        low, right = min(top + brush, h), min(left + brush, width)
        box = [round(n * cell) for n in (left, top, right, low)]
        box[2], box[3] = box[2] - 1, box[3] - 1
        draw = ImageDraw.Draw(image)
        draw.rectangle(box, outline="white", width=7)  # seen on any picture
        draw.rectangle(
            [n + d for n, d in zip(box, (2, 2, -2, -2), strict=True)],
            outline=ORANGE,
            width=4,
        )
        return encoded(image)
