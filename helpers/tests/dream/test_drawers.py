"""The drawers of a VQGAN: codes survive, and dead codes do not slow the loop."""

from dataclasses import replace

import pytest
import torch

from helpers.dream import drawers
from helpers.vqgan import VQGAN, Config

TINY = Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=200, fold=2)


def model(gumbel: bool) -> VQGAN:
    torch.manual_seed(0)
    vqgan = VQGAN(replace(TINY, gumbel=gumbel)).eval()
    torch.nn.init.normal_(vqgan.quantize.codebook)
    return vqgan


@pytest.mark.parametrize("gumbel", [False, True])
@pytest.mark.parametrize("kind", ["vqgan", "codes"])
def test_codes_and_pictures_survive_in_the_drawer(kind, gumbel):
    vqgan = model(gumbel)
    drawer = drawers.make(kind, (32, 24), vqgan=vqgan)
    h, w = drawer.height // drawer.unit, drawer.width // drawer.unit
    codes = torch.randint(vqgan.count, (1, h, w))
    want = (vqgan.from_codes(codes) + 1) / 2
    drawer.from_codes(codes)
    assert (drawer.draw() - want).abs().max() < 1e-4  # all codes are the same still
    picture = torch.rand(1, 3, drawer.height, drawer.width)
    want = (vqgan.rebuild(picture * 2 - 1) + 1) / 2
    drawer.paint(picture)
    assert (drawer.draw() - want).abs().max() < 1e-4


@pytest.mark.parametrize("used", [10, 100, 200])
def test_the_learning_rate_comes_from_the_codes_in_use(used):
    vqgan = model(False)
    book = vqgan.quantize.codebook
    with torch.no_grad():
        book[used:] = (torch.rand_like(book[used:]) * 2 - 1) / len(book)  # never moved
    drawer = drawers.VQGANDrawer((16, 16), vqgan)
    assert drawer.spread == pytest.approx(float(book[:used].std()))
    assert float(book.std()) < 0.8 * drawer.spread or used == 200


def test_a_codebook_that_never_learned_still_has_a_spread():
    vqgan = VQGAN(TINY).eval()
    assert drawers.VQGANDrawer((16, 16), vqgan).spread > 0
