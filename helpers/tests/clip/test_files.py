"""Weights files: what is shipped loads, what is broken says so in one sentence."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import clip, download, paths, weights

SHIPPED = {"pocket": 25 * 10**6, "scratch": 12 * 2**20}  # bytes at most


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models(name):
    ready = clip.load(name, "cpu")
    assert (paths.MODELS / f"{name}.safetensors").stat().st_size <= SHIPPED[name]
    for key in ("data", "seed", "steps", "minutes", "machine", "figures"):
        assert key in ready.card, key
    size = ready.model.config.embed
    assert ready.embed_images([]).shape == (0, size)
    assert ready.embed_texts([]).shape == (0, size)
    one = ready.embed_images([paths.PHOTOS / "cat.jpg"])
    assert one.shape == (1, size) and one.norm() == pytest.approx(1, abs=1e-4)
    assert name in repr(ready)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (5000, 3), (640, 480)])
def test_any_size_is_prepared(size):
    ready = clip.load("scratch", "cpu")
    x = ready.preprocess(Image.new("RGB", size, "red"))
    side = ready.model.config.image_size
    assert x.shape == (3, side, side) and 0 <= x.min() and x.max() <= 1


def test_bad_pictures_and_texts_reach_the_user_as_sentences():
    ready = clip.load("scratch", "cpu")
    with pytest.raises(ValueError, match="not a picture"):
        ready.embed_images([b"nonsense"])
    with pytest.raises(TypeError, match="number 1 is not a string"):
        ready.embed_texts(["ok", None])
    with pytest.raises(TypeError, match="NoneType"):
        ready.embed_texts(None)


def test_unknown_name():
    with pytest.raises(ValueError, match="choose from .*pocket"):
        clip.load("huge")


@pytest.fixture
def copy(tmp_path):
    for name in ("scratch.safetensors", "hashes.json"):
        shutil.copy(paths.MODELS / name, tmp_path / name)
    return tmp_path / "scratch.safetensors"


def test_cut_short_is_noticed_by_hash(copy):
    copy.write_bytes(copy.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="sha256 is not the recorded one"):
        clip.load(str(copy))


def test_cut_short_without_a_recorded_hash(copy):
    (copy.parent / "hashes.json").unlink()
    copy.write_bytes(copy.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="damaged or cut short"):
        clip.load(str(copy))


def test_wrong_model(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path, {"kind": "vqgan"})
    with pytest.raises(ValueError, match="holds vqgan, not a clip"):
        clip.load(str(path))


def test_names_that_do_not_fit(copy, tmp_path):
    tensors, metadata = weights.read(copy, "clip")
    tensors.pop("ln_final.weight")
    path = tmp_path / "less.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="does not fit.*ln_final.weight"):
        clip.load(str(path))


def test_read_only_cache(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(blocked / "cache"))
    with pytest.raises(PermissionError, match="cannot be written"):
        paths.cache()


def test_hashes_are_recorded():
    table = json.loads((paths.MODELS / "hashes.json").read_text())
    for path in paths.MODELS.glob("*.safetensors"):
        assert table[path.name] == download.sha256(path)
