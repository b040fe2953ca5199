"""The search index: against plain cosines, on bad folders and bad files."""

import os

import pytest
import torch
from PIL import Image

from helpers import clip, corpus, search
from helpers.search import ImageIndex
from helpers.search import index as module


@pytest.fixture(scope="module")
def model():
    return clip.load("scratch", "cpu")


@pytest.fixture(scope="module")
def index(model):
    split = corpus.load("photos", size=64, progress=False)
    return ImageIndex.build(split, model, progress=False)


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
    (folder / "notes.txt").write_text("skip me")
    os.symlink(folder, folder / "sub0" / "loop")
    index = ImageIndex.build(folder, model, progress=False)
    assert len(index) == 5 and [n.endswith("bad.jpg") for n, _ in index.skipped] == [
        True
    ]
    index.add([Image.new("RGB", (9, 9), "blue")], names=["blue"])
    index.add([Image.new("RGB", (9, 9), "navy")], names=["blue"])
    assert len(index) == 6 and index.names[-1] == "blue"
    index.remove([index.names[0]])
    index.save(tmp_path / "index")
    again = ImageIndex.load(tmp_path / "index.json", model)
    assert again.names == index.names and torch.equal(again.vectors, index.vectors)
    assert [h.name for h in again.search("x", 2)] == [
        h.name for h in index.search("x", 2)
    ]
    with pytest.raises(KeyError, match="no picture named"):
        index.remove(["nobody"])


def test_an_interrupted_build_goes_on(tmp_path, model, monkeypatch):
    folder = folder_of(tmp_path / "a", 6)
    monkeypatch.setattr(module, "CHUNK", 2)
    real, calls = module.embed_files, []

    def stops(rows, model):
        calls.append(len(rows))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(rows, model)

    monkeypatch.setattr(module, "embed_files", stops)
    with pytest.raises(KeyboardInterrupt):
        ImageIndex.build(folder, model, progress=False, resume=tmp_path / "part")
    index = ImageIndex.build(folder, model, progress=False, resume=tmp_path / "part")
    assert len(calls) == 4, "the first four pictures are not embedded again"
    whole = ImageIndex.build(folder, model, progress=False)
    assert torch.equal(index.vectors, whole.vectors) and index.names == whole.names
    assert not (tmp_path / "part.json").exists()


def test_bad_index_files(tmp_path, model, index):
    with pytest.raises(FileNotFoundError, match="no index file"):
        ImageIndex.load(tmp_path / "none", model)
    index.save(tmp_path / "i")
    file, card = tmp_path / "i.safetensors", tmp_path / "i.json"
    with pytest.raises(ValueError, match="made by scratch"):
        other = clip.load("scratch", "cpu")
        other.name, other.fingerprint = "pocket", "something else"
        ImageIndex.load(tmp_path / "i", other)
    text = card.read_text()
    card.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="format 99"):
        ImageIndex.load(tmp_path / "i", model)
    card.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="damaged or cut short"):
        ImageIndex.load(tmp_path / "i", model)
    card.write_text(text)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged or cut short"):
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
    with pytest.raises(ValueError, match="give 0 to 1"):
        index.search("cat", weight=3)
    with pytest.raises(ValueError, match="no index kind"):
        index.search("cat", kind="magic")
    with pytest.raises(ValueError, match="index is empty"):
        ImageIndex(model, [], torch.empty(0, 192)).search("cat")
