"""CLIP: each part against torch's own modules and against definitions."""

import inspect

import pytest
import torch
import torch.nn.functional as F

from helpers import clip
from helpers.clip import CLIP, Config


def small(**more) -> CLIP:
    torch.manual_seed(0)
    sizes = dict(embed=24, image_size=32, width=32, layers=2, heads=4, vocab=600)
    sizes |= dict(context=10, text_width=32, text_layers=2, text_heads=4)
    return CLIP(Config(**(sizes | more))).eval()


@pytest.mark.parametrize("stem", ["conv", "patch"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_towers_shapes_and_length(stem, batch):
    model = small(stem=stem)
    images = model.encode_image(torch.rand(batch, 3, 32, 32))
    tokens = torch.zeros(batch, 10, dtype=torch.long)
    tokens[:, 2] = 599
    texts = model.encode_text(tokens)
    assert images.shape == texts.shape == (batch, 24)
    torch.testing.assert_close(images.norm(dim=-1), torch.ones(batch))


@pytest.mark.parametrize(
    "more", [{}, {"causal": False, "pool": "mean"}, {"pool": "mean", "causal": True}]
)
def test_padding_and_neighbours_do_not_matter(more):
    model = small(**more)
    short = torch.tensor([[598, 5, 6, 599, 0, 0, 0, 0, 0, 0]])
    longer = torch.tensor([[598, 5, 6, 7, 8, 9, 10, 11, 12, 599]])
    both = model.encode_text(torch.cat([short, longer]))
    torch.testing.assert_close(both[:1], model.encode_text(short), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        both[1:], model.encode_text(longer), atol=1e-5, rtol=1e-5
    )


def test_causal_text_ignores_what_follows_the_end():
    model = small()
    a = torch.tensor([[598, 5, 599, 0, 0, 0, 0, 0, 0, 0]])
    b = a.clone()
    b[0, 5] = 17
    torch.testing.assert_close(model.encode_text(a), model.encode_text(b))


def test_scale_is_clamped():
    model = small()
    model.logit_scale.data.fill_(9.0)
    assert model.scale() == 100


@pytest.mark.parametrize("size", [1, 2, 9])
def test_loss_equals_two_cross_entropies(size):
    logits = 4 * torch.randn(size, size)
    labels = torch.arange(size)
    wanted = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(clip.contrastive_loss(logits), wanted)


def test_loss_with_several_positives_equals_soft_targets():
    logits = 4 * torch.randn(5, 5)
    ids = torch.tensor([0, 1, 1, 2, 0])
    positive = ids[:, None] == ids[None]
    target = positive.float() / positive.sum(1, keepdim=True)
    wanted = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(clip.contrastive_loss(logits, positive), wanted)


@pytest.mark.parametrize("size", [1, 6])
def test_siglip_equals_binary_cross_entropy(size):
    logits, bias = torch.randn(size, size), torch.tensor(-2.0)
    wanted = F.binary_cross_entropy_with_logits(
        logits + bias, torch.eye(size), reduction="sum"
    )
    torch.testing.assert_close(clip.siglip_loss(logits, bias), wanted / size)


def test_gradients_reach_every_parameter():
    model = small().train()
    tokens = torch.tensor([[598, 5, 6, 7, 8, 9, 10, 11, 12, 599]] * 2)
    clip.contrastive_loss(model(torch.rand(2, 3, 32, 32), tokens)).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert silent == []


def test_towers_take_pictures_and_nothing_else():
    model = small()
    assert list(inspect.signature(model.encode_image).parameters) == ["images"]
    assert list(inspect.signature(model.visual.forward).parameters) == ["x"]
