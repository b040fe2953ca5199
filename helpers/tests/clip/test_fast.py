"""What only makes CLIP faster gives the same output as the plain form."""

import copy

import pytest
import torch
import torch.nn.functional as F

from helpers import blocks
from helpers.clip import CLIP, Config, fast


@pytest.mark.parametrize("shape", [(1, 8), (3, 5, 8), (0, 8), (2, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs_with_and_without_gradients(shape, bias):
    torch.manual_seed(0)
    x, W = torch.randn(shape), torch.randn(6, 8)
    b = torch.randn(6) if bias else None
    if shape[-1] == 16:
        x = x[:, ::2]  # not contiguous
    want = F.linear(x, W, b)
    torch.testing.assert_close(fast.linear(x, W, b), want)
    with torch.no_grad():
        torch.testing.assert_close(fast.linear(x, W, b), want)
        got = fast.linear(x.bfloat16(), W.bfloat16(), b if b is None else b.bfloat16())
    assert got.dtype == torch.bfloat16


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stem": "patch", "quick_gelu": True},
        {"causal": False, "pool": "mean"},
        {"causal": False},
        {"pool": "mean"},
        {"vision": "resnet", "layers": (1, 1, 1, 1), "width": 16, "heads": 4},
    ],
)
def test_a_fast_clip_says_what_the_plain_one_says(more, grad, batch):
    torch.manual_seed(0)
    sizes = dict(embed=24, image_size=32, width=32, layers=2, heads=4, vocab=600)
    sizes |= dict(context=10, text_width=32, text_layers=2, text_heads=4)
    plain = CLIP(Config(**(sizes | more))).eval()
    quick = fast.speed_up(copy.deepcopy(plain))
    assert quick.state_dict().keys() == plain.state_dict().keys()
    images = torch.rand(batch, 3, 32, 32)
    tokens = torch.tensor([[598, 5, 6, 599, 0, 0, 0, 0, 0, 0]]).repeat(batch, 1)
    tokens[0, 3:6] = torch.tensor([7, 8, 599])
    with torch.set_grad_enabled(grad):
        for name, given in (("encode_image", images), ("encode_text", tokens)):
            want, got = getattr(plain, name)(given), getattr(quick, name)(given)
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    if grad:
        loss = [model(images, tokens).square().mean() for model in (plain, quick)]
        for value in loss:
            value.backward()
        for a, b in zip(plain.parameters(), quick.parameters(), strict=True):
            if a.grad is not None:
                torch.testing.assert_close(b.grad, a.grad, atol=1e-4, rtol=1e-3)


def test_speed_up_reaches_every_slow_part():
    model = fast.speed_up(CLIP(Config(layers=1, text_layers=1, quick_gelu=True)))
    kinds = {type(module) for module in model.modules()}
    assert set(fast.FAST.values()) <= kinds and not set(fast.FAST) & kinds
    assert isinstance(model.transformer, blocks.Transformer)


def test_folded_batch_norms_give_the_same_features():
    timm = pytest.importorskip("timm")
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=7).eval()
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        want = trunk(x)
        fast.fold(trunk)
        torch.testing.assert_close(trunk(x), want, atol=1e-3, rtol=1e-3)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in trunk.modules())


@pytest.mark.parametrize("side", [(64, 64), (33, 50), (7, 1)])
def test_a_fast_convolution_is_timms_at_even_and_odd_sides(side):
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    for kernel, groups in ((3, 1), (5, 6)):
        plain = layers.Conv2dSame(6, 6, kernel, 2, groups=groups).eval()
        quick = copy.deepcopy(plain)
        quick.__class__, quick.same, quick.bent = fast.FastConv, True, True
        x = 4 * torch.randn(2, 6, *side)
        with torch.no_grad():
            want = F.relu6(plain(x))
            torch.testing.assert_close(quick(x), want, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(quick(x), want, atol=1e-5, rtol=1e-5)


def test_a_fast_convolution_does_without_torchs_private_call(monkeypatch):
    quick = fast.FastConv(3, 4, 3)
    quick.bent, x = True, torch.rand(1, 3, 9, 9)
    with torch.no_grad():
        want = quick(x)
        monkeypatch.setattr(torch.ops, "mkldnn", object())
        torch.testing.assert_close(quick(x), want)
