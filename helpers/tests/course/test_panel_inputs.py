"""What people hand to panels: other types, odd words, odd files, folders, and cells."""

import functools
import html
import re
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from helpers import clip, gpt, vqgan
from helpers.clip.tokenizer import Tokenizer, learn_merges
from helpers.course import panels
from helpers.course.draw_panel import DrawPanel
from helpers.course.lines import typed
from helpers.course.studio import Studio, TokenPainter, contact_sheet
from helpers.course.unclip_panel import UnclipPanel
from helpers.dalle.dalle1 import Dalle1
from helpers.dream import Settings
from helpers.search import ImageIndex
from helpers.tests.course.uploads import give, png

INVISIBLE = "\u200f\u200b \u2060"  # nltk#2448: marks that nobody sees
ODD = ["a\nb\ttwo", "<b>x</b> & \"y\" '", "$\\foo$", "../../etc", "🦊" * 9, "x" * 5000,
       "گربه", "a\x00b", "e\u0301"]  # fmt: skip


@functools.cache
def model():
    return clip.load("scratch", "cpu")


def colours() -> torch.Tensor:
    """A red, a green and a blue picture, (3, 3, 32, 32) uint8."""
    return torch.eye(3).mul(255).byte().view(3, 3, 1, 1).repeat(1, 1, 32, 32)


@functools.cache
def seen() -> torch.Tensor:
    return model().embed_images(colours())


def codes() -> vqgan.VQGAN:
    torch.manual_seed(0)
    sizes = vqgan.Config(
        ch=8, ch_mult=(1, 2), num_res_blocks=1, resolution=8, fold=1, z_channels=8,
        embed_dim=4, n_embed=32,
    )  # fmt: skip
    return vqgan.VQGAN(sizes).eval()


@functools.cache
def dalle() -> Dalle1:
    """A DALL-E 1 of a few random numbers."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(learn_merges(["red apple", "a cat"] * 3, 6), 10)
    c = gpt.Config(codes=32, grid=4, conditions=10, values=len(tokenizer) + 10,
                   width=32, layers=2, heads=4, orders=2)  # fmt: skip
    return Dalle1(gpt.GPT(c).eval(), codes(), tokenizer, {}, [])


def search(query="red", names=("a", "b", "c"), **more):
    have = {"model": model(), "pictures": colours(), "vectors": seen()} | more
    return panels.SearchPanel(**have, names=names, query=query)


def gallery(query="red", index=None, show=lambda n: colours()[n]):
    index = ImageIndex(model(), ["a", "b", "c"], seen()) if index is None else index
    return panels.IndexPanel(index, show, query)


def classify(classes="red, blue", template="{}", pictures=None):
    pictures = {"one": colours()[0]} if pictures is None else pictures
    return panels.ClassifyPanel(model(), pictures, classes, template)


def draw(caption="a cat") -> DrawPanel:
    panel = DrawPanel(dalle(), model(), caption)
    panel.count.min = panel.count.value = 1
    return panel


def studio(prompt="a red apple") -> Studio:
    panel = Studio([model()], codes(), prompt, False)
    panel.steps.min, panel.steps.value, panel.cuts.value = 1, 2, 1
    panel.drawer.value = "pixel"
    return panel


# -- what a cell hands to a panel ---------------------------------------------------

FIELDS = {
    "search": lambda text: search(text).query,
    "gallery": lambda text: gallery(text).query,
    "classes": lambda text: classify(text).classes,
    "template": lambda text: classify(template=text).template,
    "studio": lambda text: studio(text).prompt,
    "07": lambda text: draw(text).caption,
    "08": lambda text: UnclipPanel(SimpleNamespace(), text).caption,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_opens_with_text_or_a_list_of_it_and_nothing_else(name, monkeypatch):
    # CLIP#235, open_clip#917: classes come as lists; a TraitError of ten lines came
    for kind in (DrawPanel, UnclipPanel):
        monkeypatch.setattr(kind, "greet", lambda self: None)
    assert FIELDS[name](["red", "a blue one"]).value == "red, a blue one"
    assert FIELDS[name](t for t in ("red",)).value == "red"
    for bad in (None, 3, b"red", ["red", 3], {"red": 1}.items()):
        with pytest.raises(ValueError, match="A field holds text, not") as refusal:
            FIELDS[name](bad)
        assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 120


def test_what_is_typed_is_joined_with_commas():
    assert typed(("cat", "dog")) == "cat, dog" and typed([]) == "" == typed("")


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: search(pictures=None), "lists of one length"),
        (lambda: search(vectors=3.0), "lists of one length"),
        (lambda: search(names="abc"), "lists of one length"),
        (lambda: search(names=["a"]), "3, 3 and 1"),
        (lambda: search(model="pocket"), "a ready CLIP, not str: clip.load()"),
        (lambda: search(model=clip), "a ready CLIP, not module"),
        (lambda: classify(pictures=[1, 2]), "{name: path}, not [1, 2]"),
        (lambda: classify(pictures="cat.jpg"), "{name: path}, not 'cat.jpg'"),
        (lambda: panels.ClassifyPanel("pocket", {}, "a, b", "{}"), "a ready CLIP"),
        (lambda: gallery(index=seen()), "needs an ImageIndex"),
        (lambda: gallery(show=colours()), "place -> picture"),
        (lambda: TokenPainter(codes(), None), "Codes are numbers in a tensor"),
        (lambda: TokenPainter(codes(), "3 x 3"), "Codes are numbers in a tensor"),
        (lambda: TokenPainter(codes(), torch.zeros(1, 4, 4).long()), "a grid (h, w)"),
        (lambda: TokenPainter(codes(), [1, 2, 3]), "a grid (h, w), not (3,)"),
    ],
)
def test_what_is_no_model_no_list_and_no_grid_is_one_sentence(make, says):
    with pytest.raises(ValueError, match=re.escape(says)) as refusal:
        make()
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


def test_lists_and_names_of_any_type_are_taken():
    rows = [row.numpy() for row in seen()]
    panel = search("blue", (1, None, 3.5), pictures=list(colours()), vectors=rows)
    assert panel.status.value.startswith("best of 3: 3.5 (")
    shelf = classify(pictures={1: colours()[0], ("a", 2): colours()[2].numpy()})
    assert shelf.picture.options == ("1", "('a', 2)")
    assert shelf.status.value.startswith("1: red")
    assert TokenPainter(codes(), [[1, 2], [3, 4]]).codes.shape == (2, 2)


@pytest.mark.parametrize(
    "wanted, says",
    [
        ({"row": 4}, "row must be a whole number from 0 to 3, not 4"),
        ({"column": -1}, "column must be a whole number from 0 to 3"),
        ({"code": 32}, "code must be a whole number from 0 to 31"),
        ({"brush": 0}, "brush must be a whole number from 1 to 4"),
        ({"code": 2.5}, "not 2.5"),
    ],
)
def test_the_painter_paints_inside_its_grid_alone(wanted, says):
    # a row of -1 painted at the other side; a code too high failed in the decoder
    panel = TokenPainter(codes(), torch.zeros(4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=says):
        panel.paint(**{"row": 1, "column": 1, "code": 3} | wanted)
    assert not panel.codes.any() and not panel.before
    panel.paint(3, 3, 31, 2)  # a brush may reach over the edge
    assert panel.codes.sum() == 31 == panel.codes[3, 3]


@pytest.mark.parametrize(
    "settings, seeds, says",
    [
        (Settings(), [], "at least one seed, in a list"),
        (Settings(), 3, "at least one seed, in a list"),
        (Settings(), None, "at least one seed, in a list"),
        (Settings(), "12", "at least one seed, in a list"),
        ("a red apple", [0], "needs Settings, not 'a red apple'"),
        ({"prompt": "a"}, [0], "needs Settings"),
        (Settings(), [0, -1], "must be a whole number"),
    ],
)
def test_a_contact_sheet_checks_what_it_gets(settings, seeds, says, monkeypatch):
    from helpers.course import studio as module

    monkeypatch.setattr(module, "Dream", lambda *a: SimpleNamespace(run=lambda p: None))
    with pytest.raises(ValueError, match=says):
        contact_sheet(settings, seeds, [model()], codes())


@pytest.mark.parametrize("make", [search, gallery, classify, draw, studio])
def test_the_main_button_stands_in_the_row_of_the_first_field(make):
    # newcomer.md 2: it lay 250 to 380 px below; Stop and Save stood at the top
    panel = make()
    first = panel.children[0].children
    assert type(first[0]).__name__ == "Text" and panel.button in first
    assert make is not studio or panel.stop is first[2]
    assert panel.status in panel.children[1:-1]  # above the result, which is last


# -- what is typed, and the names of files ------------------------------------------


@pytest.mark.parametrize("make", [search, gallery, draw])
def test_words_that_nobody_sees_are_no_words(make):
    panel = make()
    field = panel.caption if make is draw else panel.query
    field.value = INVISIBLE
    panel.button.click()
    said = "The query is empty" if make is gallery else "Type a caption first."
    assert panel.status.value.startswith(said)


@pytest.mark.parametrize("text", ODD)
def test_odd_words_are_shown_as_text_and_named_so_that_any_disk_takes_them(text):
    # newcomer.md 10, nerdyrodent#67: signs in a status, signs in names of files
    name = panels.portable(text)
    assert name and len(name.encode()) < 255 and name == name.strip("-")
    assert not set(name) & set('/\\:*?"<>|$\x00\n\t.')
    panel = search(text)
    shown = panel.status.value + panel.image.value
    assert len(panel.status.value) < 700
    assert "<b>" not in shown and panel.status.value.startswith("best of 3")
    link = panels.download(f"{name}.png", png("red"))
    assert link.count("<a ") == 1 and f'download="{html.escape(name)}.png"' in link


def test_07_gives_its_picture_and_says_what_is_wrong():
    panel = draw()
    panel.button.click()
    assert panel.status.value == '"a cat": the best 1 of 1, best first'
    assert 'download="a-cat-0.png"' in panel.link.value
    assert bytes(panel.image.value).startswith(b"\x89PNG")
    for seed in (10**20, -1):  # "Overflow when unpacking"
        panel.seed.value = seed
        panel.button.click()
        assert "must be a whole number" in panel.status.value
    panel.seed.value, panel.caption.value = 7, '<b>"a/b\\c"</b> .. cat'
    panel.button.click()
    assert "<b>" not in panel.status.value + panel.link.value
    [name] = re.findall('download="(.*?)"', panel.link.value)
    assert re.fullmatch(r"[\w-]+-7\.png", name)


@pytest.mark.parametrize("name", ["caf\udce9", "x" * 3000, "\ud800", "a\u202eb"])
def test_names_of_pictures_are_short_and_go_to_any_browser(name):
    # LibrePhotos#125: names of files that are no text; a browser takes text alone
    index = ImageIndex(model(), [f"{name}{n}.png" for n in range(3)], seen())
    shelf = classify(pictures={name: colours()[0], f"{name}?": colours()[2]})
    assert len(shelf.picture.options) == 2
    for panel in (search("red", [name] * 3), gallery(index=index), shelf):
        for said in (panel.status.value, panel.image.value):
            assert said.encode() and "x" * 100 not in said
    assert "".join(shelf.picture.options).encode()


# -- uploads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["<img src=x>.png", "", "x" * 3000, "a\nb.png", "\ud800"]
)
@pytest.mark.parametrize("make", [classify, gallery])
def test_an_upload_of_any_name_is_text(make, name):
    panel = make()
    give(panel, name, png("blue"))
    assert panel.own.picture and "<img src=x" not in panel.own.label.value
    assert "<img src=x" not in panel.status.value + panel.image.value
    assert len(panel.status.value) < 700 and panel.own.label.value.encode()
    give(panel, name, b"words")
    assert "not a picture" in panel.status.value and len(panel.status.value) < 700
    assert panel.own.picture is None and panel.own.label.value == ""


def test_an_upload_to_the_studio_is_its_start_and_travels_with_it(
    tmp_path, monkeypatch
):
    # nerdyrodent/VQGAN-CLIP#29: a start was a path; here it was a file in the cache,
    # which a read-only disk refused, and which another machine does not have
    (tmp_path / "file").touch()
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(tmp_path / "file" / "cache"))
    panel = studio()
    give(panel, "mine.png", png("blue", (64, 48)))
    assert panel.begin.value == "upload"
    start = panel.settings().start
    assert isinstance(start, str) and not start.startswith(str(tmp_path))
    first = panel.settings()
    give(panel, "other.png", png("red", (64, 48)))
    assert panel.settings().start != first.start
    panel.own.drop.click()
    assert panel.begin.value == "usual" and panel.settings().start != start


def test_a_studio_cell_that_runs_again_ends_the_run_of_the_first():
    # newcomer.md 4: re-running the cell left the old run drawing without a Stop
    first = studio()
    first.halt = False  # it draws
    second = studio()
    assert first.halt and second.halt is False
    Studio.latest = None


def test_pictures_that_a_gallery_is_shown_as(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(png("red"))
    for shown in (str(path), path, png("red"), Image.new("L", (5, 5))):
        panel = gallery(show=lambda n, shown=shown: shown)
        assert panel.image.value.count("<figure") == 3, shown
    for bad in (None, tmp_path / "gone.png", b"", tmp_path):
        panel = gallery(show=lambda n, bad=bad: bad)
        assert "Traceback" not in panel.status.value
        assert not panel.image.value and 5 < len(panel.status.value) < 300
        assert not panel.button.disabled
