"""The fast late stages of pocket's training, against the plain modules."""

import pytest
import torch
import torch.nn.functional as F

from helpers.clip import contrastive_loss, fast
from helpers.workshop.pocket import late
from helpers.workshop.pocket.head import both_ways
from helpers.workshop.recipes.pocket import ridge

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(3, 1, 5), (5, 1, 10), (3, 2, 10), (5, 2, 7)]
)
def test_toeplitz_is_a_depthwise_convolution(kernel, stride, size):
    from timm.layers import create_conv2d

    conv = create_conv2d(
        6, 6, kernel, stride=stride, padding="same", depthwise=True, bias=True
    )
    matrix = late.Toeplitz(conv)
    x = torch.randn(2, 6, size, size, requires_grad=True)
    torch.testing.assert_close(matrix(x), conv(x), atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(conv(x))
    want = torch.autograd.grad((conv(x) * weight).sum(), [x, conv.weight])
    got = torch.autograd.grad((matrix(x) * weight).sum(), [x, conv.weight])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_early_and_late_are_the_network():
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=7).eval()
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.rand(2, 3, late.SIZE, late.SIZE)
    with torch.no_grad():
        seen = (x - 0.498) / 0.502
        want = trunk.forward_head(trunk.forward_features(seen), pre_logits=True)
        y = late.early(trunk, x)
        torch.testing.assert_close(late.late(trunk, y), want, atol=1e-4, rtol=1e-4)
        fast.fold(trunk)
        late.swap(trunk.blocks[late.FROZEN :])
        torch.testing.assert_close(late.late(trunk, y), want, atol=1e-3, rtol=1e-3)
        late.swap(trunk.blocks[late.FROZEN :], back=True)
        assert not any(isinstance(m, late.Toeplitz) for m in trunk.modules())


def test_ridge_against_the_normal_equations():
    x, y = torch.randn(200, 5), torch.randn(200, 3)
    x[:, 4] = 3.0  # a constant feature must not break it
    W, b = ridge(x, y, strength=1e-6)
    ones = torch.cat([x[:, :4], torch.ones(200, 1)], 1)
    want = ones @ torch.linalg.lstsq(ones, y - y.mean(0)).solution
    torch.testing.assert_close(x @ W.T + b, want, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_both_ways_is_the_loss_of_clip_where_each_picture_shows_one_concept(count):
    scores = torch.randn(count, count + 3)
    own = torch.eye(count, count + 3)
    want = F.cross_entropy(scores, torch.arange(count))
    want = want + 2 * contrastive_loss(scores[:, :count])
    want = want - F.cross_entropy(scores[:, :count], torch.arange(count))
    torch.testing.assert_close(both_ways(scores, own, own), want)


def test_both_ways_shares_a_concept_among_the_pictures_that_show_it():
    scores = torch.randn(3, 4)
    own = torch.tensor([[0.75, 0.25, 0, 0], [0.25, 0, 0.75, 0], [1, 0, 0, 0]])
    logs = scores.log_softmax(0)
    parts = (logs[0, 0] * 0.75 + logs[1, 0] * 0.25 + logs[2, 0]) / 2
    want = -(parts + logs[0, 1] + logs[1, 2]) / 3
    want = want + F.cross_entropy(scores, own)
    torch.testing.assert_close(both_ways(scores, own, own), want)
