"""What makes CLIP fast on a CPU and is no idea of the paper: same output, less time.

``speed_up`` is applied when a model is loaded; helpers/tests/clip/test_fast.py holds
each part against the plain form. Dims as in blocks.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks import Attention, QuickGELU, Transformer


def speed_up(model: nn.Module) -> nn.Module:
    """Give the modules of a model their faster form, in place; returns the model.

    Parameters and their names stay as they are, so weights load before and after.
    """
    for module in model.modules():
        if type(module) in FAST:  # the same object with another ``forward``
            module.__class__ = FAST[type(module)]
    return model


def busy(x: Tensor, weight: Tensor) -> bool:
    """Must torch's own call serve: for gradients, on a GPU, in half precision?"""
    here = x.device.type == "cpu" and x.numel() and torch.backends.mkldnn.is_available()
    mixed = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    return mixed or not here or {x.dtype, weight.dtype} != {torch.float32}


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``; where nobody wants gradients on a CPU, by oneDNN.

    torch itself takes MKL there, which is a tenth slower on AMD's processors. The call
    is private to torch: where it is missing, ``F.linear`` serves.
    """
    fast = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if fast is None or busy(x, weight):
        return F.linear(x, weight, bias)
    return fast(x, weight, bias, "none", [], "")


class FastLinear(nn.Linear):
    """``nn.Linear`` through ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class FastQuickGELU(QuickGELU):
    """Without gradients in one piece of memory."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return super().forward(x)
        return torch.mul(x, 1.702).sigmoid_().mul_(x)


class FastAttention(Attention):
    """Through ``linear``, and where one place is read, with one query alone."""

    def forward(self, x, causal=False, mask=None, cache=None) -> Tensor:
        if cache is not None:
            return super().forward(x, causal, mask, cache)
        B, T, C = x.shape
        qkv = linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in qkv.chunk(3, dim=-1)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).reshape(B, T, C))

    def at(self, x: Tensor, place: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, C) and places (B,) -> (B, C)."""
        B, T, C = x.shape
        asks = x[torch.arange(B, device=x.device), place]
        q = linear(asks, self.in_proj_weight[:C], self.in_proj_bias[:C])
        kv = linear(x, self.in_proj_weight[C:], self.in_proj_bias[C:])
        q, k, v = (  # (B, heads, 1 or T, C / heads)
            part.reshape(B, n, self.heads, C // self.heads).transpose(1, 2)
            for part, n in zip((q, *kv.chunk(2, dim=-1)), (1, T, T), strict=True)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(out.reshape(B, C))


class FastTransformer(Transformer):
    """Who reads one place only need not compute the last block at the others."""

    def at(self, x, place, causal=False, mask=None) -> Tensor:
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, causal, mask)
        if causal:  # a place sees itself and what is before it
            here = torch.arange(x.shape[1], device=x.device) <= place[:, None]
            mask = here[:, None, None, :]
        one = x[torch.arange(len(x), device=x.device), place]
        one = one + last.drop(last.attn.at(last.ln_1(x), place, mask))
        return one + last.drop(last.mlp(last.ln_2(one)))


class FastConv(nn.Conv2d):
    """A convolution of timm's and the ReLU6 behind it (``bent``); without gradients in
    one pass.

    ``same``: it pads as TensorFlow does, at stride 2 of an even side one pixel fewer in
    front. A zero in front of the kernel does the same, and no picture need be copied.
    The call is private to torch: where it is missing, torch's own serves.
    """

    bent = same = False

    def forward(self, x: Tensor) -> Tensor:
        weight, pad = self.weight, self.padding
        rest = self.stride, self.dilation, self.groups
        fast = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
        if fast is None or busy(x, weight):
            if self.same:
                from timm.layers import pad_same

                x = pad_same(x, self.kernel_size, *rest[:2])
            x = F.conv2d(x, weight, self.bias, rest[0], pad, *rest[1:])
            return F.relu6(x, inplace=True) if self.bent else x
        if self.same:
            pad = [side // 2 for side in self.kernel_size]
            high, wide = (1 - side % 2 for side in x.shape[2:])
            weight = F.pad(weight, (wide, 0, high, 0))
        kind = ("hardtanh", [0.0, 6.0], "") if self.bent else ("none", [], "")
        return fast(x, weight, self.bias, pad, *rest, *kind)


FAST = {
    nn.Linear: FastLinear,
    QuickGELU: FastQuickGELU,
    Attention: FastAttention,
    Transformer: FastTransformer,
}


@torch.no_grad()
def fold(network: nn.Module) -> None:
    """Multiply every batch norm of timm's EfficientNets into the convolution before it.

    In place; same output in eval mode, in less time. What is left of each norm is its
    activation, and a ReLU6 goes into the convolution, too.
    """
    from timm.layers import Conv2dSame
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(network.modules()):
        conv = None  # the convolution just before, by name
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(getattr(module, conv), child)
                same, bent = type(fused) is Conv2dSame, type(child.act) is nn.ReLU6
                fused.__class__, fused.same, fused.bent = FastConv, same, bent
                setattr(module, conv, fused)
                setattr(module, name, nn.Identity() if bent else child.act)
            elif isinstance(child, nn.Conv2d):
                conv = name
