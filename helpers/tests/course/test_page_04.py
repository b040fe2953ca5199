"""Every choice of notebook 04's MODEL runs: its cells on weights in that format.

The weights are random and, but for the width, of the published sizes (stride 16, no
card, 1,024 or 16,384 codes). ``run`` with ch=128 and embed_dim=256 tries the full size.
"""

import json
import re

import matplotlib.pyplot as plt
import pytest
import torch

from helpers import paths, vqgan
from helpers.vqgan import Config, published

CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads(
        (paths.ROOT / "notebooks/04_vqgan_internals.ipynb").read_text("utf-8")
    )["cells"]
    if cell["cell_type"] == "code"
}
CHOICES = re.search(r"MODEL = .*# @param (\[.*\])", CELLS["04-imports"])
CHOICES = [name for name in json.loads(CHOICES[1]) if name != "pocket"]
NEED_NO_MODEL = ("setup", "gan", "beta-joint", "beta-measured", "perception", "one-ba")


def run(name: str, folder, monkeypatch, **sizes) -> None:
    """Run the cells of 04, down to the painter and its twin, with MODEL = name."""
    config = Config(**vars(published.PUBLISHED[name].config) | sizes)
    entry = published.Published(config, (), 1, "nowhere")
    monkeypatch.setitem(published.PUBLISHED, name, entry)
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(folder))
    torch.manual_seed(0)
    path = folder / "last.ckpt"
    torch.save({"state_dict": vqgan.VQGAN(config).state_dict()}, path)
    load = vqgan.load
    monkeypatch.setattr(
        vqgan,
        "load",
        lambda n, device: load(n, device, file=path if n == name else None),
    )
    space: dict = {}
    for id_, source in CELLS.items():
        if id_.removeprefix("04-").startswith(NEED_NO_MODEL):
            continue
        if id_ == "04-imports":
            source = source.replace('MODEL = "pocket"', f'MODEL = "{name}"')
            source = source.replace("pick_device()", '"cpu"')
        if id_ == "04-small-vqgan":
            break
        exec(source, space)
        plt.close("all")
    assert space["codes"].shape == (8, 8, 8) and not hasattr(space["model"], "card")
    exec(CELLS["04-halves"], space)
    plt.close("all")


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_of_model_runs(name, tmp_path, monkeypatch):
    run(name, tmp_path, monkeypatch, ch=16, embed_dim=32, z_channels=32)
