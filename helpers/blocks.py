"""The one attention and the one transformer block, of CLIP and of GPT alike.

Dims: B batch, T tokens, C channels (width). Names of parameters follow OpenAI's CLIP,
so that its weights load. What only makes them faster is in clip/fast.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the cheap GELU that OpenAI trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def check_heads(width: int, heads: int) -> int:
    """The heads. Raises ValueError with one sentence if they do not share the width."""
    if heads < 1 or width % heads:
        raise ValueError(f"{width} channels do not split into {heads} heads.")
    return heads


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, C) -> (B, T, C), named as torch names it.

    ``causal``: a token sees only itself and what is before it. ``mask``: bool, True
    where a token may look, in a shape that broadcasts to (B, heads, T, T). ``cache``: a
    list that keeps keys and values; x is then only what is new (see ``helpers.gpt``).
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = check_heads(width, heads)
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        causal: bool = False,
        mask: Tensor | None = None,
        cache: list | None = None,
    ) -> Tensor:
        B, T, C = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (  # each (B, heads, T, C / heads)
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in qkv.chunk(3, dim=-1)
        )
        if cache:  # what was seen before goes in front
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        if cache is not None:
            cache[:] = [k, v]
        old, causal = k.shape[2] - T, causal and T > 1  # one new token sees all
        if causal and old:  # new token i sees all old ones and new ones up to i
            mask = torch.ones(T, old + T, dtype=torch.bool, device=x.device).tril(old)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal and not old
        )
        return self.out_proj(out.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """One residual attention block: x + attention(norm x), then x + mlp(norm x).

    ``layers``: how many blocks are stacked; the deeper, the smaller they begin.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int = 1,
        quick_gelu: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU() if quick_gelu else nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)
        deep = width**-0.5 * (2 * layers) ** -0.5
        nn.init.normal_(self.attn.out_proj.weight, std=deep)
        nn.init.zeros_(self.attn.out_proj.bias)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=deep)

    def forward(
        self,
        x: Tensor,
        causal: bool = False,
        mask: Tensor | None = None,
        cache: list | None = None,
    ) -> Tensor:
        x = x + self.drop(self.attn(self.ln_1(x), causal, mask, cache))
        return x + self.drop(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    """A stack of blocks, (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, layers: int, heads: int, quick_gelu: bool = False):
        super().__init__()
        blocks = [Block(width, heads, layers, quick_gelu) for _ in range(layers)]
        self.resblocks = nn.ModuleList(blocks)

    def forward(
        self, x: Tensor, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        for block in self.resblocks:
            x = block(x, causal, mask)
        return x

    def at(
        self, x: Tensor, place: Tensor, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """The output at one place of each sequence: (B, T, C), (B,) -> (B, C)."""
        x = self(x, causal, mask)
        return x[torch.arange(len(x), device=x.device), place]
