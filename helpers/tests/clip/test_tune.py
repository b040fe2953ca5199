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


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a.png,one\nb.png\n", "Line 2 .*needs a file name"),
        ("a.png,one\nb.png,  \n", "Line 2 .*needs a file name"),
        (",one\n", "Line 1 .*needs a file name"),
        ("a.png,one\nc.png,two\n", "Line 2 .*c.png"),
        ("a.png,one\nb.png,one\n", "1 different captions"),
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
    with pytest.raises(ValueError, match="between 0 and 1"):
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
