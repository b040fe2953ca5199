"""The corpus as shipped, and every kind of broken picture or shard."""

import io
import json
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import corpus, paths, pictures
from helpers.corpus import dataset
from helpers.workshop.corpus import build, concepts

PERMISSIVE = {
    "Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-3.0", "public domain",
}  # fmt: skip


def cards(split):
    rows = [r for path in dataset.shards(split) for r in dataset.read_shard(path)]
    return [card for card, _ in rows]


@pytest.mark.slow
def test_train_holds_permissive_licences_only():
    assert {c["licence"] for c in cards("train")} <= PERMISSIVE


@pytest.mark.slow
def test_splits_do_not_touch():
    train, unseen = cards("train"), cards("unseen_concept")
    hidden = {c["concept"] for c in unseen}
    assert not hidden & {c["concept"] for c in train}
    assert not {c["family"] for c in unseen} & {c["family"] for c in train}
    assert not {c["name"].lower() for c in unseen} & {c["name"].lower() for c in train}
    assert {c["source"] for c in cards("unseen_artist")} == {"openmoji"}
    assert all(c["source"] != "openmoji" for c in train)
    assert {c["source"] for c in cards("photos")} == {"tuxpaint", "gcompris", "skimage"}


def test_manifest_counts_and_budget():
    manifest = json.loads((paths.CORPUS / "manifest.json").read_text())
    sizes = [row[1] for row in manifest["shards"].values()]
    assert sum(sizes) < 40e6
    for split in dataset.SPLITS:
        rows = [
            v[0] for k, v in manifest["shards"].items() if k.startswith(split + "-")
        ]
        assert sum(rows) == sum(manifest["pictures"][split].values())
    assert all(
        (paths.CORPUS / k).stat().st_size == v[1] for k, v in manifest["shards"].items()
    )


def test_dataset_item_and_selection():
    split = corpus.load("photos", progress=False)
    picture, caption = split[0]
    assert picture.shape == (3, 128, 128) and picture.dtype == torch.uint8
    assert isinstance(caption, str)
    assert split.pictures([]).shape == (0, 3, 128, 128)
    cats = split.select(lambda c: c.get("fine") == "cat")
    assert 0 < len(cats) < len(split)


def test_white_background_is_exact():
    rgba = torch.zeros(1, 4, 1, 3, dtype=torch.uint8)
    rgba[0, :, 0, 0] = torch.tensor([10, 20, 30, 255])
    rgba[0, :, 0, 1] = torch.tensor([10, 20, 30, 0])
    rgba[0, :, 0, 2] = torch.tensor([0, 100, 200, 51])
    out = pictures.on_background(rgba)[0, :, 0].T.tolist()
    assert out[0] == [10, 20, 30] and out[1] == [255, 255, 255]
    assert out[2] == [204, 224, 244]


def test_captions_vary_and_silhouettes_say_so():
    card = {"name": "duck", "style": "black silhouette icon", "source": "gameicons"}
    rng = random.Random(0)
    assert all("silhouette" in corpus.caption(card, rng) for _ in range(20))
    card = {"name": "apple", "style": "emoji", "source": "noto", "name_fa": "سیب"}
    seen = {corpus.caption(card, rng) for _ in range(60)}
    assert {"apple", "an apple", "سیب"} <= seen


def as_bytes(image, kind="PNG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1"])
def test_modes_become_rgb(mode):
    image = Image.new("RGB", (20, 10), (200, 30, 30)).convert(mode)
    out = pictures.read_picture(as_bytes(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert out.mode == "RGB" and out.size == (20, 10)


def test_sixteen_bit_grey_keeps_its_range():
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    out = np.asarray(pictures.read_picture(as_bytes(Image.fromarray(values))))
    assert out.min() == 0 and out.max() >= 254 and 120 < out.mean() < 135


def test_transparent_is_white_and_animation_gives_its_first_frame():
    clear = pictures.read_picture(as_bytes(Image.new("RGBA", (4, 4), (255, 0, 0, 0))))
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    red, blue = (Image.new("RGB", (8, 8), c) for c in ("red", "blue"))
    raw = as_bytes(red, "GIF", save_all=True, append_images=[blue])
    assert pictures.read_picture(raw).getpixel((0, 0))[0] > 250


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = as_bytes(Image.new("RGB", (30, 10)), "JPEG", exif=exif)
    assert pictures.read_picture(raw).size == (10, 30)


@pytest.mark.parametrize(
    "raw, says",
    [
        (b"", "empty"),
        (b"hello, no picture", "not a picture"),
        (as_bytes(Image.effect_noise((64, 64), 90))[:900], "damaged or cut short"),
        (3, "must be a path, .* not int"),
        (None, "not NoneType"),
        ("/no/such/file.png", "no picture at"),
    ],
)
def test_bad_pictures_get_one_sentence(raw, says):
    with pytest.raises(ValueError, match=says) as caught:
        pictures.read_picture(raw)
    assert "\n" not in str(caught.value)


def test_decompression_bomb(monkeypatch):
    raw = as_bytes(Image.new("1", (9000, 9000)))
    with pytest.raises(ValueError, match="pixels, more than"):
        pictures.read_picture(raw)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="too large"):
        pictures.read_picture(raw)


@pytest.mark.parametrize("damage", ["cut", "missing", "noise"])
def test_damaged_shard(tmp_path, damage):
    shutil.copytree(paths.CORPUS, tmp_path / "corpus")
    path = tmp_path / "corpus" / "photos-0000.tar.gz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500_000])
    elif damage == "noise":
        path.write_bytes(b"not a shard at all")
    else:
        path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="photos-0000"):
        corpus.load("photos", tmp_path / "corpus", progress=False)


def test_unknown_split_and_missing_corpus(tmp_path):
    with pytest.raises(ValueError, match='no split "test"'):
        corpus.load("test")
    with pytest.raises(FileNotFoundError, match="manifest.json is missing"):
        corpus.load("train", tmp_path)


def test_family_and_code():
    assert concepts.code("1F468-200D-1F680") == "1f468-200d-1f680"
    assert concepts.family("1f468-200d-1f680") == concepts.family("1f9d1-200d-1f680")
    assert concepts.family("1f3c3-200d-2640") == "1f3c3"
    assert concepts.family("1f431") != concepts.family("1f436")


def test_near_duplicates_by_definition():
    a = np.random.default_rng(0).random((5, 48), dtype=np.float32)
    b = np.stack([a[1] + 0.01, a[3] + 0.2])
    assert build.near(a, b).tolist() == [False, True, False, False, False]


def test_photos_dev_is_a_third_of_each_class_and_always_the_same():
    dev, test = corpus.photos_parts(size=16, progress=False)
    again, _ = corpus.photos_parts(size=16, progress=False)
    ids = [{c["id"] for c in part.cards} for part in (dev, test)]
    assert [c["id"] for c in again.cards] == [c["id"] for c in dev.cards]
    assert not ids[0] & ids[1]
    split = corpus.load("photos", size=16, progress=False)
    assert len(dev) + len(test) == len(split)
    assert abs(len(dev) - len(split) / 3) <= 1
    for name in {c["fine"] for c in split.cards if c.get("fine")}:
        many = [sum(c.get("fine") == name for c in s.cards) for s in (dev, split)]
        assert abs(many[0] - many[1] / 3) < 1


def test_one_kind_of_thing():
    cats = corpus.kind("cat", size=16)
    names = [card["name"] for card in cats.cards]
    assert {"cat", "black cat", "two cats"} <= set(names)
    assert not any("category" in n or "caterpillar" in n for n in names)
    assert cats.rgba.shape == (len(names), 4, 16, 16)
    assert all(card["author"] and card["licence"] for card in cats.cards)
    for nothing in ("c.t", "", " "):  # no pattern, and no word
        with pytest.raises(ValueError, match="No picture of the corpus"):
            corpus.kind(nothing, size=16)


def test_some_cards_are_loaded_without_the_others(monkeypatch):
    def mammal(card):
        return card.get("coarse") == "mammal"

    monkeypatch.setattr(dataset, "_loaded", {})
    some = corpus.load("photos", size=32, progress=False, keep=mammal)
    assert dataset._loaded == {} and 0 < len(some) < 200
    whole = corpus.load("photos", size=32, progress=False)
    again = corpus.load("photos", size=32, progress=False, keep=mammal)
    for part in (whole.select(mammal), again):
        assert part.cards == some.cards and torch.equal(part.rgba, some.rgba)
    nothing = corpus.load("photos", size=32, progress=False, keep=lambda card: False)
    assert len(nothing) == 0 and nothing.pictures().shape == (0, 3, 32, 32)


def test_places_sizes_and_words_that_make_no_sense(tmp_path):
    few = dataset.Corpus([{"name": "a"}, {"name": "b"}], torch.zeros(2, 4, 8, 8).byte())
    assert few[-1][1] == "b" and [name for _, name in few] == ["a", "b"]
    for bad in (2, -3, "x", 1.5, None, slice(2)):
        with pytest.raises(IndexError, match="no picture"):
            few[bad]
    for bad in (0, -1, 1.5, "x", None):
        with pytest.raises(ValueError, match="size"):
            corpus.load("photos", size=bad)
        with pytest.raises(ValueError, match="size"):
            corpus.kind("panda", size=bad)
    for bad in (None, 3):
        with pytest.raises(ValueError, match="is a word"):
            corpus.kind(bad)
        with pytest.raises(ValueError, match="no split"):
            corpus.load(bad)
    for text in ("x", "{}", "[]", '{"shards": 3}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="manifest.json makes no sense"):
            corpus.load("photos", tmp_path)
