"""Measuring a VQGAN by features of patches, and the DALL-Es by the judge."""

import pytest
import torch

from helpers import clip, corpus
from helpers.workshop.evaluate import dalle1, drawn, unclip
from helpers.workshop.evaluate.vqgan import STAGES, patches


@pytest.mark.parametrize("count", [1, 3])
def test_patches_are_what_an_early_stage_of_the_judge_gives(count):
    eyes = clip.load("judge", "cpu")
    size = eyes.model.config.image_size
    pictures = torch.rand(count, 3, size, size)
    seen = []
    stage = eyes.model.visual.conv1[STAGES - 1]
    hook = stage.register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        eyes.model.encode_image(pictures)
    hook.remove()
    rows = patches(eyes, pictures)
    want = seen[0].permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(rows, want, atol=1e-3, rtol=1e-3)
    assert len(rows) == count * (size // 4) ** 2


@pytest.fixture
def drawings(monkeypatch):
    """Five drawings of an artist, and captions for them, in place of all."""
    names = ["red apple", "cat face", "sunflower", "blue heart", "rocket"]
    split = corpus.load(
        "unseen_artist", progress=False, keep=lambda c: c["name"] in names
    )
    told = [corpus.article(c["name"]) for c in split.cards]
    kept = {"test": {(c["concept"], c["style"]) for c in split.cards[:3]}}
    shown = corpus.Corpus(split.cards[3:], split.rgba[3:])
    monkeypatch.setattr(drawn.drawings, "load", lambda: (split, shown, kept))
    monkeypatch.setattr(drawn, "captions", lambda *_: {"five": told})
    return split, told


def test_the_judge_finds_real_drawings_and_no_others(drawings):
    split, told = drawings
    judge, pictures = clip.load("judge", "cpu"), split.pictures().float() / 255
    assert drawn.ranks(judge, pictures, told).float().mean() < 1
    assert drawn.ranks(judge, pictures.roll(1, 0), told).float().mean() > 1.5


def test_the_table_of_both(drawings, monkeypatch, capsys):
    split, told = drawings
    seeds = []

    class Copyist:
        """Draws the right picture; two of the five are in the training set."""

        def draw(self, caption, seed):
            seeds.append(seed)
            return split.pictures([told.index(caption)]).float() / 255

        def best_of(self, caption, count, guide, seed):
            assert count == 16
            return self.draw(caption, seed), None

    for module in (dalle1, unclip):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(getattr(module, name), "load", lambda name: Copyist())
        module.show(["1"])
        assert len(set(seeds)) == 5 and not seeds.clear()
        first, row = capsys.readouterr().out.splitlines()
        assert "1 seeds" in first and row.startswith(name)
        # the two, and the nearest real one: 5 % of three lies just above it
        assert "top 5 100%" in row and "near-copies 60%" in row


def test_captions_are_of_pairs_kept_out():
    cards = [{"concept": n, "style": "emoji", "name": f"thing {n}"} for n in range(90)]
    kept = {"test": {(n, "emoji") for n in range(60)}}
    told = drawn.captions(kept, corpus.Corpus(cards, torch.zeros(90, 1)))
    assert [len(set(rows)) for rows in told.values()] == [50, 50]
    allowed = {drawn.styled(c) for c in cards[:60]}
    assert set(told["pair never seen"]) <= allowed
    assert told == drawn.captions(kept, corpus.Corpus(cards, torch.zeros(90, 1)))
