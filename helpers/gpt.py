"""GPT: the next token from all before it, with a cache for fast sampling.

Dims: B batch, T tokens, C channels (width), V vocabulary. DALL-E (notebooks 04
and 07) is one over captions and codes. Its blocks are those of blocks.py, pre-norm as
in GPT-2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from .blocks import Block
from .values import number, short, whole


@dataclass
class Config:
    """Sizes of a GPT.

    A sequence is ``conditions`` condition tokens, then the codes of a picture. Ids of
    condition tokens come after the codes in the vocabulary.
    """

    codes: int = 1024  # codes of the VQGAN
    grid: int = 16  # codes a side; a picture is grid * grid tokens
    conditions: int = 2  # condition tokens in front (style, group)
    values: int = 20  # different condition tokens
    width: int = 192  # C
    layers: int = 6
    heads: int = 6
    dropout: float = 0.1  # after attention and after the mlp
    orders: int = 1  # 2: the codes may also come first, with places of their own

    @property
    def vocab(self) -> int:
        return self.codes + self.values

    @property
    def context(self) -> int:
        """Tokens of a whole sequence; the last one is never an input."""
        return self.orders * (self.conditions + self.grid**2)


class GPT(nn.Module):
    """Token ids (B, T) -> logits over the next token (B, T, V).

    ``cache``: a list of one list a layer (``new_cache()``); pass the same one again
    with only the new tokens. The logits are the same as without it.
    """

    def __init__(self, config: Config):
        super().__init__()
        c = self.config = config
        self.token = nn.Embedding(c.vocab, c.width)
        self.place = nn.Parameter(0.02 * torch.randn(c.context, c.width))
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            Block(c.width, c.heads, c.layers, dropout=c.dropout)
            for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.width)
        for name, p in self.named_parameters():
            if p.ndim >= 2 and name != "place":
                deep = name.endswith(("out_proj.weight", "c_proj.weight"))
                nn.init.normal_(p, std=0.02 / ((2 * c.layers) ** 0.5 if deep else 1))

    def new_cache(self) -> list:
        return [[] for _ in self.blocks]

    def forward(
        self, tokens: Tensor, cache: list | None = None, first: int = 0
    ) -> Tensor:
        """``first``: the place of the first token of the sequence."""
        old = first + (cache[0][0].shape[2] if cache and cache[0] else 0)
        if old + tokens.shape[1] > self.config.context:
            raise ValueError(
                f"The sequence has {old + tokens.shape[1]} tokens; this model reads "
                f"at most {self.config.context}."
            )
        place = self.place[old : old + tokens.shape[1]]
        x = self.drop(self.token(tokens) + place)
        for n, block in enumerate(self.blocks):
            x = block(x, causal=True, cache=cache[n] if cache is not None else None)
        return F.linear(self.norm(x), self.token.weight)  # tied to the embedding


def filter_logits(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Forbid unlikely tokens: (B, V) -> (B, V) with -inf where forbidden.

    top_k: keep that many (0: all); top_p: keep the fewest whose probabilities reach it
    (nucleus, Holtzman et al. 2020). At least one token always stays.
    """
    top_k, top_p = whole("top_k", top_k, 0, 2**31), number("top_p", top_p, 1e-30, 1)
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probability = ordered.softmax(-1)
        before = probability.cumsum(-1) - probability  # reached without this token
        cut = torch.zeros_like(before, dtype=torch.bool)
        cut.scatter_(-1, order, before >= top_p)
        logits = logits.masked_fill(cut, -torch.inf)
    return logits


def pick(logits: Tensor, g, temperature: float, top_k=0, top_p=1.0) -> Tensor:
    """A token for each row of logits (B, V), drawn by ``g``: (B, 1)."""
    temperature = number("The temperature", temperature, 0, 100)
    if temperature < 1e-6:  # so cold that the logits would overflow
        return logits.argmax(-1, keepdim=True)
    kept = filter_logits(logits / temperature, top_k, top_p)
    return torch.multinomial(kept.softmax(-1), 1, generator=g)


@torch.no_grad()
def sample(
    model: GPT,
    start: Tensor,
    count: int,
    g: torch.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    limit: int | None = None,
    progress: bool = False,
    beside: Tensor | None = None,
    guidance: float = 1.0,
) -> Tensor:
    """Continue (B, T) tokens by ``count`` tokens: (B, T + count).

    temperature: below 1 safer, above 1 wilder, 0 always the likeliest. ``limit``: ids
    from here on are forbidden (the condition tokens). ``g`` lives on the CPU, so that
    the same seed gives the same choices on every device. ``beside``: (B, T) tokens that
    lack the condition; the logits then go ``guidance`` times the way from theirs to
    those of ``start`` (classifier-free guidance, Ho and Salimans 2022). Raises
    ValueError with one sentence.
    """
    temperature = number("The temperature", temperature, 0, 100)
    count = whole("The number of tokens", count, 0, 2**31)
    filter_logits(torch.zeros(1, 1), top_k, top_p)  # says what is wrong with them
    if not (isinstance(start, Tensor) and start.ndim == 2 and start.shape[1]):
        raise ValueError(f"Tokens to begin with are (B, T), not {short(start)}.")
    last = model.config.vocab - 1
    if (
        start.is_floating_point()
        or start.numel()
        and not (0 <= start.min() <= start.max() <= last)
    ):
        raise ValueError(f"Tokens are whole numbers from 0 to {last}.")
    model.eval()
    tokens, cache = start, model.new_cache()
    new = start if beside is None else torch.cat([start, beside])
    for _ in tqdm(range(count), desc="codes", disable=not progress, leave=False):
        logits = model(new, cache)[:, -1, :limit].float().cpu()
        if beside is not None:
            told, untold = logits.chunk(2)
            logits = untold + guidance * (told - untold)
        new = pick(logits, g, temperature, top_k, top_p).to(start.device)
        tokens = torch.cat([tokens, new], dim=1)
        new = new if beside is None else new.repeat(2, 1)
    return tokens
