"""Panels: they build silently, act on a click, and write to fixed-size pictures.

Only what ipywidgets 7.7 and 8 share is used, so they work in Colab as in JupyterLab.
"""

import ipywidgets as w
import torch

from . import plots


class Panel(w.VBox):
    """A box with a status line; a subclass fills ``rows`` and defines ``run``.

    ``run()`` returns the new status text. Errors end in the status line, never in a
    traceback, and the button is locked while it runs.
    """

    title = "panel"

    def __init__(self, rows: list, button: str):
        self.button = w.Button(description=button, button_style="primary")
        self.status = w.Label("ready", layout=w.Layout(width="640px"))
        self.button.on_click(lambda _: self.act())
        super().__init__([*rows, w.HBox([self.button, self.status])])

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
    """An image widget of fixed size (without one the picture fills the page)."""
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
        self.query.on_submit(lambda _: self.act()) if hasattr(
            self.query, "on_submit"
        ) else None
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


def rank(model, vectors, text: str, count: int) -> tuple[list[int], list[float]]:
    """Indices and cosines of the ``count`` pictures that fit a text best."""
    scores = vectors @ model.embed_texts([text])[0]
    best = scores.topk(min(count, len(scores)))
    return best.indices.tolist(), best.values.tolist()


class LivePicture(w.Image):
    """A picture that a training loop may repaint: set ``value`` to PNG bytes."""

    def __init__(self, width: int, height: int):
        layout = w.Layout(width=f"{width}px", height=f"{height}px")
        super().__init__(format="png", layout=layout)

    def __repr__(self) -> str:
        return "a live picture (run this cell to watch it grow)"
