"""GPT: the cache, causality, the sampling filters."""

import pytest
import torch
import torch.nn.functional as F

from helpers import gpt
from helpers.gpt import GPT, Config, filter_logits, sample

TINY = Config(codes=11, grid=3, conditions=2, values=4, width=16, layers=2, heads=2)


def model() -> GPT:
    torch.manual_seed(0)
    return GPT(TINY).eval()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("pieces", [[11], [1] * 11, [4, 1, 6], [2, 9]])
def test_cache_gives_the_same_logits(batch, pieces):
    gpt = model()
    tokens = torch.randint(15, (batch, 11))
    with torch.no_grad():
        want = gpt(tokens)
        cache = gpt.new_cache()
        got = torch.cat([gpt(part, cache) for part in tokens.split(pieces, 1)], 1)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_no_token_sees_a_later_one():
    gpt = model()
    a = torch.randint(15, (2, 11))
    b = a.clone()
    b[:, 6:] = (b[:, 6:] + 1) % 15
    with torch.no_grad():
        same, other = gpt(a)[:, :6] - gpt(b)[:, :6], gpt(a)[:, 6:] - gpt(b)[:, 6:]
    assert same.abs().max() == 0 and other.abs().max() > 0


def test_attention_is_that_of_torch():
    gpt = model()
    attn, x = gpt.blocks[0].attn, torch.randn(2, 5, 16)
    peer = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        peer.load_state_dict(attn.state_dict())
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
        want = peer(x, x, x, attn_mask=mask, need_weights=False)[0]
        torch.testing.assert_close(attn(x, causal=True), want, atol=1e-5, rtol=1e-5)


def test_too_long_a_sequence_is_one_sentence():
    with pytest.raises(ValueError, match="12 tokens; this model reads at most 11"):
        model()(torch.zeros(1, 12, dtype=torch.long))


@pytest.mark.parametrize("batch", [1, 4])
def test_top_k_and_top_p_against_their_definition(batch):
    logits = torch.randn(batch, 50, generator=torch.Generator().manual_seed(1))
    kept = filter_logits(logits, top_k=7).isfinite()
    assert (kept.sum(1) == 7).all()
    assert (logits.masked_fill(~kept, -9).topk(7).values == logits.topk(7).values).all()
    for p in (0.1, 0.5, 0.95):
        kept = filter_logits(logits, top_p=p).isfinite()
        chance = logits.softmax(-1)
        for row in range(batch):
            order = chance[row].sort(descending=True).values
            need = int((order.cumsum(0) < p).sum()) + 1  # the fewest that reach p
            assert kept[row].sum() == need
            assert chance[row][kept[row]].sum() >= p - 1e-5
    assert torch.equal(filter_logits(logits), logits)
    assert (filter_logits(logits, top_p=1e-9).isfinite().sum(1) == 1).all()
    with pytest.raises(ValueError, match="top_p must be"):
        filter_logits(logits, top_p=0)


def test_sampling_follows_the_logits_and_the_seed():
    gpt = model()
    start = torch.tensor([[11, 13], [12, 14]])

    def draw(seed, **more):
        g = torch.Generator().manual_seed(seed)
        return sample(gpt, start, 9, g, limit=11, **more)

    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))
    assert draw(0)[:, 2:].max() < 11  # condition tokens are never drawn
    greedy = draw(0, temperature=0)
    with torch.no_grad():
        want = gpt(greedy[:, :-1])[:, 1:, :11].argmax(-1)
    assert torch.equal(greedy[:, 2:], want)
    assert torch.equal(draw(5, top_k=1), greedy)
    with pytest.raises(ValueError, match="temperature"):
        draw(0, temperature=-1)


def test_first_token_has_the_chances_of_the_model():
    gpt = model()
    start = torch.tensor([[11, 13]]).expand(4000, -1)
    g = torch.Generator().manual_seed(0)
    got = sample(gpt, start, 1, g, limit=11)[:, 2].bincount(minlength=11) / 4000
    with torch.no_grad():
        want = F.softmax(gpt(start[:1])[0, -1, :11], dim=-1)
    torch.testing.assert_close(got, want, atol=0.03, rtol=0)


def test_config_counts_the_context():
    assert gpt.Config().context == 258


@pytest.mark.parametrize(
    "more",
    [{"count": -1}, {"count": 1.5}, {"temperature": "x"}, {"top_k": -1}, {"top_p": 0},
     {"start": None}, {"start": torch.zeros(1, 0).long()}, {"start": torch.zeros(1, 2)},
     {"start": torch.full((1, 2), 15)}, {"start": torch.zeros(2).long()}],
)  # fmt: skip
def test_sampling_from_what_makes_no_sense(more):
    asked = {"start": torch.zeros(1, 2).long(), "count": 2, "temperature": 0.0} | more
    with pytest.raises(ValueError):
        sample(model(), g=torch.Generator(), **asked)
