"""Training in two processes: a killed one costs nothing but time.

This file is also the program that they run: one import, then a fork for each machine.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.multiprocessing import start_processes

from helpers import corpus, paths
from helpers.clip import Config
from helpers.corpus import painted
from helpers.workshop import train
from helpers.workshop.adversarial import batches, many, robust
from helpers.workshop.run import Average, Run

from .test_adversarial import SMALL, card, tokenizer


def training(folder: Path, name: str) -> None:
    painted.hidden_names = lambda: frozenset({"green car"})
    rgba = torch.zeros(12, 4, 32, 32, dtype=torch.uint8)
    rgba[:, 0, 8:24, 8:24], rgba[:, 3, 8:24, 8:24] = 220, 255
    split = corpus.Corpus([card(n) for n in range(12)], rgba)
    paint, words = painted.Painted(split, "cpu", seed=0), tokenizer()
    config = Config(**vars(SMALL) | {"vocab": len(words)})
    recipe = robust.Recipe("m", config, batch=12, eps=0.5, attacks=1, steps=6)
    many.fit(recipe, split, paint, words, folder / name, small=True)


def machine(rank: int, folder: str, name: str, port: int, dies: bool) -> None:
    """One of two processes; the second is killed at its fifth step if it ``dies``."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": str(port)}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    many.WORK = Path(folder)
    Run.due = lambda self, step: step % 2 == 1
    update = Average.update

    def deadly(self, model, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, model, step)

    if dies and rank == 1:
        Average.update = deadly
    training(Path(folder), name)


def start(folder: str, name: str, dies: bool = False) -> str:
    """Both processes; how they ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        start_processes(machine, (folder, name, port, dies), 2, start_method="fork")
    except Exception as error:
        return type(error).__name__
    return "whole"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    if not (dist.is_available() and dist.is_gloo_available() and hasattr(os, "fork")):
        pytest.skip("this machine has no gloo, or no fork")
    folder = tmp_path_factory.mktemp("many")
    command = [sys.executable, "-m", __name__, str(folder)]
    subprocess.run(command, check=True, timeout=600, cwd=paths.ROOT)
    return folder


def test_a_killed_process_goes_on_and_ends_with_the_same_weights(trained):
    found = json.loads((trained / "found.json").read_text("utf-8"))
    assert found == {"whole": "whole", "cut": False, "step": 4, "rest": "whole"}
    whole, rest = (load_file(trained / f"{n}.safetensors") for n in ("whole", "rest"))
    assert whole.keys() == rest.keys() and len(whole) > 10
    for name, value in whole.items():
        assert torch.equal(value, rest[name]), name
    left = {p.name for p in trained.iterdir()}
    assert left == {"found.json", "whole.safetensors", "rest.safetensors"}


def test_one_machine_has_the_table_of_the_plain_training():
    shown, also = torch.tensor([1, 2, 9, 1]), torch.tensor([-1, -1, 1, -1])
    own = torch.tensor([0.7, 1.0, 0.6, 1.0])
    rows, columns = many.truths({"shown": shown.numpy(), "also": also.numpy()}, own)
    positive = robust.positives(shown, also)
    keeps = own[:, None]
    want = keeps * positive + (1 - keeps) * positive.roll(1, 0)
    torch.testing.assert_close(rows, want)
    torch.testing.assert_close(columns, want.T)


def test_what_cannot_be_shared_is_refused(monkeypatch, capsys):
    assert many.own_device("cpu", 7, 60.0) == torch.device("cpu")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert many.own_device("cpu", 8) == torch.device("cpu")
    with pytest.raises(ValueError, match="--steps, not --seconds"):
        many.own_device("cpu", 8, 60.0)
    for batch in (7, 4, 0):
        with pytest.raises(ValueError, match="cannot be shared by 4 processes"):
            many.own_device("cpu", batch)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="has 0 GPUs"):
            many.own_device("cuda", 8)
    monkeypatch.setattr("sys.argv", "train gan --device cpu".split())
    with pytest.raises(SystemExit):
        train.main()
    assert "start it without torchrun" in capsys.readouterr().err


def test_machines_at_different_steps_are_refused(monkeypatch):
    monkeypatch.setattr(many, "gathered", lambda x: torch.tensor([4, 0]))
    with pytest.raises(ValueError, match="same|see the folder"):
        many.agree(4, Path("folder/a.checkpoint"), "cpu")


def test_every_step_of_every_machine_has_its_own_numbers():
    made = {batches.seed_of(s, n, r) for s in (0, 1) for n in range(9) for r in (0, 1)}
    assert len(made) == 36


if __name__ == "__main__":
    place = sys.argv[1]
    found = {"whole": start(place, "whole.safetensors")}
    found["cut"] = start(place, "rest.safetensors", dies=True) == "whole"
    (kept,) = Path(place).glob("*.checkpoint")
    found["step"] = torch.load(kept, weights_only=True)["step"]
    found["rest"] = start(place, "rest.safetensors")
    (Path(place) / "found.json").write_text(json.dumps(found), "utf-8")
