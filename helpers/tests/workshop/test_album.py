"""What the small DALL-Es learn from: which views are made of which drawing."""

from types import SimpleNamespace

import pytest
import torch

from helpers import corpus
from helpers.vqgan import VQGAN, Config
from helpers.workshop import album, views

BOOK = {"turns": [[0, 3], [0], [0, 5, 7]], "shapes": [], "seed": 0}


@pytest.mark.parametrize("many, turned", [(8, 2), (3, 1), (1, 1)])
def test_entries_count_the_views_of_each_turn(many, turned):
    rows, steps, which = album.entries(BOOK, "cpu", views=many)
    assert rows.tolist() == [0, 0, 1, 2, 2, 2]
    assert steps.tolist() == [0, 3, 0, 0, 5, 7]
    wanted = [many, turned, many, many, turned, turned]
    assert torch.bincount(which).tolist() == wanted


def test_wordings_know_every_caption_of_every_entry():
    rows = [[["a cat", "cat"], ["a red cat"]], [["cat"]]]
    book = {"captions": rows, "shapes": ["a blue star", "a red cat"]}
    texts, which, spans = album.wordings(book)
    assert sorted(texts) == ["a blue star", "a cat", "a red cat", "cat"]
    found = [[texts[i] for i in which[at : at + n]] for at, n in spans.tolist()]
    assert found == [*rows[0], *rows[1], ["a blue star"], ["a red cat"]]


@pytest.fixture
def toy():
    torch.manual_seed(0)
    cards = [{"concept": str(n)} for n in range(3)]
    split = corpus.Corpus(cards, torch.randint(0, 256, (3, 4, 32, 32)).byte())
    model = VQGAN(
        Config(ch=8, ch_mult=(1, 2), z_channels=8, embed_dim=4, n_embed=16, fold=2)
    ).eval()
    model.card = {"mark": "toy"}
    return split, model


def test_tables_of_one_seed_belong_together(toy, tmp_path):
    split, model = toy
    codes = views.table(split, BOOK, 0, "cpu", 3, codes=model, cache=tmp_path)
    pictures = views.table(split, BOOK, 0, "cpu", 3, size=32)
    assert torch.equal(codes["entry"], pictures["entry"])
    x = pictures["pictures"].float() / 127.5 - 1
    with torch.no_grad():
        z = model.encode(x)
    torch.testing.assert_close(codes["z"].float(), z, atol=0.02, rtol=0.02)
    # the first view of an entry is the drawing as it is
    first = (split.rgba[0, :3].float() * (split.rgba[0, 3:] / 255)).mean()
    white = (255 - split.rgba[0, 3:].float()).mean()
    assert abs(pictures["pictures"][0].float().mean() - first - white) < 2


def test_a_kept_table_is_found_again_and_another_seed_is_not(toy, tmp_path):
    split, model = toy
    a = views.table(split, BOOK, 0, "cpu", 2, codes=model, cache=tmp_path)
    never = SimpleNamespace(card=model.card)  # has no encoder: it must not be asked
    b = views.table(split, BOOK, 0, "cpu", 2, codes=never, cache=tmp_path)
    assert torch.equal(a["z"], b["z"])
    with pytest.raises(AttributeError):
        views.table(split, BOOK, 1, "cpu", 2, codes=never, cache=tmp_path)
