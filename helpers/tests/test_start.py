"""The first cell's work in Colab, which is pretended: libraries, weights on Drive."""

import os
import subprocess
import sys
import types
from importlib import metadata

import pytest

from helpers import device, paths, start


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A Colab without Drive, where everything is installed; pip only writes down."""
    asked: list = []

    def run(command, **kwargs):
        limits = open(command[command.index("-c") + 1], encoding="utf-8").read()
        asked.append((command[command.index("-c") + 2 :], limits.split()))
        return types.SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setenv(device.THREADS, "1")
    monkeypatch.delenv(paths.CACHE, raising=False)
    monkeypatch.setattr(start, "DRIVE", tmp_path / "no drive")
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def without(monkeypatch, **versions):
    """Change what is installed: name to version, "" for not at all."""
    real = metadata.version

    def version(name):
        if versions.get(name.replace("-", "_")) == "":
            raise metadata.PackageNotFoundError(name)
        return versions.get(name.replace("-", "_")) or real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_nothing_is_installed_where_nothing_is_missing(colab, capsys):
    start.start()
    assert colab == [] and capsys.readouterr().out == ""


def test_only_what_is_missing_is_installed(colab, monkeypatch, capsys):
    without(monkeypatch, ftfy="", faiss_cpu="", torch="2.11.0+cu128")
    start.start()
    [(lines, held)] = colab
    assert [line.split(">=")[0] for line in lines] == ["ftfy", "faiss-cpu"]
    assert "torch==2.11.0+cu128" in held  # what must not change
    assert capsys.readouterr().out.startswith("Installing ftfy>=")


def test_what_is_too_old_is_installed_anew(colab, monkeypatch):
    without(monkeypatch, timm="0.9.16", regex="2099.1.1", tqdm="5.0.0rc1")
    start.start()
    assert [line.split(">=")[0] for line in colab[0][0]] == ["timm"]


def test_never_torch_and_never_what_only_tests_need(colab, monkeypatch):
    gone = "torch torchvision numpy pillow ipywidgets jupyterlab nbval pytest ruff"
    without(monkeypatch, **dict.fromkeys(gone.split(), ""), hypothesis="")
    start.start()
    assert colab == []


def test_outside_colab_nothing_is_installed(colab, monkeypatch):
    without(monkeypatch, ftfy="")
    monkeypatch.delitem(sys.modules, "google.colab")
    start.start()
    assert colab == []


def test_a_failure_of_pip_is_one_sentence(monkeypatch):
    failed = types.SimpleNamespace(returncode=1, stderr="noise\nERROR: no network\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(
        RuntimeError, match="ftfy>=6 .ERROR: no network.; check the net"
    ):
        start.install(["ftfy>=6"])


def test_weights_go_to_drive_where_it_is_mounted(colab, monkeypatch, tmp_path):
    drive = tmp_path / "My Drive درایو"
    drive.mkdir()
    monkeypatch.setattr(start, "DRIVE", drive)
    monkeypatch.setenv(paths.CACHE, str(tmp_path / "mine"))
    start.start()
    assert paths.cache() == tmp_path / "mine"  # what you chose stays
    monkeypatch.delenv(paths.CACHE)
    start.start()
    assert paths.cache() == drive / "pictures-and-words" / "weights"
    assert list(paths.cache().iterdir()) == []


def test_without_drive_weights_stay_at_home(colab):
    start.start()
    assert paths.CACHE not in os.environ


def test_every_requirement_can_be_read(monkeypatch):
    monkeypatch.setattr(start, "version", lambda name: "0")
    names = [line.split(">=")[0] for line in start.missing()]
    assert {"ftfy", "timm", "faiss-cpu"} <= set(names)
    assert not {*start.KEPT, "pytest"} & set(names)
