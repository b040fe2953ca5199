"""The album of the small DALL-Es: which views are made of which drawing."""

import torch

from helpers import corpus
from helpers.vqgan import VQGAN, Config
from helpers.workshop import album
from helpers.workshop.recipes import dalle1, unclip

BOOK = {"turns": [[0, 3], [0], [0, 5, 7]], "shapes": [], "seed": 0}


def test_entries_count_the_views_of_each_turn():
    rows, steps, which = album.entries(BOOK, "cpu", views=4)
    assert rows.tolist() == [0, 0, 1, 2, 2, 2]
    assert steps.tolist() == [0, 3, 0, 0, 5, 7]
    extra = album.TURNED_VIEWS
    wanted = [4, extra, 4, 4, extra, extra]
    assert torch.bincount(which).tolist() == wanted


def test_both_recipes_make_as_many_views():
    torch.manual_seed(0)
    cards = [{"concept": str(n)} for n in range(3)]
    split = corpus.Corpus(cards, torch.randint(0, 256, (3, 4, 32, 32)).byte())
    model = VQGAN(
        Config(ch=8, ch_mult=(1, 2), z_channels=8, embed_dim=4, n_embed=16, fold=2)
    ).eval()
    codes, entry = dalle1.code_table(split, BOOK, model, 0, "cpu")
    pictures, seen, same = unclip.view_table(split, BOOK, 0, "cpu", 16)
    assert len(codes) == len(pictures) == len(entry) and seen is None
    assert torch.equal(entry, same) and 0 <= int(codes.min()) <= int(codes.max()) < 16
    assert pictures.shape[1:] == (3, 16, 16)
