"""The kept vectors are what a model says of these pictures, and nobody else's."""

import random

import pytest
import torch

from helpers import clip, corpus, paths, weights
from helpers.clip import kept
from helpers.download import sha256

MARK = sha256(paths.MODELS / "pocket.safetensors")[:16]


class Counting:
    """Says (1, 0) of every picture, and counts those that it was shown."""

    def __init__(self, name="pocket", fingerprint=MARK):
        self.name, self.fingerprint, self.seen = name, fingerprint, 0

    def embed_images(self, pictures, progress=False):
        self.seen += len(pictures)
        return torch.tensor([[1.0, 0.0]]).repeat(len(pictures), 1)


@pytest.mark.parametrize("name", kept.MODELS)
def test_a_sample_is_what_the_model_says_now(name):
    model = clip.load(name, "cpu")
    for split in kept.SPLITS:
        pictures, mine = corpus.load(split), clip.embed_split(model, split)
        assert len(mine) == len(pictures)
        rows = random.Random(split).sample(range(len(pictures)), 12)
        now = model.embed_images(pictures.pictures(rows))
        # some pictures are stored with losses: old decoders read them a grey level off
        most = 2e-3 if split == "unseen_artist" else 2e-2
        torch.testing.assert_close(mine[rows], now, atol=most, rtol=0)
        assert ((mine[rows] @ now.T) - now @ now.T).abs().max() < most  # cosines
        torch.testing.assert_close(mine.norm(dim=1), torch.ones(len(mine)))


def test_the_shipped_model_need_not_look_again():
    model = Counting()
    assert clip.embed_split(model, "photos").shape == (557, 384) and not model.seen


@pytest.mark.parametrize("why", ["model", "name", "pictures", "again", "split"])
def test_what_was_made_otherwise_is_embedded_now(why, monkeypatch):
    model = Counting("another" if why == "name" else "pocket", MARK)
    if why == "model":
        model.fingerprint = "0" * 16
    if why == "pictures":
        monkeypatch.setattr(kept, "mark", lambda split: "other")
    if why == "split":
        monkeypatch.setattr(kept, "SPLITS", ("unseen_artist",))
    split = "photos"
    clip.embed_split(model, split, again=why == "again")
    assert model.seen == len(corpus.load(split))


def test_keep_writes_what_embed_split_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "VECTORS", tmp_path)
    model = Counting("mine")
    kept.keep(model)
    shown = model.seen
    found = [clip.embed_split(model, split) for split in kept.SPLITS]
    assert model.seen == shown == sum(map(len, found))
    path = kept.file_of(model)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged or cut short"):
        clip.embed_split(model, "photos")


@pytest.mark.parametrize("name", kept.MODELS)
def test_the_file_is_small_and_holds_no_more_than_the_splits(name):
    path = paths.VECTORS / f"{name}.safetensors"
    tensors, about = weights.read(path, "vectors")
    assert path.stat().st_size < 1.3e6 and set(tensors) == set(kept.SPLITS)
    assert about["model"] == sha256(paths.MODELS / path.name)[:16]
