"""The panels of 00, 02 and 03, worked without a browser."""

import functools
import threading

import ipywidgets as w
import pytest
import torch

from helpers import clip, vqgan
from helpers.course import panels
from helpers.course.unclip_panel import UnclipPanel
from helpers.dalle import unclip
from helpers.search import ImageIndex
from helpers.tests.course.uploads import give, png


@functools.cache
def model():
    return clip.load("scratch", "cpu")


@pytest.fixture
def classify(tmp_path):
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    shelf = {c: tmp_path / f"{c}.png" for c in ("red", "blue")}
    return panels.ClassifyPanel(model(), shelf, "red, green, blue", "a {}")


def colours() -> torch.Tensor:
    """A red, a green and a blue picture, (3, 3, 32, 32) uint8."""
    return torch.eye(3).mul(255).byte().view(3, 3, 1, 1).repeat(1, 1, 32, 32)


def gallery(**more):
    names = ["folder/red.one.png", "green · photo 17", "blue"]
    index = ImageIndex(model(), names, model().embed_images(colours()))
    return panels.IndexPanel(index, lambda n: colours()[n], **more)


def test_every_panel_opens_with_a_result(classify):
    assert classify.status.value.startswith("red: red, ")
    assert classify.image.value.count("<img") == 1
    found = gallery(query="green")
    assert found.status.value.startswith("best of 3: green (")
    assert found.image.value.count("<figure") == 3
    assert "photo 17" not in found.image.value and ">red.one<" in found.image.value
    vectors = model().embed_images(colours())
    search = panels.SearchPanel(model(), colours(), vectors, list("abc"), "blue")
    assert search.status.value.startswith("best of 3: c (")


def test_the_button_stands_beside_the_first_field(classify):
    first = classify.children[0].children
    assert first[0] is classify.classes and first[1] is classify.button


def test_an_upload_counts_until_it_is_cleared_or_the_list_is_used(classify):
    # ipywidgets issue 2653: an upload stayed for ever, whatever was chosen after it
    give(classify, "mine.png", png("blue"))
    assert classify.status.value.startswith("mine.png: blue")
    assert not classify.own.drop.disabled
    classify.own.drop.click()
    assert classify.status.value.startswith("red: red")
    assert panels.uploaded(classify.upload.value) is None
    give(classify, "mine.png", png("blue"))
    assert classify.status.value.startswith("mine.png: blue")
    classify.picture.value = "blue"
    assert classify.status.value.startswith("blue: blue")


@pytest.mark.parametrize(
    "raw, says", [(b"", "zero bytes"), (b"words", "not a picture")]
)
def test_an_upload_that_cannot_be_read_is_said_and_let_go(classify, raw, says):
    # ipywidgets issue 2522: an empty upload was another picture without a word
    give(classify, "mine.png", raw)
    assert says in classify.status.value and "mine.png" in classify.status.value
    classify.button.click()
    assert classify.status.value.startswith("red: red")


def test_a_gallery_by_words_and_picture():
    panel = gallery(query="green")
    give(panel, "mine.png", png("blue"))
    assert "by words and picture" in panel.status.value and not panel.weight.disabled
    panel.query.value = ""
    panel.query._handle_custom_msg({"event": "submit"}, [])  # Enter was pressed
    assert "by picture: blue" in panel.status.value
    panel.own.drop.click()
    assert "Give words" in panel.status.value and panel.weight.disabled


def test_classes_in_any_script_many_of_them_and_signs(classify, monkeypatch):
    classify.classes.value = "red،green؛ blue, <b>, $\\foo$"
    classify.button.click()
    assert "&lt;b&gt;" in classify.image.value and "<b>" not in classify.image.value
    classify.classes.value = ",".join(f"red {n}" for n in range(30))
    classify.button.click()
    assert "the first 10 of 30 classes are shown" in classify.status.value
    assert "guess" not in classify.status.value
    monkeypatch.setattr(panels, "UNSURE", 0.999)
    classify.button.click()
    assert "that is a guess" in classify.status.value


class Broken(panels.Panel):
    error: BaseException = RuntimeError()

    def run(self):
        raise self.error


@pytest.mark.parametrize(
    "error, says",
    [
        (RuntimeError(), "did not work (RuntimeError)"),
        (KeyError("no such name"), "no such name"),
        (ValueError("one\ntwo"), "one"),
        (ValueError("x" * 999), "…"),
        (KeyboardInterrupt(), "Stopped."),
        (torch.cuda.OutOfMemoryError("..."), "out of memory"),
    ],
)
def test_every_error_is_one_sentence(error, says, monkeypatch):
    monkeypatch.setattr(Broken, "error", error)
    panel = Broken([w.Text()], "Go")
    assert says in panel.status.value and "two" not in panel.status.value
    assert not panel.button.disabled and not panel.busy.locked()


def test_runs_never_interleave_and_the_last_click_counts():
    # JupyterLab 4.4 lets each widget be heard in a thread of its own
    seen, texts = [], ["one", "two", "three"]

    class Slow(panels.Panel):
        def run(self):
            seen.append(f"begin {self.field.value}")
            if len(seen) == 1:
                for text in texts:
                    self.field.value = text
                    thread = threading.Thread(target=self.button.click)
                    thread.start()
                    thread.join()
            seen.append("end")
            return "done"

        def __init__(self):
            self.field = w.Text("zero")
            super().__init__([self.field], "Go")

    panel = Slow()
    assert seen == ["begin zero", "end", "begin three", "end"]
    assert panel.status.value == "done" and not panel.button.disabled


def test_layouts_have_no_fixed_width_beyond_a_small_screen(classify):
    def boxes(box):
        yield box
        for child in getattr(box, "children", ()):
            yield from boxes(child)

    for panel in (classify, gallery()):
        for box in boxes(panel):
            width = str(box.layout.width or "")
            assert not width.endswith("px") or int(width[:-2]) <= 480, box


class Words:
    """Stands for a CLIP in the panel of 08: one number a letter."""

    fingerprint = "words"

    def embed_texts(self, texts):
        rows = [[float(t.count(c)) + 0.1 for c in "abcdefghijkl"] for t in texts]
        return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


@functools.cache
def painter():
    torch.manual_seed(0)
    c = unclip.Config(embed=12, prior_width=16, prior_layers=1, latent=4,
                      decoder_width=32, decoder_layers=1, decoder_heads=2,
                      upsampler=(8, 8, 8), clock=16)  # fmt: skip
    sizes = vqgan.Config(
        ch=8, ch_mult=(1, 1, 1, 1), num_res_blocks=1, fold=2,
        resolution=128, z_channels=8, embed_dim=4, n_embed=32,
    )  # fmt: skip
    net = unclip.Unclip(c)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return unclip.Painter(net, Words(), vqgan.VQGAN(sizes).eval(), {})


def test_the_panel_of_08_draws_and_walks(monkeypatch):
    panel = UnclipPanel(painter(), "a big bag")
    assert panel.status.value == '"a big bag": 8 drawings, none left out'
    first = bytes(panel.image.value)
    assert first.startswith(b"\x89PNG") and len(first) > 2000
    starts = []
    decode = panel.painter.decode

    def heard(seen, seed, guidance, steps, start):
        starts.append((seen, steps, start))
        return decode(seen, seed, guidance, steps, start)

    monkeypatch.setattr(panel.painter, "decode", heard)
    panel.towards.value, panel.steps.value = "a cable", 3
    panel.button.click()
    assert panel.status.value.startswith('From "a big bag" to "a cable"')
    seen, steps, start = starts[-1]
    ends = panel.painter.imagine(["a big bag", "a cable"], 0)
    torch.testing.assert_close(seen[[0, -1]], ends, atol=1e-3, rtol=1e-3)
    assert steps == 3 and (start == start[:1]).all()
    assert panel.image.value != first
    panel.caption.value = " "
    panel.button.click()
    assert panel.status.value == "Type a caption first."


def test_the_panel_of_08_says_what_is_wrong_and_gives_its_picture():
    # newcomers: seed 10^20 was "Overflow when unpacking"; a caption that cannot be seen
    panel = UnclipPanel(painter(), "a big bag")
    assert 'download="a-big-bag-0.png"' in panel.link.value
    for seed in (10**20, -1):
        panel.seed.value = seed
        panel.button.click()
        assert "seed must be a whole number" in panel.status.value
    panel.seed.value, panel.caption.value = 0, "\u200f\u200b "
    panel.button.click()
    assert panel.status.value == "Type a caption first."
    panel.caption.value = '<b>"a/b\\c"</b> ' + "x" * 5000
    panel.steps.value = 2
    panel.button.click()
    assert "<b>" not in panel.status.value and "<b>" not in panel.link.value


def test_what_is_typed_stays_short_and_is_text(classify):
    # newcomer.md 10 (a long class covers the photo); ipywidgets#2653
    for template in ("word " * 900, "a\nb", "\ud800"):
        classify.template.value = template
        classify.button.click()
        assert "exactly one {}" in classify.status.value
        assert len(classify.status.value) < 300 and classify.status.value.encode()
    classify.template.value, long = "{}", "red " * 900
    classify.classes.value = f"{long}, blue"
    classify.button.click()
    assert len(classify.status.value) < 300 and long.strip() not in classify.image.value


def test_collections_that_do_not_fit_their_panel(tmp_path):
    vectors = model().embed_images(colours())
    with pytest.raises(ValueError, match="3, 3 and 1"):
        panels.SearchPanel(model(), colours(), vectors, ["a"])
    empty = panels.SearchPanel(model(), colours()[:0], vectors[:0], [])
    assert empty.status.value == "There is no picture to search in."
    bare = panels.ClassifyPanel(model(), {}, "red, blue", "a {}")
    assert bare.status.value == "Upload a picture first."
    index = ImageIndex(model(), list("abc"), vectors)
    (tmp_path / "red.png").write_bytes(png("red"))
    shown = panels.IndexPanel(index, lambda n: tmp_path / "red.png", query="red")
    assert shown.status.value.startswith("best of 3") and "<img" in shown.image.value
    assert "not NoneType" in panels.IndexPanel(index, lambda n: None).status.value
