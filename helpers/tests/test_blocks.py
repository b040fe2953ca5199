"""The shared attention and block, against torch's own modules."""

import pytest
import torch
from torch import nn

from helpers import blocks


@pytest.mark.parametrize("shape", [(1, 1, 16), (3, 7, 16), (2, 12, 16)])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch(shape, causal):
    mine, theirs = (
        blocks.Attention(16, 4),
        nn.MultiheadAttention(16, 4, batch_first=True),
    )
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(shape)
    T = shape[1]
    mask = nn.Transformer.generate_square_subsequent_mask(T) if causal else None
    wanted, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(mine(x, causal), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_block_equals_torch_encoder_layer(batch):
    mine = blocks.Block(32, 4, 2, quick_gelu=False).eval()
    theirs = nn.TransformerEncoderLayer(
        32, 4, 128, 0.0, "gelu", norm_first=True, batch_first=True
    ).eval()
    names = {
        "self_attn": mine.attn,
        "norm1": mine.ln_1,
        "norm2": mine.ln_2,
        "linear1": mine.mlp.c_fc,
        "linear2": mine.mlp.c_proj,
    }
    for name, part in names.items():
        getattr(theirs, name).load_state_dict(part.state_dict())
    x = torch.randn(batch, 5, 32)
    with torch.no_grad():
        torch.testing.assert_close(mine(x, False), theirs(x), atol=1e-5, rtol=1e-5)


def test_quick_gelu():
    x = torch.linspace(-4, 4, 50)
    want = x / (1 + torch.exp(-1.702 * x))
    torch.testing.assert_close(blocks.QuickGELU()(x), want)
