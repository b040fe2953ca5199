"""Panels: they build silently, act on a click, and write to fixed-size pictures.

Only what ipywidgets 7.7 and 8 share is used, so they work in Colab as in JupyterLab.
"""

import io
from pathlib import Path

import ipywidgets as w
import torch
from PIL import Image

from ..clip import zeroshot
from ..pictures import read_picture
from ..search import rank
from . import plots


class Panel(w.VBox):
    """A box with a status line; a subclass fills ``rows`` and defines ``run``.

    The button, and Enter in any text field, start ``run()``, which returns the new
    status text. Errors end in the status line, never in a traceback, and the button is
    locked while it runs.
    """

    title = "panel"

    def __init__(self, rows: list, button: str):
        self.button = w.Button(description=button, button_style="primary")
        self.status = w.Label("ready", layout=w.Layout(width="640px"))
        self.button.on_click(lambda _: self.act())
        for field in [f for row in rows for f in getattr(row, "children", (row,))]:
            if isinstance(field, w.Text):
                field.on_msg(self.enter)
        super().__init__([*rows, w.HBox([self.button, self.status])])

    def enter(self, field, content: dict, buffers) -> None:
        """The front end says that Enter was pressed in a text field."""
        if content.get("event") == "submit":
            self.act()

    def act(self) -> None:
        self.button.disabled = True
        self.status.value = "working ..."
        try:
            self.status.value = self.run()
        except torch.cuda.OutOfMemoryError:
            self.status.value = "The GPU is out of memory: choose fewer pictures."
        except Exception as error:
            self.status.value = str(error).splitlines()[0][:160]
        finally:
            self.button.disabled = False

    def run(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.title} (run this cell to use it)"

    def _repr_mimebundle_(self, *args, **kwargs):
        try:
            bundle = super()._repr_mimebundle_(*args, **kwargs)
        except AttributeError:  # ipywidgets 7 displays by itself
            return None
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict) and "text/plain" in data:
            data["text/plain"] = repr(self)
        return bundle


def picture_box(width: int, height: int, value: bytes = b"") -> w.Image:
    """An image widget of fixed size (without one the picture fills the page).

    Without a picture it is white: browsers mark an empty one as broken.
    """
    if not value:
        blank = io.BytesIO()
        Image.new("RGB", (width, height), "white").save(blank, "PNG")
        value = blank.getvalue()
    layout = w.Layout(width=f"{width}px", height=f"{height}px", object_fit="contain")
    return w.Image(value=value, format="png", layout=layout)


class SearchPanel(Panel):
    """Type a caption, see the pictures that fit best.

    model: a ready CLIP; pictures: (N, 3, H, W) uint8; vectors: (N, D), their
    embeddings; names: N titles.
    """

    title = "Search panel: type a caption, English or Persian, and press Search"

    def __init__(self, model, pictures, vectors, names, query: str = "a red apple"):
        self.model, self.pictures = model, pictures
        self.vectors, self.names = vectors, names
        self.query = w.Text(
            value=query,
            placeholder="a caption, English or Persian",
            layout=w.Layout(width="460px"),
        )
        self.count = w.IntSlider(
            value=12, min=6, max=24, step=6, description="pictures"
        )
        self.image = picture_box(830, 340)
        super().__init__([w.HBox([self.query, self.count]), self.image], "Search")

    def run(self) -> str:
        text = self.query.value.strip()
        if not text:
            return "Type a caption first."
        best, scores = rank(self.model, self.vectors, text, self.count.value)
        titles = [
            f"{self.names[i]}\n{s:.2f}" for i, s in zip(best, scores, strict=True)
        ]
        columns = 6 if len(best) <= 12 else 8
        figure = plots.grid([self.pictures[i] for i in best], titles, columns, 1.25)
        self.image.value = plots.png(figure)
        return f"best of {len(self.names):,}: {self.names[best[0]]} ({scores[0]:.2f})"


class ClassifyPanel(Panel):
    """Pick or upload a picture, edit classes and template, see the bars move.

    model: a ready CLIP; pictures: {name: path}; classes: names with commas between.
    """

    title = "Zero-shot panel: edit the classes and the template, press Classify"

    def __init__(self, model, pictures: dict, classes: str, template: str):
        self.model, self.pictures = model, pictures
        wide = w.Layout(width="460px")
        self.picture = w.Dropdown(options=list(pictures), description="picture")
        self.upload = w.FileUpload(accept="image/*", multiple=False)
        self.classes = w.Text(value=classes, description="classes", layout=wide)
        self.template = w.Text(value=template, description="template", layout=wide)
        self.image = picture_box(700, 253)
        rows = [w.HBox([self.picture, self.upload]), self.classes, self.template]
        super().__init__([*rows, self.image], "Classify")

    def run(self) -> str:
        names = zeroshot.check_classes(self.classes.value)
        raw = uploaded(self.upload.value)
        picture = raw or self.pictures[self.picture.value]
        weights = zeroshot.classifier(self.model, names, self.template.value)
        image = self.model.embed_images([picture])
        probabilities = self.model.probabilities(image, weights)[0].tolist()
        table = dict(zip(names, probabilities, strict=True))
        shown = dict(sorted(table.items(), key=lambda row: -row[1])[:10])
        seen = read_picture(picture, 400)
        self.image.value = plots.png(plots.beside(seen, shown, self.template.value))
        best = max(table, key=table.get)
        return f"{best}: {100 * table[best]:.0f} %"


def uploaded(value) -> bytes | None:
    """The bytes of an upload widget; ipywidgets 7 gives a dict, 8 a tuple."""
    rows = list(value.values()) if isinstance(value, dict) else list(value)
    return bytes(rows[-1]["content"]) if rows else None


class IndexPanel(Panel):
    """Search an ImageIndex by words, a picture, words to avoid; see a gallery.

    index: the ImageIndex; show: place -> picture to display.
    """

    title = "Gallery panel: words, a picture, or both; press Search"

    def __init__(self, index, show, query: str = "a boat on the water"):
        self.index, self.show = index, show
        wide = w.Layout(width="380px")
        self.query = w.Text(value=query, description="words", layout=wide)
        self.minus = w.Text(value="", description="but not", layout=wide)
        self.upload = w.FileUpload(accept="image/*", multiple=False)
        self.weight = w.FloatSlider(
            value=0.5, min=0, max=1, step=0.1, description="picture"
        )
        self.distinct = w.Checkbox(value=True, description="hide near-duplicates")
        self.image = picture_box(830, 340)
        rows = [
            w.HBox([self.query, self.minus]),
            w.HBox([self.upload, self.weight, self.distinct]),
        ]
        super().__init__([*rows, self.image], "Search")

    def run(self) -> str:
        picture = uploaded(self.upload.value)
        words = self.query.value.strip() or None
        hits = self.index.search(
            words, 12, picture, self.minus.value, self.weight.value, self.distinct.value
        )
        titles = [f"{Path(h.name).stem}\n{h.score:.2f}" for h in hits]
        seen = [self.show(h.place) for h in hits]
        self.image.value = plots.png(plots.grid(seen, titles, 6, 1.25))
        return f"best of {len(self.index):,}: {titles[0]}".replace("\n", " ")


class LivePicture(w.Image):
    """A picture that a training loop may repaint: set ``value`` to PNG bytes."""

    def __init__(self, width: int, height: int):
        layout = w.Layout(width=f"{width}px", height=f"{height}px")
        super().__init__(format="png", layout=layout)

    def __repr__(self) -> str:
        return "a live picture (run this cell to watch it grow)"
