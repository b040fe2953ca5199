"""Panels: each opens with a result, acts on a click or Enter, and shows no traceback.

Only what ipywidgets 7.7 and 8 share is used, so they work in Colab as in JupyterLab.
Results are HTML in the colours of the page and no figures: words wrap at any width,
right-to-left titles come out right, and a panel that acts while a cell runs cannot put
its figure into that cell.
"""

import base64
import html
import io
import re
import threading

import ipywidgets as w
import torch
from PIL import Image

from ..clip import zeroshot
from ..pictures import array, read_picture
from ..search import DOUBT, fits, rank
from ..values import members, ready, short
from ..words import fold
from .lines import brief, sendable, sentence, typed
from .plots.style import BLUE

SMALL = "font-size:12px;line-height:1.35;overflow-wrap:anywhere"
MOST = 600  # letters of a status
LONG = 80  # letters of a class or a file name that are shown
FAINT = "rgba(128,128,128,.35)"  # a line that shows on white and on black


# -- pieces -----------------------------------------------------------------------


def line(*children) -> w.HBox:
    """Widgets side by side, as many as the page has room for, the rest below."""
    layout = w.Layout(
        flex_flow="row wrap", align_items="center", width="100%", overflow="visible"
    )
    return w.HBox(list(children), layout=layout)


def wide(least: int = 220, share: int = 1) -> w.Layout:
    """The layout of a field that takes its share of a line, ``least`` px or more."""
    return w.Layout(
        width="auto", flex=f"{share} 1 {least}px", min_width=f"min({least}px, 95%)"
    )


def press(name: str, act, **more) -> w.Button:
    """A button that is as wide as its name and calls ``act()``."""
    layout = w.Layout(width="auto", min_width="72px")
    button = w.Button(description=name, layout=layout, **more)
    button.on_click(lambda _: act())
    return button


def texts(box) -> list[w.Text]:
    """All text fields in a box, however deep."""
    if isinstance(box, w.Text):
        return [box]
    return [t for child in getattr(box, "children", ()) for t in texts(child)]


def encoded(picture, kind: str = "PNG", **more) -> bytes:
    """A tensor (3, H, W) or a PIL picture as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray(array(picture)).save(out, kind, **more)
    return out.getvalue()


def address(raw: bytes, kind: str = "png") -> str:
    """The bytes of a picture as a data URL, which needs no server and no file."""
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


def tag(picture, words: str, style: str = "width:100%") -> str:
    """A picture, tensor or PIL, as an <img> that says what it shows."""
    raw = encoded(picture, "JPEG", quality=90, subsampling=0)
    words = html.escape(words)
    return f'<img src="{address(raw, "jpeg")}" alt="{words}" style="{style}">'


def portable(words: str) -> str:
    """Words as the beginning of a file name, without an ending."""
    name = "".join(
        c for c in "-".join(words.lower().split()) if c.isalnum() or c == "-"
    )
    return name[:40].strip("-") or "picture"


def download(name: str, raw: bytes, kind: str = "png") -> str:
    """A link that saves a picture where the browser is, wherever the kernel runs."""
    name = html.escape(name)
    link = f'href="{address(raw, kind)}" download="{name}"'
    return (
        f'<a {link} style="text-decoration:underline;color:inherit">Download {name}</a>'
    )


def gallery(pictures, titles: list[str], notes: list[str]) -> str:
    """Pictures in rows, each with its title and a note below."""
    cells = []
    for picture, title, note in zip(pictures, titles, notes, strict=True):
        frame = f"width:100%;border:1px solid {FAINT};border-radius:3px"
        cells.append(
            '<figure style="margin:0">'
            f"{tag(picture, title, frame)}"
            f'<figcaption style="{SMALL}"><span dir="auto">{html.escape(title)}</span>'
            f'<br><span style="opacity:.7">{html.escape(note)}</span>'
            "</figcaption></figure>"
        )
    return (
        '<div style="display:grid;gap:10px;padding:4px 0;'
        'grid-template-columns:repeat(auto-fill,minmax(130px,1fr))">'
        f"{''.join(cells)}</div>"
    )


def chart(picture, words: str, table: list[tuple[str, float]]) -> str:
    """A picture beside the probability of each class, (name, share of 1) each."""
    rows = [
        f'<div dir="auto" style="text-align:right">{html.escape(name)}</div>'
        f'<div style="background:{FAINT};border-radius:2px;height:14px">'
        f'<div style="background:{BLUE};border-radius:2px;height:14px;'
        f'width:{100 * share:.1f}%"></div></div>'
        f"<div>{100 * share:.0f} %</div>"
        for name, share in table
    ]
    size = "max-width:240px;max-height:240px;border-radius:3px"
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:16px;padding:4px 0;'
        f'align-items:flex-start">{tag(picture, words, size)}'
        '<div style="flex:1 1 300px;display:grid;gap:5px 8px;align-items:center;'
        "grid-template-columns:minmax(60px,max-content) 1fr 44px;"
        f'{SMALL}">{"".join(rows)}</div></div>'
    )


def blank() -> bytes:
    """A PNG that one does not see on any ground (browsers mark an empty one broken)."""
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), (128, 128, 128, 24)).save(out, "PNG")
    return out.getvalue()


def picture_box(width: int, height: int, value: bytes = b"") -> w.Image:
    """An image widget of a fixed shape, at most as wide as the page has room for."""
    layout = w.Layout(
        width=f"{width}px", max_width="100%", height=f"{height}px", object_fit="contain"
    )
    return w.Image(value=value or blank(), format="png", layout=layout)


class Panel(w.VBox):
    """A button beside its field, a line that says what happened, and a result.

    A subclass makes its widgets and defines ``run()``, which shows a result and returns
    the new status. The button, and Enter in any text field, start it; so does opening
    the panel. One run at a time, also where the kernel hears each widget in a thread of
    its own: what is pressed meanwhile counts when the run has ended. Errors end in the
    status as one sentence.
    """

    title = "panel"

    def __init__(self, rows: list, button: str):
        self.busy, self.asked = threading.Lock(), False
        self.button = press(button, lambda: self.act(), button_style="primary")
        self.status = w.HTML("", layout=w.Layout(width="100%", min_height="28px"))
        layout = w.Layout(max_width="860px", overflow="visible")
        super().__init__(self.arrange(rows), layout=layout)
        for field in texts(self):
            field.on_msg(self.enter)
        self.greet()

    def arrange(self, rows: list) -> list:
        """The button beside the first field, the status above the result."""
        first, *rest = rows or [line()]
        beside = first.children if isinstance(first, w.HBox) else [first]
        return [line(*beside, self.button), *rest[:-1], self.status, *rest[-1:]]

    def greet(self) -> None:
        """Show what a visitor sees first: the result of the fields as they are."""
        self.act()

    def say(self, text: str) -> None:
        """Write the status: plain text, never read as HTML or as a formula."""
        self.status.value = html.escape(brief(text, MOST), quote=False)

    def enter(self, field, content: dict, buffers) -> None:
        """The front end says that Enter was pressed in a text field."""
        if content.get("event") == "submit":
            self.act()

    def act(self) -> None:
        """Run now; or, if a run is going on, once more when it has ended."""
        self.asked = True
        while self.asked and self.busy.acquire(blocking=False):
            try:
                self.asked = False
                self.once()
            finally:
                self.busy.release()

    def once(self) -> None:
        """One run: the button is locked, the status says what comes of it."""
        try:
            self.button.disabled = True
            self.say("working …")
            self.say(self.run())
        except torch.cuda.OutOfMemoryError:
            self.say("The GPU is out of memory: choose fewer or smaller pictures.")
        except KeyboardInterrupt:
            self.say("Stopped.")
        except Exception as error:
            self.say(sentence(error))
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


def uploaded(value) -> bytes | None:
    """The bytes of an upload widget; ipywidgets 7 gives a dict, 8 a tuple."""
    rows = list(value.values()) if isinstance(value, dict) else list(value)
    return bytes(rows[-1]["content"]) if rows else None


class Upload(w.HBox):
    """A picture of your own: a button, the name of the file, and Clear.

    ``picture``: the bytes of a file that can be read, or None. A file that cannot is
    let go at once. ``heard(problem)`` is called after each change; ``problem`` is a
    sentence, or "" if there is none.
    """

    def __init__(self, heard):
        self.heard, self.picture, self.name, self.quiet = heard, None, "", False
        self.field = w.FileUpload(
            accept="image/*", multiple=False, description="Upload",
            layout=w.Layout(width="auto", min_width="100px"),
        )  # fmt: skip
        self.drop = press("Clear", self.clear, disabled=True)
        self.label = w.HTML("", layout=w.Layout(max_width="220px"))
        self.field.observe(lambda _: self.take(), "value")
        layout = w.Layout(width="auto", flex_flow="row wrap", overflow="visible")
        super().__init__([self.field, self.drop, self.label], layout=layout)

    def take(self) -> None:
        """Look at what arrived."""
        value = self.field.value
        raw = None if self.quiet else uploaded(value)
        if raw is None:
            return
        row = list(value.values())[-1] if isinstance(value, dict) else value[-1]
        name = str(row.get("metadata", row).get("name") or "the upload")
        name = brief(name, LONG)
        try:
            read_picture(raw, 400)
        except ValueError as error:
            self.reset()
            problem = sentence(error).replace("the picture", f'"{name}"', 1)
            return self.heard(f"{problem} It is not used.")
        self.picture, self.name, self.drop.disabled = raw, name, False
        style = f"{SMALL};padding:6px 0"
        self.label.value = f'<div dir="auto" style="{style}">{html.escape(name)}</div>'
        self.heard("")

    def reset(self) -> None:
        """Forget the upload without a word to the panel."""
        self.quiet = True
        if isinstance(self.field.value, dict):  # ipywidgets 7 counts its uploads
            self.field.metadata, self.field.data = [], []
            self.field._counter = 0
            self.field.set_trait("value", {})
        else:
            self.field.value = ()
        self.quiet = False
        self.picture, self.name, self.label.value = None, "", ""
        self.drop.disabled = True

    def clear(self) -> None:
        self.reset()
        self.heard("")


# -- the panels -------------------------------------------------------------------

UNSURE = 0.5  # a best class below this probability is called a guess


def plain(name: str) -> str:
    """A title to read out of the name of a picture: no folder, ending or number."""
    short = re.split(r"[\\/]", name)[-1] or name
    short = re.sub(r"\.[A-Za-z0-9]{2,5}$", "", short)
    return brief(re.sub(r" · \w+ \d+$", "", short), LONG)


def doubted(model, score: float) -> str:
    """What the status adds where the best answer for words is a poor one."""
    return f"; {DOUBT}" if fits(model, score) is False else ""


class SearchPanel(Panel):
    """Type a caption, see the pictures that fit best.

    model: a ready CLIP; pictures: (N, 3, H, W) uint8; vectors: (N, D), their
    embeddings; names: N titles.
    """

    title = "Search panel: type a caption, English or Persian, and press Search"

    def __init__(self, model, pictures, vectors, names, query: str = "a red apple"):
        pictures, names, rows = members(pictures), members(names), members(vectors)
        if None in (pictures, names, rows):
            raise ValueError("Pictures, vectors and names are lists of one length.")
        if not len(pictures) == len(rows) == len(names):
            raise ValueError(
                f"Each picture has its vector and its name, but there are "
                f"{len(pictures)}, {len(rows)} and {len(names)}."
            )
        self.model, self.pictures = ready(model), pictures
        self.vectors, self.names = vectors, [str(name) for name in names]
        self.query = w.Text(
            value=typed(query),
            placeholder="a caption, English or Persian",
            layout=wide(260),
        )
        self.count = w.IntSlider(
            value=12, min=6, max=24, step=6, description="pictures", layout=wide(260),
            continuous_update=False,
        )  # fmt: skip
        self.count.layout.max_width = "340px"
        self.image = w.HTML()
        super().__init__([self.query, line(self.count), self.image], "Search")
        self.count.observe(lambda _: self.act(), "value")

    def run(self) -> str:
        text = fold(self.query.value, persian=False)
        if not text:
            return "Type a caption first."
        if not self.names:
            return "There is no picture to search in."
        best, scores = rank(self.model, self.vectors, text, self.count.value)
        titles = [plain(self.names[i]) for i in best]
        shown = [self.pictures[i] for i in best]
        self.image.value = gallery(shown, titles, [f"{s:.2f}" for s in scores])
        said = f"best of {len(self.names):,}: {titles[0]} ({scores[0]:.2f})"
        return said + doubted(self.model, scores[0])


class ClassifyPanel(Panel):
    """Pick or upload a picture, edit classes and template, see the bars move.

    model: a ready CLIP; pictures: {name: path}; classes: names with commas between.
    """

    title = "Zero-shot panel: edit the classes and the template, press Classify"
    most = 10  # bars

    def __init__(self, model, pictures: dict, classes: str, template: str):
        if not hasattr(pictures, "items"):
            raise ValueError(f"The pictures are {{name: path}}, not {short(pictures)}.")
        pictures = {sendable(str(name)): path for name, path in pictures.items()}
        self.model, self.pictures = ready(model), pictures
        self.picture = w.Dropdown(
            options=list(pictures), description="picture", layout=wide(200)
        )
        self.own = Upload(self.heard)
        self.upload = self.own.field
        self.classes = w.Text(
            value=typed(classes), description="classes", layout=wide(300)
        )
        self.template = w.Text(
            value=typed(template), description="template", layout=wide(300)
        )
        self.image = w.HTML()
        rows = [self.classes, line(self.template), line(self.picture, self.own)]
        super().__init__([*rows, self.image], "Classify")
        self.picture.observe(lambda _: self.choose(), "value")

    def choose(self) -> None:
        """The list of pictures was used: it counts now, not an older upload."""
        self.own.reset()
        self.act()

    def heard(self, problem: str) -> None:
        """An upload came or went."""
        self.say(problem) if problem else self.act()

    def run(self) -> str:
        names = zeroshot.check_classes(re.sub("[،，、;؛\n]", ",", self.classes.value))
        if not (self.own.picture or self.pictures):
            return "Upload a picture first."
        name = brief(self.own.name or str(self.picture.value), LONG)
        picture = self.own.picture or self.pictures[self.picture.value]
        weights = zeroshot.classifier(self.model, names, self.template.value)
        image = self.model.embed_images([picture])
        probabilities = self.model.probabilities(image, weights)[0].tolist()
        table = dict(zip(names, probabilities, strict=True))
        table = dict(sorted(table.items(), key=lambda row: -row[1]))
        shown = dict(list(table.items())[: self.most])
        rows = [(brief(each, LONG), share) for each, share in shown.items()]
        self.image.value = chart(read_picture(picture, 400), name, rows)
        best, share = rows[0]
        said = f"{name}: {best}, {100 * share:.0f} %"
        if share < UNSURE:
            said += "; that is a guess, none of the classes stands out"
        if len(table) > len(shown):
            said += f"; the first {len(shown)} of {len(table)} classes are shown"
        return said


class IndexPanel(Panel):
    """Search an ImageIndex by words, a picture, words to avoid; see a gallery.

    index: the ImageIndex; show: place -> picture to display.
    """

    title = "Gallery panel: words, a picture, or both; press Search"

    def __init__(self, index, show, query: str = "a boat on the water"):
        if not (hasattr(index, "search") and callable(show)):
            raise ValueError("A gallery needs an ImageIndex, and place -> picture.")
        self.index, self.show = index, show
        self.query = w.Text(
            value=typed(query), description="words", layout=wide(280, 2)
        )
        self.minus = w.Text(value="", description="but not", layout=wide(220))
        self.own = Upload(self.heard)
        self.upload = self.own.field
        self.weight = w.FloatSlider(
            value=0.5, min=0, max=1, step=0.1, description="picture", disabled=True,
            continuous_update=False, layout=wide(240),
        )  # fmt: skip
        self.distinct = w.Checkbox(
            value=True, description="hide near-duplicates", indent=False,
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.image = w.HTML()
        rows = [
            self.query,
            line(self.minus, self.distinct),
            line(self.own, self.weight),
            self.image,
        ]
        super().__init__(rows, "Search")
        for field in (self.weight, self.distinct):
            field.observe(lambda _: self.act(), "value")

    def heard(self, problem: str) -> None:
        """An upload came or went; the slider weighs it against the words."""
        self.weight.disabled = self.own.picture is None
        self.say(problem) if problem else self.act()

    def run(self) -> str:
        words, model = self.query.value.strip() or None, self.index.model
        picture, minus = self.own.picture, self.minus.value.strip() or None
        hits = self.index.search(
            words, 12, picture, minus, self.weight.value, self.distinct.value
        )
        titles = [plain(h.name) for h in hits]
        seen = [read_picture(self.show(h.place)) for h in hits]
        self.image.value = gallery(seen, titles, [f"{h.score:.2f}" for h in hits])
        kind = "words and picture" if words and picture else "picture"
        by = f" by {kind}" if picture else ""
        said = f"best of {len(self.index):,}{by}: {titles[0]} ({hits[0].score:.2f})"
        return said if picture or minus else said + doubted(model, hits[0].score)


class LivePicture(w.Image):
    """A picture that a training loop may repaint: set ``value`` to PNG bytes."""

    def __init__(self, width: int, height: int):
        layout = w.Layout(
            width=f"{width}px", max_width="100%", height=f"{height}px",
            object_fit="contain",
        )  # fmt: skip
        super().__init__(value=blank(), format="png", layout=layout)

    def __repr__(self) -> str:
        return "a live picture (run this cell to watch it grow)"
