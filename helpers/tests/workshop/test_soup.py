"""The mean of trainings is the mean, and of strangers there is none."""

import json

import pytest
import torch

from helpers import weights
from helpers.workshop import soup


def write(path, value: float, words=(1, 2), config="{}", kind="dalle1", more=None):
    tensors = {"w": torch.full((2, 3), value).half(), "ids": torch.tensor(words)}
    card = json.dumps({"seed": int(value)})
    data = {"kind": kind, "config": config, "card": card}
    weights.save(path, tensors | (more or {}), data)
    return path


def test_the_mean_of_two_and_of_three(tmp_path):
    files = [write(tmp_path / f"{n}.safetensors", v) for n, v in enumerate((1, 2, 6))]
    for count, want in ((2, 1.5), (3, 3.0)):
        out = soup.soup(tmp_path / "out.safetensors", files[:count])
        tensors, metadata = weights.read(out, "dalle1")
        assert torch.equal(tensors["w"], torch.full((2, 3), want).half())
        assert tensors["ids"].tolist() == [1, 2]
        card = json.loads(metadata["card"])
        assert len(card["soup"]) == count and card["seed"] == (1, 2, 6)[count - 1]


def test_counters_of_batches_are_no_words(tmp_path):
    files = []
    for n, count in enumerate((7, 30)):
        counter = {"bn.num_batches_tracked": torch.tensor(count)}
        files.append(write(tmp_path / f"{n}.safetensors", n, more=counter))
    out = soup.soup(tmp_path / "out.safetensors", files)
    tensors, _ = weights.read(out, "dalle1")
    assert torch.equal(tensors["w"], torch.full((2, 3), 0.5).half())
    assert int(tensors["bn.num_batches_tracked"]) in (7, 30)


def test_strangers_have_no_mean(tmp_path, monkeypatch, capsys):
    one = write(tmp_path / "one.safetensors", 1)
    others = {
        "two files": None,
        "reads other words": write(tmp_path / "a.safetensors", 2, words=(1, 3)),
        "of other sizes": write(tmp_path / "b.safetensors", 2, config='{"width": 2}'),
        "other sizes": write(
            tmp_path / "c.safetensors", 2, more={"v": torch.zeros(1).half()}
        ),
        "holds clip": write(tmp_path / "d.safetensors", 2, kind="clip"),
    }
    for says, other in others.items():
        with pytest.raises(ValueError, match=says):
            soup.soup(tmp_path / "out.safetensors", [one, *([other] if other else [])])
    with pytest.raises(FileNotFoundError, match="no weights file"):
        soup.soup(tmp_path / "out.safetensors", [one, tmp_path / "none.safetensors"])
    assert not (tmp_path / "out.safetensors").exists()
    monkeypatch.setattr("sys.argv", ["soup", str(tmp_path / "out"), str(one)])
    with pytest.raises(SystemExit) as stop:
        soup.main()
    assert stop.value.code == 1 and "two files" in capsys.readouterr().err
