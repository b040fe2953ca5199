"""The search index: against plain cosines, on bad folders and bad files."""

import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers import clip, corpus, paths, search
from helpers.search import ImageIndex, storage
from helpers.search import index as module


@pytest.fixture(scope="module")
def model():
    return clip.load("scratch", "cpu")


@pytest.fixture(scope="module")
def index(model):
    split = corpus.load("photos", size=64, progress=False)
    some = corpus.Corpus(split.cards[::3], split.rgba[::3])
    return ImageIndex.build(some, model, progress=False)


def folder_of(tmp_path, count: int = 5):
    g = torch.Generator().manual_seed(0)
    for n in range(count):
        (tmp_path / f"sub{n % 2}").mkdir(parents=True, exist_ok=True)
        noise = torch.randint(256, (40, 60, 3), generator=g, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(tmp_path / f"sub{n % 2}" / f"{n}.png")
    return tmp_path


@pytest.mark.parametrize("k", [1, 3, 10_000])
@pytest.mark.parametrize("words", ["a red apple", "یک گربه"])
def test_exact_search_is_the_plain_cosine(index, model, words, k):
    hits = index.search(words, k=k)
    cosines = index.vectors @ model.embed_texts(words)[0]
    want = cosines.sort(descending=True).values[:k]
    assert len(hits) == min(k, len(index))
    have = torch.tensor([h.score for h in hits])
    torch.testing.assert_close(have, want, atol=1e-5, rtol=0)
    assert all(index.names[h.place] == h.name for h in hits)


def test_queries_mix(index, model):
    picture = Image.new("RGB", (64, 64), "red")
    seen = model.embed_images([picture])[0]
    torch.testing.assert_close(index.query(picture=picture), seen)
    words = model.embed_texts("an apple")[0]
    both = torch.nn.functional.normalize(0.7 * words + 0.3 * seen, dim=0)
    got = index.query("an apple", picture, weight=0.3)
    torch.testing.assert_close(got, both)
    away = model.embed_texts("red")[0]
    less = torch.nn.functional.normalize(words - 0.5 * away, dim=0)
    torch.testing.assert_close(index.query("an apple", minus="red"), less)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_search_finds_nearly_the_same(kind):
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(200, 64, generator=g)
    rows = torch.randint(200, (20_000,), generator=g)
    x = centres[rows] + 0.5 * torch.randn(20_000, 64, generator=g)
    x = torch.nn.functional.normalize(x, dim=1)
    exact, near = search.neighbours(x, "exact"), search.neighbours(x, kind)
    queries = x[:50].numpy()
    want, have = exact.search(queries, 10)[1], near.search(queries, 10)[1]
    shared = sum(len(set(a) & set(b)) for a, b in zip(want, have, strict=True))
    assert shared / 500 >= 0.9


def test_kind_by_size():
    kinds = [module.choose(n) for n in (1, 20_000, 50_000, 1_000_000)]
    assert kinds == ["exact", "exact", "hnsw", "ivf"]


def test_twins_and_distinct(model):
    pictures = corpus.load("photos", size=64, progress=False).pictures(range(4))
    pictures = torch.cat([pictures, pictures[:1], pictures[:1]])
    index = ImageIndex.build(pictures, model, progress=False)
    assert [0, 4, 5] in index.twins(0.9999)
    places = [h.place for h in index.search("cat", k=6, distinct=True)]
    assert len({0, 4, 5} & set(places)) == 1


def test_folder_add_remove_save_load(tmp_path, model):
    folder = folder_of(tmp_path / "a")
    (folder / "bad.jpg").write_bytes(b"not a picture")
    os.symlink(folder, folder / "sub0" / "loop")
    index = ImageIndex.build(folder, model, progress=False)
    assert len(index) == 5
    assert [os.path.basename(n) for n, _ in index.skipped] == ["bad.jpg"]
    index.add([Image.new("RGB", (9, 9), "blue")], names=["blue"])
    assert len(index) == 6 and index.names[-1] == "blue"
    index.remove([index.names[0]])
    index.save(tmp_path / "index")
    again = ImageIndex.load(tmp_path / "index.safetensors", model)
    assert again.names == index.names and torch.equal(again.vectors, index.vectors)
    assert again.skipped == index.skipped and again.keys == index.keys
    assert again.search("x", 2) == index.search("x", 2)
    with pytest.raises(KeyError, match="no picture named"):
        index.remove(["nobody"])


def test_an_interrupted_build_goes_on(tmp_path, model, monkeypatch):
    folder = folder_of(tmp_path / "a", 6)
    monkeypatch.setattr(module, "CHUNK", 2)
    real, calls = module.embed, []

    def stops(items, model, known):
        calls.append(sum(module.mark(item.file) not in known for item in items))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(items, model, known)

    monkeypatch.setattr(module, "embed", stops)
    with pytest.raises(KeyboardInterrupt):
        ImageIndex.build(folder, model, progress=False, resume=tmp_path / "part")
    index = ImageIndex.build(folder, model, progress=False, resume=tmp_path / "part")
    assert calls[3:] == [0, 0, 2], "the first four pictures are not embedded again"
    whole = ImageIndex.build(folder, model, progress=False)
    assert torch.equal(index.vectors, whole.vectors) and index.names == whole.names
    kept = ImageIndex.load(tmp_path / "part", model)
    assert kept.names == index.names


def test_bad_index_files(tmp_path, model, index):
    with pytest.raises(FileNotFoundError, match="no index file"):
        ImageIndex.load(tmp_path / "none", model)
    index.save(tmp_path / "i")
    file = tmp_path / "i.safetensors"
    whole = file.read_bytes()
    with pytest.raises(ValueError, match="made by scratch"):
        other = clip.load("scratch", "cpu")
        other.name, other.fingerprint = "pocket", "something else"
        ImageIndex.load(tmp_path / "i", other)
    for raw, says in (
        (whole[:1000], "damaged or cut short"),
        (b"", "damaged or cut short"),
        (whole.replace(b'"format":"2"', b'"format":"9"'), "format 9"),
        (whole[:-200] + bytes(200), "was changed"),
        ((paths.MODELS / "scratch.safetensors").read_bytes(), "no index of this"),
    ):
        file.write_bytes(raw)
        with pytest.raises(ValueError, match=says):
            ImageIndex.load(tmp_path / "i", model)


def test_bad_collections(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="no folder"):
        ImageIndex.build(tmp_path / "none", model)
    with pytest.raises(ValueError, match="holds no pictures"):
        ImageIndex.build(tmp_path, model)
    with pytest.raises(ValueError, match="collection is empty"):
        ImageIndex.build([], model)
    with pytest.raises(ValueError, match="2 pictures but 1 names"):
        ImageIndex.build(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), model, ["a"])
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match="None of the 1 pictures"):
        ImageIndex.build(tmp_path, model, progress=False)


def test_a_folder_without_permission(tmp_path, model, monkeypatch):
    folder = folder_of(tmp_path / "a")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    index = ImageIndex.build(folder, model, progress=False)
    assert len(index) == 3 and "no permission" in index.skipped[0][1]


def test_bad_queries(index, model):
    for bad in (0, -1, 2.5, None):
        with pytest.raises(ValueError, match="whole number"):
            index.search("cat", k=bad)
    for bad in ("", "   "):
        with pytest.raises(ValueError, match="query is empty"):
            index.search(bad)
    with pytest.raises(ValueError, match="Give words"):
        index.search()
    with pytest.raises(ValueError, match="from 0 to 1"):
        index.search("cat", weight=3)
    with pytest.raises(ValueError, match="no index kind"):
        index.search("cat", kind="magic")
    with pytest.raises(ValueError, match="index is empty"):
        ImageIndex(model, [], torch.empty(0, 192)).search("cat")


# -- one file, keyed work: what public trackers told ------------------------------


def grey(path, value: int, size=(20, 20)):
    """A small picture file of one shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


@pytest.fixture
def counted(monkeypatch):
    """A list of how many pictures each call of ``embed`` really embedded."""
    calls, real = [], module.embed

    def embed(items, model, known):
        rows, bad = real(items, model, known)
        calls.append(sum(row[1] not in known for row in rows))
        return rows, bad

    monkeypatch.setattr(module, "embed", embed)
    return calls


def test_a_save_that_fails_leaves_the_old_index(tmp_path, model, monkeypatch):
    # rclip#78, LibrePhotos#125: half an index paired old names with new vectors
    folder = folder_of(tmp_path / "a", 3)
    old = ImageIndex.build(folder, model, progress=False)
    old.save(tmp_path / "i")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["i.safetensors"]
    new = ImageIndex.build([grey(tmp_path / "b" / "x.png", 9)], model, progress=False)

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "save_file", full)
    with pytest.raises(OSError, match="cannot be written.*No space left"):
        new.save(tmp_path / "i")
    again = ImageIndex.load(tmp_path / "i", model)
    assert again.names == old.names and torch.equal(again.vectors, old.vectors)
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_names_that_are_not_text(tmp_path, model):
    # rclip#78: a name in another encoding ended a long build
    folder = folder_of(tmp_path / "a", 1)
    for raw in (b"caf\xe9.png", "گربه.png".encode(), b"new\nline.png"):
        Image.new("L", (9, 9)).save(tmp_path / "x.png")
        os.rename(tmp_path / "x.png", os.path.join(os.fsencode(folder), raw))
    index = ImageIndex.build(folder, model, progress=False, resume=tmp_path / "part")
    index.save(tmp_path / "i")
    again = ImageIndex.load(tmp_path / "i", model)
    assert again.names == index.names and len(index) == 4 and not index.skipped
    assert all(os.path.isfile(h.path) for h in again.search("x", 9))


def test_resume_deletes_nothing(tmp_path, model, index):
    # rclip#92, pupyl#147: a saved index of another model was deleted
    folder = folder_of(tmp_path / "a", 3)
    index.save(tmp_path / "other")
    other = clip.load("scratch", "cpu")
    other.name, other.fingerprint = "pocket", "something else"
    with pytest.raises(ValueError, match="made by scratch"):
        ImageIndex.build(folder, other, progress=False, resume=tmp_path / "other")
    assert len(ImageIndex.load(tmp_path / "other", model)) == len(index)
    built = ImageIndex.build(folder, model, progress=False, resume=tmp_path / "other")
    assert len(built) == 3
    assert len(ImageIndex.load(tmp_path / "other", model)) == len(index) + 3
    (tmp_path / "text.safetensors").write_text("my only copy")
    with pytest.raises(ValueError, match="damaged or cut short"):
        ImageIndex.build(folder, model, progress=False, resume=tmp_path / "text")
    assert (tmp_path / "text.safetensors").read_text("utf-8") == "my only copy"


def test_resume_costs_only_what_is_new(tmp_path, model, counted):
    # rclip#92: one added file discarded 550 of 600; a changed one kept its old vector
    folder = folder_of(tmp_path / "a", 5)
    ImageIndex.build(folder, model, progress=False, resume=tmp_path / "w")
    grey(folder / "new.png", 7)
    changed = grey(folder / "sub0" / "0.png", 250)
    (folder / "sub1" / "1.png").unlink()
    counted.clear()
    index = ImageIndex.build(folder, model, progress=False, resume=tmp_path / "w")
    assert sum(counted) == 2 and len(index) == 5
    place = index.names.index(str(changed))
    torch.testing.assert_close(index.vectors[place], model.embed_images([changed])[0])


def test_pictures_without_files_resume_too(tmp_path, model, counted):
    rows = [Image.new("RGB", (9, 9), c) for c in ("red", "blue", "red")]
    first = ImageIndex.build(rows, model, progress=False, resume=tmp_path / "w")
    counted.clear()
    index = ImageIndex.build(rows, model, progress=False, resume=tmp_path / "w")
    assert sum(counted) == 0 and index.names == ["0", "1", "2"]
    assert torch.equal(index.vectors, first.vectors)


def test_update(tmp_path, model, counted):
    # rclip#196: bring an index up to date
    folder = folder_of(tmp_path / "a", 5)
    index = ImageIndex.build(folder, model, progress=False)
    index.add([grey(tmp_path / "elsewhere.png", 3)])
    (folder / "notes.txt").write_text("no picture")
    (folder / "sub1" / "1.png").unlink()
    changed = grey(folder / "sub0" / "0.png", 250)
    grey(folder / "sub2" / "deep" / "new.jfif", 7)
    (folder / "sub0" / "2.png").write_bytes(b"spoilt")
    counted.clear()
    done = index.update(folder, progress=False)
    assert str(done) == "1 new, 1 changed, 2 gone, 2 kept" and sum(counted) == 2
    assert [os.path.basename(n) for n, _ in index.skipped] == ["notes.txt", "2.png"]
    assert str(tmp_path / "elsewhere.png") in index.names
    fresh = ImageIndex.build(folder, model, progress=False)
    assert {*index.names} == {*fresh.names, str(tmp_path / "elsewhere.png")}
    for name, vector in zip(fresh.names, fresh.vectors, strict=True):
        torch.testing.assert_close(index.vectors[index.names.index(name)], vector)
    assert index.search(picture=changed, k=1)[0].path == str(changed)
    counted.clear()
    assert (
        str(index.update(folder, progress=False)) == "0 new, 0 changed, 0 gone, 4 kept"
    )
    assert sum(counted) == 0
    with pytest.raises(FileNotFoundError, match="no folder"):
        index.update(tmp_path / "unplugged")
    assert len(index) == 5


def test_update_keeps_what_it_may_not_look_at(tmp_path, model, monkeypatch):
    folder = folder_of(tmp_path / "a")
    index = ImageIndex.build(folder, model, progress=False)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert index.update(folder, progress=False).gone == 0 and len(index) == 5
    assert "no permission" in index.skipped[0][1]


def test_an_interrupted_update_keeps_its_work(tmp_path, model, monkeypatch):
    folder = folder_of(tmp_path / "a", 6)
    monkeypatch.setattr(module, "CHUNK", 2)
    real, calls = module.embed, []

    def stops(*rows):
        calls.append(rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*rows)

    monkeypatch.setattr(module, "embed", stops)
    index = ImageIndex(model)
    with pytest.raises(KeyboardInterrupt):
        index.update(folder, progress=False)
    assert len(index) == 4 == len(index.vectors) == len(index.keys)
    assert (
        str(index.update(folder, progress=False)) == "2 new, 0 changed, 0 gone, 4 kept"
    )


def test_nothing_is_lost_by_name(tmp_path, model, monkeypatch):
    # clip-retrieval#321: build([a, b]), add([c]) left two rows
    a, b, c = (Image.new("RGB", (9, 9), x) for x in ("red", "lime", "blue"))
    index = ImageIndex.build([a, b], model, progress=False)
    index.add([c])
    index.add([a], names=["0"])
    assert index.names == ["0", "1", "2", "0"]
    index.add([b], names=["0"], replace=True)
    assert index.names == ["1", "2", "0"]
    for place in ("one", "two"):  # the same relative name in two working folders
        grey(tmp_path / place / "x.png", 200)
    monkeypatch.chdir(tmp_path / "one")
    index = ImageIndex.build(["x.png"], model, progress=False)
    monkeypatch.chdir(tmp_path / "two")
    index.add(["x.png"])
    index.add([Path("x.png")])
    assert index.names == [str(tmp_path / p / "x.png") for p in ("one", "two")]


def test_skipped_tells_how_things_are(tmp_path, model):
    good, bad = grey(tmp_path / "a.png", 5), tmp_path / "b.png"
    bad.write_bytes(b"not yet a picture")
    index = ImageIndex.build([good, bad], model, progress=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="None of the 1 .* not a picture"):
            index.add([bad])
    assert [name for name, _ in index.skipped] == [str(bad)]
    index.add([grey(bad, 9)])
    assert not index.skipped and index.names == [str(good), str(bad)]


def test_merge(tmp_path, model):
    one, two = folder_of(tmp_path / "m" / "one", 3), tmp_path / "m" / "two"
    grey(two / "y.png", 40)
    a = ImageIndex.build(one, model, progress=False)
    a.add([Image.new("L", (9, 9), 5)], names=["shade"])
    b = ImageIndex.build(two, model, progress=False)
    (two / "no.txt").write_text("no")
    b.update(tmp_path / "m", progress=False)
    b.add([Image.new("L", (9, 9), 5)], names=["shade"])
    later = grey(one / "sub0" / "0.png", 250)
    os.utime(later, ns=(2**62, 2**62))
    b.update(one, progress=False)
    a.merge(b)
    a.merge(b)
    assert len(a) == 5 and a.names.count("shade") == 1
    assert [os.path.basename(n) for n, _ in a.skipped] == ["no.txt"]
    row = a.vectors[a.names.index(str(later))]
    torch.testing.assert_close(row, model.embed_images([later])[0])
    a.save(tmp_path / "m" / "i")
    (tmp_path / "m").rename(tmp_path / "moved")
    hits = ImageIndex.load(tmp_path / "moved" / "i", model).search("x", 9)
    assert sum(h.path is not None and os.path.isfile(h.path) for h in hits) == 4
    other = ImageIndex(clip.load("scratch", "cpu"))
    other.model.fingerprint = "something else"
    with pytest.raises(ValueError, match="other index was made by"):
        a.merge(other)


def test_an_index_moves_with_its_pictures(tmp_path, model):
    folder = folder_of(tmp_path / "home" / "pictures", 3)
    index = ImageIndex.build(folder, model, progress=False)
    index.save(folder.parent / "i")
    (tmp_path / "home").rename(tmp_path / "disk")
    again = ImageIndex.load(tmp_path / "disk" / "i", model)
    assert all(os.path.isfile(path) for path in again.paths)
    assert str(again.update(again.base, progress=False)).startswith("0 new, 0 changed")
    (tmp_path / "disk" / "i.safetensors").rename(tmp_path / "alone.safetensors")
    where = tmp_path / "disk" / "pictures"
    again = ImageIndex.load(tmp_path / "alone", model, base=where)
    assert all(os.path.isfile(path) for path in again.paths)
    assert len(ImageIndex.load(tmp_path / "alone", model).search("x", 2)) == 2
    with pytest.raises(FileNotFoundError, match="no folder"):
        ImageIndex.load(tmp_path / "alone", model, base=tmp_path / "none")


def test_every_format_or_a_reason(tmp_path, model):
    # photoprism#3705, #4421, rclip#221: these were neither indexed nor skipped
    Image.init()
    picture, here = Image.new("RGB", (32, 32), "red"), tmp_path / "a"
    here.mkdir()
    written = []
    for suffix in (".jfif", ".jpe", ".avif", ".jp2", ".tga", ".ppm", ".qoi", ".ico"):
        if Image.EXTENSION.get(suffix) in Image.SAVE:
            try:
                picture.save(here / f"x{suffix}")
                written.append(f"x{suffix}")
            except (OSError, KeyError):  # this Pillow was built without it
                (here / f"x{suffix}").unlink(missing_ok=True)
    picture.save(here / "PNG without an ending", "PNG")
    (here / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (here / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    (here / "notes.txt").write_text("no picture")
    (here / "cut.png").write_bytes((here / "PNG without an ending").read_bytes()[:60])
    (here / "empty.png").touch()
    os.symlink(here / "nowhere", here / "dangling.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(here / "pipe.png")
    index = ImageIndex.build(here, model, progress=False)
    names = {os.path.basename(n) for n in index.names}
    assert names == {*written, "PNG without an ending"} and len(written) >= 5
    reasons = {os.path.basename(n): why for n, why in index.skipped}
    for name, why in {
        "x.eps": "PostScript", "x.heic": "pillow-heif|damaged|not a picture",
        "notes.txt": "not a picture", "cut.png": "cut short", "empty.png": "empty",
        "dangling.png": "no picture at", "pipe.png": "pipe",
    }.items():  # fmt: skip
        if name in os.listdir(here):
            assert re.search(why, reasons[name]), (name, reasons[name])


def test_search_takes_its_arguments_at_their_word(index, model, tmp_path, monkeypatch):
    # rclip#207: a score cut; a list of words was searched by its first only
    every = index.search("a cat", k=len(index))
    cut = every[4].score
    assert index.search("a cat", k=len(index), above=cut) == every[:5]
    assert index.search("a cat", k=3, above=cut) == every[:3]
    assert index.search("a cat", above=2) == []
    assert all(h.score >= cut for h in index.search("a cat", distinct=True, above=cut))
    for bad in ("high", float("nan")):
        with pytest.raises(ValueError, match="a cosine"):
            index.search("a cat", above=bad)
    for bad in (["a cat", "a dog"], 3):
        with pytest.raises(ValueError, match="is one text"):
            index.search(bad)
        with pytest.raises(ValueError, match="is one text"):
            index.search("a cat", minus=bad)
    with pytest.raises(ValueError, match="query is empty"):
        index.search("\u200b\u200f ")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path / "pets", 1)
    assert len(ImageIndex.build("~/pets", model, progress=False)) == 1
    index.save("~/i")
    assert (tmp_path / "i.safetensors").is_file()


def test_distinct_looks_further_when_too_many_are_the_same(model):
    rows = [Image.new("RGB", (9, 9), "red")] * 30 + [Image.effect_noise((64, 64), 90)]
    index = ImageIndex.build(rows, model, progress=False)
    hits = index.search(picture=rows[0], k=2, distinct=True)
    assert [h.place for h in hits][1:] == [30]


def test_a_target_that_cannot_be_written(index, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.safetensors").mkdir()
    for bad in (tmp_path / "file" / "i", tmp_path / "folder"):
        with pytest.raises(OSError, match="cannot be written") as caught:
            index.save(bad)
        assert "\n" not in str(caught.value)


ELSEWHERE = """
import sys, os
from helpers.search import ImageIndex
from helpers.tests.test_fuzz import Tiny
ImageIndex.build(sys.argv[1], Tiny(), progress=False).save(sys.argv[2])
print(sys.getfilesystemencoding())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="locales of Linux")
def test_an_index_made_under_another_locale(tmp_path):
    # LibrePhotos#125: a Persian name where the code page is not UTF-8
    from helpers.tests.test_fuzz import Tiny

    picture = grey(tmp_path / "a" / "سیب.png", 40)
    env = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    where = [str(tmp_path / "a"), str(tmp_path / "i")]
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *where],
        cwd=paths.ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-500:]
    assert "utf" not in ran.stdout
    assert ImageIndex.load(tmp_path / "i", Tiny()).paths == [str(picture)]


def test_what_is_no_index_no_model_no_path(tmp_path, model, index):
    # rclip's issues: arguments misread; "" indexed the whole working folder
    for act, says in (
        (lambda: ImageIndex.build("", model), "path is empty"),
        (lambda: ImageIndex(model).update("", False), "path is empty"),
        (lambda: ImageIndex(model).update(None, False), "A path is text"),
        (lambda: ImageIndex(model).update([tmp_path], False), "A path is text"),
        (lambda: ImageIndex.build([tmp_path], "pocket"), "ready CLIP, not str"),
        (lambda: ImageIndex.load("i", None), "no index file|ready CLIP"),
        (lambda: ImageIndex(model).merge(str(tmp_path)), "not str: read a saved"),
        (lambda: ImageIndex(model).merge(None), "not NoneType"),
        (lambda: ImageIndex(model, base=3), "A path is text"),
        (lambda: index.save(None), "A path is text"),
        (lambda: index.save(""), "path is empty"),
        (lambda: ImageIndex.load(3, model), "A path is text"),
        (lambda: index.search("a cat", kind=["exact"]), "no index kind"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
            act()
        assert "\n" not in str(caught.value)
    for name in (0, None, [3], tmp_path):
        with pytest.raises(KeyError, match="no picture named"):
            index.remove(name)
    for path in ("a\0b", tmp_path / ("n" * 300), "x" * 5000):
        with pytest.raises(OSError, match="cannot be written") as caught:
            index.save(path)
        assert len(str(caught.value)) < 500
        with pytest.raises(FileNotFoundError, match="no index file"):
            ImageIndex.load(path, model)


def test_what_scandir_gives_is_a_path(tmp_path, model):
    folder = folder_of(tmp_path / "a", 4)
    entries = sorted(os.scandir(folder / "sub0"), key=lambda e: e.name)
    index = ImageIndex.build(entries, model, progress=False)
    assert index.paths == [e.path for e in entries]
    assert index.update(folder / "sub0", progress=False).kept == len(entries)


@pytest.mark.parametrize(
    "more",
    [
        {"names": []},
        {"files": [1, 2]},
        {"keys": [None, None]},
        {"base": "x"},
        {"base": ["x"]},
        {"skipped": [["a", True]]},
        {"skipped": 3},
    ],
)
def test_a_card_edited_by_hand(tmp_path, model, more):
    # rclip#92: any file was trusted
    folder = folder_of(tmp_path / "a", 2)
    ImageIndex.build(folder, model, progress=False).save(tmp_path / "i")
    card, vectors = storage.read(tmp_path / "i")
    storage.write(tmp_path / "i", card | more, vectors)
    with pytest.raises(ValueError, match="damaged or was changed; build"):
        ImageIndex.load(tmp_path / "i", model)


def test_tensors_of_other_kinds(tmp_path):
    from safetensors.torch import save_file

    good = {"vectors": torch.ones(1, 4), "card": torch.tensor(list(b"{}")).byte()}
    for bad in (
        {"card": torch.tensor(list(b"{{")).byte()},
        {"card": torch.tensor(list(b"[1]")).byte()},
        {"vectors": torch.full((1, 4), float("nan"))},
        {"vectors": torch.ones(1, 4).bfloat16()},
    ):
        tensors = good | bad
        try:
            total = storage.checksum(tensors)
        except TypeError:
            total = "0"
        about = {"kind": "index", "format": "2", "sum": total}
        save_file(tensors, tmp_path / "i.safetensors", about)
        with pytest.raises(ValueError, match="damaged or was changed"):
            storage.read(tmp_path / "i")


def test_numbers_flags_and_names_are_what_they_should_be(index, model, tmp_path):
    # clip-retrieval#321, deforum#747: OverflowError, "None" as a name, "no" as True
    cat = Image.new("RGB", (8, 8), "red")
    for act, says in (
        (lambda: index.search("a cat", above=10**400), "a cosine"),
        (lambda: index.search("a cat", above=True), "a cosine"),
        (lambda: index.search("a cat", distinct="no"), "True or False"),
        (lambda: index.search("a cat", picture=cat, weight="0.5"), "from 0 to 1"),
        (lambda: index.twins(None), "a cosine"),
        (lambda: index.add([cat], replace="no"), "True or False"),
        (lambda: ImageIndex.build([cat], model, [None], False), "A name is text"),
        (lambda: ImageIndex.build([cat], model, [b"cat"], False), "A name is text"),
        (lambda: ImageIndex.build([cat], model, [["cat"]], False), "A name is text"),
        (lambda: ImageIndex.build([cat], model, b"cat", False), "A name is text"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            act()
        assert "\n" not in str(caught.value)
    for above in (torch.tensor(0.1), Fraction(1, 10)):
        assert index.search("a cat", above=above) == index.search("a cat", above=0.1)
    half = index.search("a cat", picture=cat, weight=Fraction(1, 2))
    assert half == index.search("a cat", picture=cat, weight=torch.tensor(0.5))
    with pytest.raises(OSError, match="cannot be written"):
        index.save(tmp_path / os.fsdecode(b"a\xff"))  # no load would open it
    with pytest.raises(OSError, match="cannot be written"):
        ImageIndex.build([cat], model, progress=False, resume=tmp_path / ("x" * 300))


@pytest.mark.parametrize("left", [(), (".DS_Store", "desktop.ini")])
def test_a_drive_that_is_not_there_empties_no_index(tmp_path, model, left):
    # a mount point without its drive is an empty folder
    there = folder_of(tmp_path / "drive")
    index = ImageIndex.build(there, model, progress=False)
    there.rename(tmp_path / "away")
    there.mkdir()
    for name in left:
        (there / name).write_text("x")
    names, vectors = list(index.names), index.vectors.clone()
    with pytest.raises(ValueError, match="none of its pictures .* drive"):
        index.update(there, progress=False)
    assert index.names == names and torch.equal(index.vectors, vectors)
    assert index.update(there, progress=False, emptied=True).gone == 5
    assert len(index) == 0
    (tmp_path / "away").rename(there) if not left else None
    index.update(tmp_path, progress=False)
    assert len(index) == 5


def test_an_only_picture_that_went_on_purpose(tmp_path, model):
    # rclip#92 the other way round: a folder that lost its only picture
    there = folder_of(tmp_path / "one")
    first, *others = sorted(path for path in there.rglob("*") if path.is_file())
    for path in others:
        path.unlink()
    index = ImageIndex.build(there, model, progress=False)
    first.unlink()
    with pytest.raises(
        ValueError, match=r"\(1\); if they went on purpose, emptied=True"
    ):
        index.update(there, progress=False)
    assert index.update(there, progress=False, emptied=True).gone == 1
    assert index.update(there, progress=False).gone == len(index) == 0


def test_a_link_to_a_drive_that_is_not_there_keeps_its_pictures(tmp_path, model):
    folder, drive = tmp_path / "pictures", folder_of(tmp_path / "drive")
    folder.mkdir()
    Image.new("RGB", (9, 9), "red").save(folder / "own.png")
    (folder / "usb").symlink_to(drive)
    index = ImageIndex.build(folder, model, progress=False)
    assert len(index) == 6
    drive.rename(tmp_path / "away")
    change = index.update(folder, progress=False)
    assert (change.gone, change.kept, len(index)) == (0, 6, 6)
    (row,) = index.skipped
    assert row[0] == str(folder / "usb") and "a link to nothing" in row[1]
    (tmp_path / "away").rename(drive)
    assert index.update(folder, progress=False).kept == 6 and not index.skipped


@pytest.mark.parametrize(
    ("names", "vectors", "says"),
    [
        (["a", "b"], torch.rand(1, 9), "1 vectors and 2 names"),
        (["a"], torch.rand(1, 5), "shape"),
        (["a"], torch.rand(9), "shape"),
        (["a"], torch.full((1, 9), float("nan")), "no numbers"),
        (None, torch.rand(1, 9), "list of texts"),
        (["a"], "x", "numbers in a tensor"),
    ],
)
def test_names_and_vectors_that_do_not_fit(names, vectors, says):
    class Nine:
        name = fingerprint = "nine"
        embed_images = None

        class model:  # noqa: N801
            class config:  # noqa: N801
                embed = 9

    with pytest.raises(ValueError, match=says):
        ImageIndex(Nine(), names, vectors)
    index = ImageIndex(Nine(), ["a"], torch.rand(1, 9).tolist())
    assert index.vectors.shape == (1, 9)
