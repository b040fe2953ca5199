"""The small GAN: shapes, seeds, files, and the shaking that its discriminator sees."""

import pytest
import torch

from helpers import paths
from helpers.vqgan import gan
from helpers.workshop.recipes.gan import shaken

SHIPPED = (paths.MODELS / "gan-pocket.safetensors").exists()


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("z", [8, 64])
def test_any_vector_is_a_picture(count, z):
    model = gan.Generator(gan.Config(z, (16, 8, 8, 8, 8))).eval()
    g = torch.Generator().manual_seed(0)
    y = model(model.sample(count, g))
    assert y.shape == (count, 3, 64, 64) and y.abs().max() <= 1
    again = model(model.sample(count, torch.Generator().manual_seed(0)))
    assert torch.equal(y, again)
    alone = model(model.sample(count, torch.Generator().manual_seed(0))[:1])
    torch.testing.assert_close(alone, y[:1], atol=1e-5, rtol=0)  # neighbours are apart


def test_shaking_moves_and_keeps_the_gradient():
    x = torch.rand(3, 3, 16, 16, requires_grad=True)
    y = shaken(x, torch.Generator().manual_seed(1))
    assert y.shape == x.shape and not torch.equal(x, y)
    y.sum().backward()
    assert x.grad.abs().sum() > 0
    flat = shaken(torch.full((2, 3, 16, 16), 0.25), torch.Generator().manual_seed(1))
    assert flat.std((1, 2, 3)).max() < 1e-6  # a plain picture stays plain


@pytest.mark.skipif(not SHIPPED, reason="the GAN is not trained yet")
def test_the_shipped_one_paints_different_faces_on_white():
    model = gan.load(device="cpu")
    y = model(model.sample(8, torch.Generator().manual_seed(0)))
    corners = y[:, :, ::63, ::63]
    assert corners.mean() > 0.9  # white paper
    far = torch.pdist(y.flatten(1)).min() / y[0].numel() ** 0.5
    assert far > 0.1  # no two alike: it has not collapsed


def test_another_file_is_refused():
    with pytest.raises(ValueError, match="not a gan model"):
        gan.load(str(paths.MODELS / "scratch.safetensors"))
    with pytest.raises(ValueError, match='There is no GAN called "nope"; choose from'):
        gan.load("nope")
    with pytest.raises(FileNotFoundError, match="There is no weights file"):
        gan.load("/nowhere/x.safetensors")


@pytest.mark.parametrize("count", [-1, 2.5, True, "3"])
def test_a_count_that_is_none_is_one_sentence(count):
    model = gan.Generator(gan.Config(8, (16, 8, 8, 8, 8)))
    with pytest.raises(ValueError, match="^The number of vectors"):
        model.sample(count, torch.Generator())
