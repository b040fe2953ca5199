"""A doubt where nothing fits: a nonsense query, a thing that a small folder lacks.

clip-retrieval and rclip (rclip issue 207) are asked for such a cut again and again.
"""

import random
import re

import pytest
import torch

from helpers import clip, paths
from helpers.corpus import dataset
from helpers.course.panels import IndexPanel, SearchPanel
from helpers.pictures import on_background
from helpers.search import DOUBT, ImageIndex, fits


@pytest.fixture(scope="module")
def folder():
    return ImageIndex.build(paths.PHOTOS, clip.load("pocket", "cpu"), progress=False)


@pytest.mark.parametrize("words", ["a cat", "a cup of coffee", "a panda", "گربه"])
def test_what_is_there_fits(folder, words):
    assert folder.fits(words) is True


@pytest.mark.parametrize(
    "words", ["a pizza", "a butterfly", "پروانه", "qwerty uiop", "lorem ipsum", "1 2 3"]
)
def test_what_is_not_there_is_doubted_and_shown_all_the_same(folder, words):
    assert folder.fits(words) is False
    assert len(folder.search(words, k=3)) == 3


def test_the_panels_say_it_of_words_alone(folder):
    shown = torch.zeros(3, 8, 8, dtype=torch.uint8)
    panel = IndexPanel(folder, lambda place: shown, "a pizza")
    assert panel.status.value.endswith(f"; {DOUBT}")
    assert panel.image.value.count("<figure") == len(folder)
    panel.minus.value = "a cat"
    panel.button.click()
    assert DOUBT not in panel.status.value
    pictures = shown.expand(len(folder), -1, -1, -1)
    model, names = folder.model, [str(n) for n in range(len(folder))]
    first = SearchPanel(model, pictures, folder.vectors, names, "a cat")
    assert DOUBT not in first.status.value
    first.query.value = "a butterfly"
    first.button.click()
    assert first.status.value.endswith(f"; {DOUBT}")
    assert first.image.value.count("<figure") == len(folder)


def test_a_model_that_nobody_measured_is_not_judged(folder, monkeypatch):
    monkeypatch.setattr(folder.model, "name", "ViT-B/32")
    assert folder.fits("a pizza") is None and fits(folder.model, -1.0) is None
    with pytest.raises(ValueError, match="empty"):
        folder.fits(" ")
    with pytest.raises(ValueError, match="index is empty"):
        ImageIndex(folder.model).fits("a cat")


def test_the_measured_rates_hold_on_drawings_of_train(folder):
    """Own captions, with and without all pictures that share a word with them."""
    model, size = folder.model, 48
    rows = (row for path in dataset.shards("train") for row in dataset.read_shard(path))
    rows = [r for r in rows if r[0]["source"] != "gameicons"]
    rows = random.Random(0).sample(rows, size)
    rgba = torch.stack([dataset.decode(raw) for _, raw in rows])
    names = [card["name"] for card, _ in rows]
    words = [set(re.findall(r"\w{3,}", name.lower())) for name in names]
    kin = torch.tensor([[i == j or bool(a & b) for j, b in enumerate(words)]
                        for i, a in enumerate(words)])  # fmt: skip
    scores = model.embed_images(on_background(rgba)) @ model.embed_texts(names).T
    there, gone = scores.amax(0), scores.masked_fill(kin, -1).amax(0)
    assert sum(fits(model, s) for s in there.tolist()) >= 0.9 * size
    assert sum(fits(model, s) for s in gone.tolist()) <= 0.2 * size
