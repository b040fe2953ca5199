"""Tuning on a folder of pairs: what is read, what is learnt, what the file holds."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from helpers import clip, paths
from helpers.clip import measure, official, tune


def folder(tmp_path, lines: str, pictures=("a.png", "b.png")):
    for n, name in enumerate(pictures):
        Image.new("RGB", (20, 20), ("red", "blue", "green")[n % 3]).save(
            tmp_path / name
        )
    (tmp_path / "captions.csv").write_text(lines, "utf-8")
    return tmp_path


def test_pairs_are_read(tmp_path):
    lines = '\ufefffile,caption\na.png, our Momo, asleep\n\n"b.png","گربه, نارنجی"\n'
    found, captions = tune.read_pairs(folder(tmp_path, lines))
    assert [p.name for p in found] == ["a.png", "b.png"]
    assert captions == ["our Momo, asleep", "گربه, نارنجی"]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["sep={}", "\ufeffSEP={}\r", "sep={};;", '"sep={}"'])
def test_a_first_line_of_excel_names_the_mark(tmp_path, first, mark):
    # Excel writes and reads "sep=;" above a table, and pads short rows with the mark
    rows = [["File", "Caption"], ["a.png", "our Momo"], ["b.png", '"a ""b"", c; d"']]
    lines = [first.format(mark), *(mark.join([*row, ""]) for row in rows)]
    found, captions = tune.read_pairs(folder(tmp_path, "\n".join(lines)))
    assert [p.name for p in found] == ["a.png", "b.png"]
    assert captions == ["our Momo", 'a "b", c; d']


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a.png,one\nb.png\n", "Line 2 .*needs a file name"),
        ("a.png,one\nb.png,  \n", "Line 2 .*needs a file name"),
        (",one\n", "Line 1 .*needs a file name"),
        ("a.png,one\nc.png,two\n", "Line 2 .*c.png"),
        ("a.png,one\nb.png,one\n", "1 different captions"),
        ("a.png,A  cat\nb.png,a cat\u200f\n", "1 different captions"),
        ('a.png,"one\nb.png,two\na.png,three\n', "Line 1 .*quotation marks"),
        ('a.png,one\nb.png,"two"x\n', "Line 2 .*quotation marks"),
        ("a.png;one\nb.png;two\n", "Line 1 .*, or sep=; as the first"),
        ("sep=;\na.png,one\nb.png,two\n", "Line 2 .*a file name, a ';' and"),
        ("sep=a\na.png,one\nb.png,two\n", "Line 1 .*needs a file name"),
        ("a.png,one\n../b.jpg,two\n", "Line 2 .*b.jpg"),
        ("a.png,one\n" + "b" * 5000 + ",two\n", "Line 2 .*not in the folder"),
        ("a.png,\u200f\nb.png,two\n", "Line 1 .*needs a file name"),
        ("", "0 different captions"),
    ],
)
def test_bad_lists(tmp_path, lines, says):
    with pytest.raises(ValueError, match=says):
        tune.read_pairs(folder(tmp_path, lines))


def test_no_list_and_no_utf8(tmp_path):
    with pytest.raises(FileNotFoundError, match="one line a picture"):
        tune.read_pairs(tmp_path)
    (tmp_path / "captions.csv").write_bytes("a.png,caf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        tune.read_pairs(tmp_path)


def test_the_matrix_learns_and_mixes():
    g = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(5, 32, generator=g), dim=1)
    words = F.normalize(torch.randn(5, 32, generator=g), dim=1)
    label = torch.arange(5).repeat(6)

    def seen():
        noise = 0.05 * torch.randn(30, 32, generator=g)
        return F.normalize(centres[label] + noise, dim=1)

    new = seen()
    with torch.no_grad():  # wherever the caller stands
        A = tune.fit(seen(), words[label])
    assert not A.requires_grad
    torch.testing.assert_close(tune.mixed(A, 0), torch.eye(32))
    torch.testing.assert_close(tune.mixed(A, 1), A)
    torch.testing.assert_close(tune.mixed(A, 0.25), 0.75 * torch.eye(32) + 0.25 * A)
    right = [
        ((tune.turned(new, M) @ words.T).argmax(1) == label).float().mean()
        for M in (torch.eye(32), A)
    ]
    assert right[0] < 0.6 and right[1] == 1
    with pytest.raises(ValueError, match="from 0 to 1"):
        tune.mixed(A, 1.5)


@pytest.mark.parametrize("name", ["scratch", "pocket"])
def test_the_file_is_the_matrix_built_in(tmp_path, name):
    model = clip.load(name, "cpu")
    pairs = folder(tmp_path, "a.png,Momo\nb.png,Rex\n")
    out = tune.tune(pairs, model, tmp_path / "mine.safetensors", share=0.75, steps=60)
    files = [paths.PHOTOS / f"{n}.jpg" for n in ("cat", "rocket")]
    x = model.embed_images(files)
    words = model.embed_texts(["Momo", "Rex"])
    own = model.embed_images([tmp_path / "a.png", tmp_path / "b.png"])
    want = tune.turned(x, tune.mixed(tune.fit(own, words, 60), 0.75))
    mine = clip.load(out, "cpu")
    torch.testing.assert_close(mine.embed_images(files), want, atol=2e-3, rtol=0)
    assert (want - x).abs().max() > 0.01  # or the line above would say nothing
    torch.testing.assert_close(mine.embed_texts(["a cat"]), model.embed_texts("a cat"))
    torch.testing.assert_close(model.embed_images(files), x)  # the old one stays
    assert mine.card["tuned from"] == name and mine.card["tuned on"]["pairs"] == 2
    tune.tune(pairs, model, out, steps=1)  # a second try may replace the first
    other = tmp_path / "other.safetensors"
    for content in (
        b"something else",
        (paths.MODELS / "scratch.safetensors").read_bytes(),
    ):
        other.write_bytes(content)
        with pytest.raises(ValueError, match="choose another name"):
            tune.tune(pairs, model, other)
        assert other.read_bytes() == content
    with pytest.raises(ValueError, match="must end in"):
        tune.tune(pairs, model, tmp_path / "mine.pt")


def test_official_models_are_refused():
    class Official:
        name = next(iter(official.OFFICIAL))

    with pytest.raises(ValueError, match="cannot be saved"):
        tune.fold(Official, torch.eye(2))


def test_both_ways_of_pocket_in_one_look():
    model = clip.load("pocket", "cpu")
    x = torch.randint(256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    found = measure.ways(model, x.byte(), batch=2)
    torch.testing.assert_close(found["with ImageNet"], model.embed_images(x.byte()))
    torch.nn.init.zeros_(model.model.visual.classes.weight.data)
    bare = model.embed_images(x.byte())
    torch.testing.assert_close(found["without"], bare, atol=1e-5, rtol=1e-4)
    scratch = clip.load("scratch", "cpu")
    assert list(measure.ways(scratch, x.byte())) == ["whole"]


def test_line_ends_and_marks_that_are_plain(tmp_path):
    # tables of other systems and of people: \r\n, an inch mark, a "quoted" word
    lines = 'a.png,a 5" disk\r\nb.png,"our ""Momo"", asleep"\r\n'
    pairs = folder(tmp_path, "")
    (pairs / "captions.csv").write_bytes(lines.encode())
    _, captions = tune.read_pairs(pairs)
    assert captions == ['a 5" disk', 'our "Momo", asleep']


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"share": "0.5"}, "The share must be a number from 0 to 1"),
        ({"share": float("nan")}, "The share must be a number from 0 to 1"),
        ({"steps": 0}, "The steps must be a whole number"),
        ({"steps": 2.5}, "The steps must be a whole number"),
        ({"model": "pocket"}, "what clip.load gives"),
        ({"out": 3}, "A path is text"),
    ],
)
def test_knobs_are_checked_before_a_picture_is_looked_at(tmp_path, more, says):
    # CLIP#83 asked for tuning; deforum#747: faults that come late, in the depths
    model = clip.Embedder("x", torch.nn.Identity(), None, {}, torch.device("cpu"))
    knobs = {
        "folder": tmp_path / "none",
        "model": model,
        "out": tmp_path / "a.safetensors",
    }
    with pytest.raises(ValueError, match=says):
        tune.tune(**knobs | more)


def test_a_target_that_cannot_be_written_is_known_at_once(tmp_path):
    model = clip.Embedder("x", torch.nn.Identity(), None, {}, torch.device("cpu"))
    pairs = folder(tmp_path, "a.png,one\nb.png,two\n")
    with pytest.raises(PermissionError, match="cannot be written"):
        tune.tune(pairs, model, tmp_path / "a.png" / "mine.safetensors")


def test_one_caption_in_two_spellings_is_one_class(tmp_path, monkeypatch):
    # nltk#2448's kind: vectors that differ in the last bit were two classes
    lines = "a.png,a cat\nb.png,a dog\nc.png,A  Cat\u200f\n"
    pairs = folder(tmp_path, lines, ("a.png", "b.png", "c.png"))
    model = clip.load("scratch", "cpu")
    seen = []

    def fit(images, goals, steps):
        seen.append(goals)
        return torch.eye(goals.shape[1])

    monkeypatch.setattr(tune, "fit", fit)
    tune.tune(pairs, model, tmp_path / "mine.safetensors")
    assert torch.equal(seen[0][0], seen[0][2]) and len(seen[0].unique(dim=0)) == 2


def test_vectors_and_matrices_that_do_not_fit():
    x = F.normalize(torch.randn(3, 8), dim=1)
    for bad in ((x, x[:2]), (x, x[:, :4]), (x, None), (x * float("nan"), x)):
        with pytest.raises(ValueError):
            tune.fit(*bad, steps=1)
    with pytest.raises(ValueError, match="steps"):
        tune.fit(x, x, "x")
    with pytest.raises(ValueError, match="two models"):
        tune.turned(x, torch.eye(3))
    for bad in (torch.eye(3), torch.zeros(3, 384), None):
        with pytest.raises(ValueError):
            tune.fold(clip.load("scratch", "cpu"), bad)


def test_a_head_in_capitals_is_a_head(tmp_path):
    found, _ = tune.read_pairs(folder(tmp_path, "File,Caption\na.png,one\nb.png,two\n"))
    assert [p.name for p in found] == ["a.png", "b.png"]
