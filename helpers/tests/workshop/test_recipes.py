"""Recipes: found by name, alike in their arguments, silent without ``out``."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch

from helpers import weights
from helpers.workshop import run, train
from helpers.workshop.recipes import gan


@pytest.mark.parametrize("name", train.names())
def test_every_recipe_has_the_same_face(name):
    recipe = import_module(f"helpers.workshop.recipes.{name}")
    known = inspect.signature(recipe.train).parameters
    for argument in ("steps", "seed", "out", "device"):
        assert argument in known, f"{name}.train has no {argument}"
    assert known["out"].default is None and isinstance(known["steps"].default, int)
    assert ("resume" in known) != ("seconds" in known)  # a CPU's night, a GPU's minutes
    assert "resume" not in known or known["resume"].default is True
    assert "compiled" not in known
    assert recipe.FILE.endswith(".safetensors")


def test_the_command_finds_a_recipe_and_hands_it_all(monkeypatch, tmp_path):
    got = {}
    monkeypatch.setattr(gan, "train", lambda **more: got.update(more))
    words = "train gan --steps 3 --seed 5 --device cpu --fresh --out".split()
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path / "x.safetensors")])
    train.main()
    assert got == {
        "steps": 3,
        "seed": 5,
        "resume": False,
        "out": tmp_path / "x.safetensors",
        "device": torch.device("cpu"),
    }


def test_what_a_recipe_takes_besides_is_an_option(monkeypatch, tmp_path):
    got = {}

    def fake(steps=1, seconds=None, seed=3, out=None, device="cpu", batch: int = 2,
             init: Path | None = None, smoke: bool = False, split=None):  # fmt: skip
        got.update(seconds=seconds, seed=seed, batch=batch, init=init, smoke=smoke)

    monkeypatch.setattr(gan, "train", fake)
    (tmp_path / "a.safetensors").touch()
    words = "train gan --seconds 2.5 --seed 0 --batch 7 --smoke --device cpu --init"
    monkeypatch.setattr("sys.argv", [*words.split(), str(tmp_path / "a.safetensors")])
    train.main()
    assert got == {"seconds": 2.5, "seed": 0, "batch": 7, "smoke": True,
                   "init": tmp_path / "a.safetensors"}  # fmt: skip
    assert "split" not in train.options(fake)
    monkeypatch.setattr("sys.argv", "train gan --fresh --device cpu".split())
    with pytest.raises(SystemExit):
        train.main()


@pytest.mark.slow
@pytest.mark.parametrize("out", [None, "gan.safetensors"])
def test_a_file_is_written_where_out_says_and_nowhere_else(monkeypatch, tmp_path, out):
    faces = torch.rand(20, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(gan, "faces", lambda: faces * 2 - 1)
    monkeypatch.setattr(gan, "WORK", tmp_path / "work")
    written, save = [], weights.save
    monkeypatch.setattr(weights, "save", lambda path, *a: written.append(path))
    path = tmp_path / out if out else None
    model = gan.train(steps=1, out=path, batch=2)
    assert written == ([path] if out else []) and not model.training
    if out:
        monkeypatch.setattr(weights, "save", save)


def test_a_card_names_the_machine():
    assert run.machine("cpu").startswith("CPU, ")


@pytest.mark.parametrize("quick", [True, False])
def test_half_is_used_where_it_is_quick(monkeypatch, quick):
    monkeypatch.setattr(
        torch.cpu, "_is_avx512_bf16_supported", lambda: quick, raising=False
    )
    with run.half("cpu"):
        x = torch.ones(2, 2) @ torch.ones(2, 2)
    assert x.dtype == (torch.bfloat16 if quick else torch.float32)
