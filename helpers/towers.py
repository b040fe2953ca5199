"""The parts of CLIP: attention, transformer, and the two kinds of image tower.

Dims: B batch, T tokens, L patches + 1, C channels (width), D embedding, H/W pixels.
Module and parameter names follow OpenAI's release, so that its weights load.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``; where nobody wants gradients on a CPU, by oneDNN.

    torch itself takes MKL there, which is a tenth slower on AMD's processors.
    """
    kinds = {x.dtype, weight.dtype}
    here = x.device.type == "cpu" and x.numel() and torch.backends.mkldnn.is_available()
    busy = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    fast = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if busy or not here or fast is None or kinds != {torch.float32}:
        return F.linear(x, weight, bias)
    return fast(x, weight, bias, "none", [], "")


class Linear(nn.Linear):
    """``nn.Linear`` through ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the cheap GELU that OpenAI trained with."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return x * torch.sigmoid(1.702 * x)
        return torch.mul(x, 1.702).sigmoid_().mul_(x)  # the same in one piece of memory


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, C) -> (B, T, C), named as torch names it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)

    def forward(self, x: Tensor, causal: bool, mask: Tensor | None = None) -> Tensor:
        B, T, C = x.shape
        qkv = linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (  # each (B, heads, T, C / heads)
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in qkv.chunk(3, dim=-1)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).reshape(B, T, C))

    def answer(self, x: Tensor, at: Tensor, mask: Tensor | None) -> Tensor:
        """The same at one place a sequence: (B, T, C) and places (B,) -> (B, C)."""
        B, T, C = x.shape
        asks = x[torch.arange(B, device=x.device), at]
        q = linear(asks, self.in_proj_weight[:C], self.in_proj_bias[:C])
        kv = linear(x, self.in_proj_weight[C:], self.in_proj_bias[C:])
        q, k, v = (  # (B, heads, 1 or T, C / heads)
            part.reshape(B, n, self.heads, C // self.heads).transpose(1, 2)
            for part, n in zip((q, *kv.chunk(2, dim=-1)), (1, T, T), strict=True)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(out.reshape(B, C))


class Block(nn.Module):
    """One residual attention block: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int, layers: int, quick_gelu: bool):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU() if quick_gelu else nn.GELU())
        self.mlp.add_module("c_proj", Linear(4 * width, width))
        deep = width**-0.5 * (2 * layers) ** -0.5
        nn.init.normal_(self.attn.out_proj.weight, std=deep)
        nn.init.zeros_(self.attn.out_proj.bias)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=deep)

    def forward(self, x: Tensor, causal: bool, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal, mask)
        return x + self.mlp(self.ln_2(x))

    def answer(self, x: Tensor, at: Tensor, mask: Tensor | None) -> Tensor:
        """The block's output at one place a sequence: (B, T, C), (B,) -> (B, C)."""
        one = x[torch.arange(len(x), device=x.device), at]
        one = one + self.attn.answer(self.ln_1(x), at, mask)
        return one + self.mlp(self.ln_2(one))


class Transformer(nn.Module):
    """A stack of blocks, (B, T, C) -> (B, T, C), or (B, C) at the places ``at``.

    Whoever reads the output at one place only need not compute the last block at the
    others; the result is the same and a twelfth of the work is saved.
    """

    def __init__(self, width: int, layers: int, heads: int, quick_gelu: bool):
        super().__init__()
        blocks = [Block(width, heads, layers, quick_gelu) for _ in range(layers)]
        self.resblocks = nn.ModuleList(blocks)

    def forward(
        self,
        x: Tensor,
        causal: bool = False,
        mask: Tensor | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, causal, mask)
        if at is None:
            return last(x, causal, mask)
        if causal:  # a place sees itself and what is before it
            here = torch.arange(x.shape[1], device=x.device) <= at[:, None]
            mask = here[:, None, None, :]
        return last.answer(x, at, mask)


def convolutional_stem(width: int) -> nn.Sequential:
    """Patches of 16 x 16 by small convolutions, (B, 3, H, W) -> (B, C, H/16, W/16).

    On little data a few early convolutions see better than one large patch (Xiao et al.
    2021, "ViT-C").
    """
    layers, before = [], 3
    plan = ((width // 8, 2), (width // 4, 2), (width // 4, 1), (width // 2, 2))
    for channels, stride in (*plan, (width // 2, 1), (width, 2)):
        layers += [nn.Conv2d(before, channels, 3, stride, 1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


class VisionTransformer(nn.Module):
    """Cut the picture into patches, read them as a sequence, answer at the class token.

    (B, 3, H, W) normalised -> (B, D).
    """

    def __init__(self, c):
        super().__init__()
        self.config = c
        if c.stem == "conv":
            self.conv1 = convolutional_stem(c.width)
        else:
            self.conv1 = nn.Conv2d(3, c.width, c.patch, c.patch, bias=False)
        scale = c.width**-0.5
        places = (c.image_size // c.patch) ** 2 + 1
        self.class_embedding = nn.Parameter(scale * torch.randn(c.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(places, c.width))
        self.ln_pre = nn.LayerNorm(c.width)
        self.transformer = Transformer(c.width, c.layers, c.heads, c.quick_gelu)
        self.ln_post = nn.LayerNorm(c.width)
        self.proj = nn.Parameter(scale * torch.randn(c.width, c.embed))

    def forward(self, x: Tensor, keep: float = 1.0) -> Tensor:
        if self.config.stem == "conv":
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (B, L - 1, C)
        x = x + self.positional_embedding[1:]
        if keep < 1:  # patch dropout (FLIP): train on a random part of the patches
            count = int(x.shape[1] * keep)
            order = torch.rand(x.shape[:2], device=x.device).argsort(1)[:, :count]
            x = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
        first = self.class_embedding + self.positional_embedding[0]
        x = torch.cat([first.expand(len(x), 1, -1).to(x.dtype), x], dim=1)
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        x = self.transformer(self.ln_pre(x), at=first)  # (B, C), the class token
        return self.ln_post(x) @ self.proj


class EfficientNetTower(nn.Module):
    """EfficientNet-Lite with two ways into the space, added: (B, 3, H, W) -> (B, D).

    ``proj`` maps the 1,280 features; ``classes`` adds, for each of the 1,000 ImageNet
    classes, its word vector weighted by the class probability (ConSE, Norouzi 2014);
    "effnet2", the judge, has only the first. Batch norms are folded away.
    """

    names = {"effnet": "tf_efficientnet_lite0", "effnet2": "tf_efficientnet_lite2"}

    def __init__(self, c):
        super().__init__()
        import timm

        count = 1000 if c.vision == "effnet" else 0
        self.trunk = timm.create_model(self.names[c.vision], num_classes=count)
        self.proj = nn.Linear(1280, c.embed)
        self.classes = nn.Linear(1000, c.embed, bias=False) if count else None
        self.sharpness = nn.Parameter(torch.tensor(1.0))  # of the class probabilities
        self.trunk.eval()
        self.fold()

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply every batch norm into the convolution before it.

        Same output, a quarter less time. Each norm keeps only its activation.
        """
        from torch.nn.utils.fusion import fuse_conv_bn_eval

        for module in list(self.trunk.modules()):
            conv = None  # the convolution just before, by name
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    fused = fuse_conv_bn_eval(getattr(module, conv), child)
                    setattr(module, conv, fused)
                    setattr(module, name, nn.Sequential(child.drop, child.act))
                elif isinstance(child, nn.Conv2d):
                    conv = name

    def features(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return self.trunk.forward_head(self.trunk.forward_features(x), pre_logits=True)

    def join(self, features: Tensor, logits: Tensor | None) -> Tensor:
        out = self.proj(features.float())
        if self.classes is None:
            return out
        return out + self.classes((self.sharpness * logits.float()).softmax(-1))

    def forward(self, x: Tensor, keep: float = 1.0) -> Tensor:
        f = self.features(x)
        return self.join(f, self.trunk.classifier(f))
