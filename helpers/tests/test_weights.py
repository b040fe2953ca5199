"""Files of ours: what they note about themselves, and where they may be written."""

import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from helpers import clip, paths, vqgan, weights
from helpers.clip import files, tune
from helpers.clip.model import CLIP, Config
from helpers.clip.tokenizer import Tokenizer
from helpers.dream import files as drawn
from helpers.vqgan import gan

SMALL = Config(
    vision="vit", stem="patch", image_size=8, patch=4, width=8, layers=1, heads=1,
    embed=8, context=8, vocab=514, text_width=8, text_layers=1, text_heads=1,
)  # fmt: skip


@pytest.fixture
def small(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    files.save_clip(path, CLIP(SMALL), Tokenizer([], 8), {})
    assert clip.load(path, "cpu").card == {}
    return path


def changed(path, tensors=None, **notes):
    """The same file with other tensors or notes, and no recorded hash."""
    mine, metadata = weights.read(path, "clip")
    metadata = {k: v for k, v in {**metadata, **notes}.items() if v is not None}
    out = path.with_name("other.safetensors")
    save_file(mine | (tensors or {}), out, metadata)
    return out


@pytest.mark.parametrize("name", ["config", "card", "tokenizer"])
@pytest.mark.parametrize("note", [None, "", "{", "[]", "3", "null", "[" * 10**5])
def test_notes_that_are_missing_or_damaged(small, name, note):
    # CLIP's reports of files cut or made by other programs: KeyError, JSONDecodeError
    with pytest.raises(ValueError, match=f"its {name} is missing or") as caught:
        clip.load(changed(small, **{name: note}), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sizes",
    [
        {"who": 1},
        {"width": "x"},
        {"patch": 0},
        {"layers": []},
        {"heads": 3},
        {"text_heads": 0},
        {"heads": -1},
        {"heads": "1"},
    ],  # fmt: skip
)
def test_sizes_of_no_such_model(small, sizes):
    note = json.loads(weights.read(small, "clip")[1]["config"]) | sizes
    with pytest.raises(ValueError, match="sizes|does not fit"):
        clip.load(changed(small, config=json.dumps(note)), "cpu")


def test_other_rooms_read_their_notes_alike(tmp_path):
    for kind, load in (("vqgan", vqgan.load), ("gan", gan.load)):
        path = tmp_path / f"{kind}.safetensors"
        save_file({"a": torch.ones(1)}, path, {"kind": kind})
        with pytest.raises(ValueError, match="its config is missing"):
            load(path, "cpu")


def test_packed_and_broken_numbers_are_refused(small):
    # int8 files of quantised models were cast to floats, without a word
    name = next(k for k in weights.read(small, "clip")[0] if k.endswith("weight"))
    value = weights.read(small, "clip")[0][name]
    for bad, says in (
        ((value * 100).to(torch.int8), "was packed"),
        (value * float("nan"), "NaN or infinity"),
        (value.double() / 0, "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=says):
            clip.load(changed(small, {name: bad}), "cpu")
    for good in (value.double(), value.bfloat16()):
        assert clip.load(changed(small, {name: good}), "cpu")


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "\xff", ""])
def test_a_table_of_hashes_that_is_none(small, text):
    (small.parent / "hashes.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="hashes.json is damaged, or not ours"):
        clip.load(small, "cpu")
    with pytest.raises(ValueError, match="hashes.json is damaged, or not ours"):
        weights.check_writable(small)
    assert (small.parent / "hashes.json").read_bytes() == text.encode("latin-1")


def test_where_nothing_can_be_written(tmp_path):
    # LibrePhotos, nerdyrodent#67: raw errors, and only after the work
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    for path in (
        tmp_path / "file" / "a.safetensors",
        tmp_path / "folder.safetensors",
        tmp_path / ("n" * 300) / "a.safetensors",
    ):
        for act in (
            weights.check_writable,
            lambda p: weights.save(p, {"a": torch.ones(1)}, {}),
        ):
            with pytest.raises(PermissionError, match="cannot be written") as caught:
                act(path)
            assert "\n" not in str(caught.value)


def test_a_download_beside_it_is_left_alone(tmp_path):
    (tmp_path / "a.part").write_text("half of a download")
    weights.save(tmp_path / "a.safetensors", {"a": torch.ones(1)}, {})
    assert (tmp_path / "a.part").read_text() == "half of a download"
    assert {p.name for p in tmp_path.iterdir()} == {
        "a.part", "a.safetensors", "hashes.json",
    }  # fmt: skip


def test_home_is_known_at_every_door(small, tmp_path, monkeypatch):
    # rclip: "~" was a folder of that name
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert clip.load("~/small.safetensors", "cpu").name == "small"
    for act, says in (
        (lambda: clip.load("~/none.safetensors"), "none.safetensors"),
        (lambda: clip.load("ViT-B/32", "cpu", "~/none.pt"), "none.pt"),
        (lambda: vqgan.load("imagenet-f16-1024", "cpu", "~/none.ckpt"), "none.ckpt"),
        (lambda: tune.read_pairs("~/pairs"), "captions.csv"),
        (lambda: drawn.settings_of("~/none.png"), "none.png"),
    ):
        with pytest.raises(FileNotFoundError, match=says) as caught:
            act()
        assert str(tmp_path) in str(caught.value)
    assert drawn.write("~/new/a.txt", b"x") == tmp_path / "new" / "a.txt"


@pytest.mark.parametrize("bad", [None, 3, True, b"a", ["a"], "", "  "])
def test_what_is_no_path(bad):
    for act in (
        paths.given,
        lambda p: clip.load(p, "cpu"),
        lambda p: vqgan.load(p, "cpu"),
        lambda p: tune.read_pairs(p),
        lambda p: drawn.settings_of(p),
        lambda p: drawn.write(p, b""),
    ):
        with pytest.raises(ValueError, match="path is") as caught:
            act(bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Pocket", "pocket"),
        ("ViT-B-32", "ViT-B/32"),
        ("vit-b/32", "ViT-B/32"),
        ("RN50x4-quickgelu", "RN50x4"),
        ("ViT-L/14@336", "ViT-L/14"),
    ],
)
def test_a_name_in_another_spelling_is_understood(typed, meant):
    # the names of open_clip and of people
    with pytest.raises(ValueError, match=f'perhaps you mean "{meant}"'):
        clip.load(typed, "cpu")


def test_weights_in_a_folder_that_is_read_only(tmp_path, monkeypatch):
    # a school's shared cache, and Colab's Drive: nobody may write, all may read
    from helpers import download

    one = download.Source("https://nowhere.invalid/a.bin", None)
    (tmp_path / "a.bin").write_bytes(b"abc")
    monkeypatch.setenv(paths.CACHE, str(tmp_path))

    def refuse():
        raise PermissionError("nobody may write here")

    monkeypatch.setattr(paths, "cache", refuse)
    assert download.fetch([one]) == tmp_path / "a.bin"
    monkeypatch.setenv(paths.CACHE, os.fspath(tmp_path / "none"))
    with pytest.raises(PermissionError):
        download.fetch([one])


@pytest.mark.parametrize("kind", ["clip", "vqgan", "dalle1", "unclip"])
def test_a_harmed_file_of_ours_is_called_harmed_and_not_unknown(
    monkeypatch, tmp_path, kind
):
    # OmniParser#34 (a pointer of git-lfs): "there is no CLIP called pocket" beside it
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    path = tmp_path / f"{weights.start_of(kind)}pocket.safetensors"
    for raw in (b"", b"version https://git-lfs.github.com/spec/v1", b"<html>"):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="damaged or cut short"):
            weights.read(weights.find(kind, "pocket"), kind)


@pytest.mark.parametrize("name", ["a\nb", "n" * 3000, "\x1b[31m"])
def test_odd_names_in_a_file_stay_on_one_line(small, name):
    # weights_faults.md 10; a name of a tensor is anything that a stranger typed
    path = changed(small, {name: torch.zeros(1)})
    with pytest.raises(ValueError, match="does not fit") as caught:
        clip.load(path, "cpu")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_words_that_are_missing_are_noticed(tmp_path):
    # fewer merges gave other tokens for the same text, without a word
    torch.manual_seed(0)
    learnt = Tokenizer([("a", "b"), ("c", "d</w>")], 8)
    path = tmp_path / "small.safetensors"
    files.save_clip(path, CLIP(replace(SMALL, vocab=516)), learnt, {})
    assert clip.load(path, "cpu").tokenizer.merges == learnt.merges
    rows = files.merge_ids(learnt).int()
    for merges in (rows[:1], torch.cat([rows, rows])):
        with pytest.raises(ValueError, match="its tokenizer has 51"):
            clip.load(changed(path, {"tokenizer.merges": merges}), "cpu")


def test_sizes_beyond_all_memory_are_refused_before_they_take_it(small):
    sizes = json.loads(weights.read(small, "clip")[1]["config"])
    harm = json.dumps(sizes | {"width": 2**14, "layers": 40})
    with pytest.raises(ValueError, match="sizes that no such model"):
        clip.load(changed(small, config=harm), "cpu")


@pytest.mark.skipif(not hasattr(torch, "float8_e4m3fn"), reason="an old torch")
def test_floats_of_eight_bits_are_floats(small):
    mine, _ = weights.read(small, "clip")
    key = next(k for k, v in mine.items() if v.is_floating_point())
    eight = mine[key].to(torch.float8_e4m3fn)
    model = clip.load(changed(small, {key: eight}), "cpu")
    assert model.model.state_dict()[key].dtype == torch.float32
