"""Loading a CLIP by name: what does not go together is one sentence."""

import pytest
import torch

from helpers import clip, vqgan
from helpers.clip import official
from helpers.device import pick_device


def test_a_file_with_a_name_of_ours_is_refused(tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match='"pocket" is a CLIP of ours') as error:
        clip.load("pocket", file=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ViT-B-32.pt", "ViT-B/32"),
        ("ViT-L-14-336px.pt", "ViT-L/14@336px"),
        ("RN50x4.pt", "RN50x4"),
        ("my weights.bin", "ViT-B/32"),
    ],
)
def test_a_path_to_official_weights_says_how_to_load_it(tmp_path, file, name):
    path = tmp_path / file
    with pytest.raises(FileNotFoundError, match="There is no weights file"):
        clip.load(str(path))
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError) as error:
        clip.load(str(path))
    assert f'load("{name}", file="{path}")' in str(error.value)


@pytest.mark.parametrize("load", [clip.load, vqgan.load, lambda device: pick(device)])
def test_a_device_that_is_not_there_is_one_sentence(load):
    if not torch.cuda.is_available():
        for device in ("cuda", "cuda:1", torch.device("cuda")):
            with pytest.raises(RuntimeError, match='machine has no "cuda'):
                load(device=device)
    for device in ("gpu", "cuda:x"):
        with pytest.raises(RuntimeError, match="is no device") as error:
            load(device=device)
        assert "\n" not in str(error.value)


def pick(device):
    return pick_device(device)


@pytest.mark.parametrize("name", official.OFFICIAL)
def test_a_mirror_holds_the_same_file(name):
    sources = official.OFFICIAL[name].sources
    hashes = {s.sha256 for s in sources}
    assert len(sources) == 1 or (len(hashes) == 1 and None not in hashes)
    assert not any("laion2b_e16" in s.url for s in sources)


@pytest.mark.parametrize(
    "value",
    [
        [torch.ones(2)],
        torch.ones(2),
        torch.nn.Linear(2, 2),
        {"m": {"a": torch.ones(1)}},
    ],
)
def test_files_that_hold_no_table_of_weights_are_one_sentence(tmp_path, value):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="^a.pt holds") as error:
        clip.load("ViT-B/32", "cpu", tmp_path / "a.pt")
    assert "\n" not in str(error.value)
