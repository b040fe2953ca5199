"""DALL-E 1 in miniature: caption and picture as one stream (Ramesh et al. 2021).

Dims: B batch, T caption tokens, n codes a side. A stream is T caption tokens (<start>,
words, <end>, padding), then n * n codes of a VQGAN, row by row; a GPT predicts each
from all before it. To caption a picture the same GPT reads the codes first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import gpt, vqgan, weights
from ..clip.files import merges, tokenizer_of
from ..clip.tokenizer import Tokenizer, check_texts
from ..device import pick_device
from ..values import generator, number, ready, tensor, whole


class Dalle1:
    """A trained DALL-E 1: words in, pictures out, and back.

    ``styles``: what it was taught to draw in, to be named in the caption ("3-D emoji of
    a red apple"). An empty caption "" asks for any picture.
    """

    def __init__(self, model, codes: vqgan.VQGAN, tokenizer: Tokenizer, card, styles):
        self.model, self.vqgan, self.tokenizer = model.eval(), codes, tokenizer
        self.card, self.styles = card, styles

    @property
    def device(self) -> torch.device:
        return self.model.place.device

    @property
    def grid(self) -> int:
        """n, codes a side."""
        return self.model.config.grid

    def words(self, captions: list[str]) -> Tensor:
        """Captions -> (B, T) tokens of the stream, padded.

        Every place has a padding token of its own, as in the paper (§2.2).
        """
        tokens = self.tokenizer(check_texts(captions))
        return stream_words(tokens, self.tokenizer, self.model.config).to(self.device)

    @torch.no_grad()
    def draw_codes(
        self,
        captions: str | list[str],
        seed: int = 0,
        guidance: float = 5.0,
        temperature: float = 0.7,
        top_k: int = 0,
        top_p: float = 0.95,
        begin: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """One picture a caption, as codes (B, n, n).

        guidance: 1 draws what fits the caption, more of it draws what fits this caption
        better than none (classifier-free guidance, Ho and Salimans 2022), 0 ignores the
        caption. ``begin`` (B, m): the first m codes are given. temperature, top_k,
        top_p: see ``filter_logits``. Raises ValueError for values out of range,
        TypeError for captions that are no text.
        """
        captions = check_texts(captions)
        guidance = number("The guidance", guidance, 0, 1000)
        g = generator(seed)
        count, c = len(captions), self.model.config
        codes = torch.zeros(count, 0, dtype=torch.long, device=self.device)
        if begin is not None:
            begin = self.check_codes(begin)
            if begin.ndim != 2 or len(begin) != count or begin.shape[1] > c.grid**2:
                raise ValueError(
                    f"The first codes must be {count} rows of at most {c.grid**2}, not "
                    f"{tuple(begin.shape)}."
                )
            codes = begin
        if not count:
            return codes.view(0, c.grid, c.grid)
        start = torch.cat([self.words(captions), codes], 1)
        beside = None
        if guidance != 1:  # the same stream without its caption
            beside = torch.cat([self.words([""] * count), codes], 1)
        tokens = gpt.sample(
            self.model,
            start,
            c.grid**2 - codes.shape[1],
            g,
            temperature,
            top_k,
            top_p,
            c.codes,
            progress,
            beside,
            guidance,
        )
        codes = tokens[:, c.conditions :]
        return codes.view(count, c.grid, c.grid)

    def check_codes(self, codes) -> Tensor:
        """Codes as whole numbers on the device. Raises ValueError with one sentence."""
        last = self.model.config.codes - 1
        codes = tensor("Codes", codes)
        if codes.is_floating_point() or codes.is_complex():
            raise ValueError(f"Codes are whole numbers, not {codes.dtype}.")
        codes = codes.long()
        if codes.numel() and not 0 <= codes.min() <= codes.max() <= last:
            raise ValueError(
                f"Codes must lie between 0 and {last}, but these lie between "
                f"{int(codes.min())} and {int(codes.max())}."
            )
        return codes.to(self.device)

    def grids(self, codes) -> Tensor:
        """Codes of whole pictures (B, n, n). Raises ValueError with one sentence."""
        codes, n = self.check_codes(codes), self.grid
        if codes.ndim != 3 or codes.shape[1:] != (n, n):
            raise ValueError(
                f"Pictures are codes (B, {n}, {n}) here, not {tuple(codes.shape)}."
            )
        return codes

    def pictures(self, codes: Tensor) -> Tensor:
        """(B, n, n) codes -> (B, 3, H, W) float in [0, 1]."""
        return (self.vqgan.from_codes(codes) + 1) / 2

    def draw(self, captions: str | list[str], **knobs) -> Tensor:
        """One picture a caption: (B, 3, H, W) float in [0, 1]; see ``draw_codes``."""
        return self.pictures(self.draw_codes(captions, **knobs))

    def best_of(self, caption: str, count: int, guides, seed: int = 0, **knobs):
        """Draw ``count`` pictures and let a CLIP order them, best first (paper §2.6).

        ``guides``: a CLIP, or several, whose mean counts. Returns (pictures
        (count, 3, H, W), cosines (count,)). Raises ValueError with one sentence.
        """
        count = whole("The number of pictures", count, 1, 4096)
        guides = guides if isinstance(guides, (list, tuple)) else [guides]
        if not guides:
            raise ValueError("Nobody would order the pictures: give a ready CLIP.")
        guides = [ready(guide) for guide in guides]
        pictures = self.draw([caption] * count, seed=seed, **knobs)
        cosine = liking(pictures, caption, guides)
        order = cosine.argsort(descending=True)
        return pictures[order.to(pictures.device)], cosine[order]

    @torch.no_grad()
    def losses(self, captions: list[str], codes: Tensor) -> Tensor:
        """How surprising each code is behind each caption: (B, n * n), in nats.

        codes (B, n, n); the sum of a row is minus the log-likelihood of the picture.
        """
        c, words, codes = self.model.config, self.words(captions), self.grids(codes)
        if len(words) != len(codes):
            raise ValueError(f"{len(words)} captions came with {len(codes)} pictures.")
        stream = torch.cat([words, codes.flatten(1)], 1)
        logits = self.model(stream[:, :-1])[:, c.conditions - 1 :].float()
        goal = stream[:, c.conditions :]
        return F.cross_entropy(logits.transpose(1, 2), goal, reduction="none")

    @torch.no_grad()
    def describe(
        self, codes: Tensor, seed: int = 0, temperature: float = 0.0, top_p: float = 1.0
    ) -> list[str]:
        """A caption for each picture (B, n, n): codes first, then words.

        temperature 0 takes the likeliest word each time.
        """
        c, tokenizer = self.model.config, self.tokenizer
        codes, g = self.grids(codes), generator(seed)
        temperature = number("The temperature", temperature, 0, 100)
        start = torch.full((len(codes), 1), c.codes + tokenizer.start)
        new = torch.cat([codes.flatten(1).cpu(), start], 1).to(self.device)
        cache, found = self.model.new_cache(), []
        for _ in range(c.conditions - 1):
            logits = self.model(new, cache, first=c.context // 2)[:, -1, c.codes :]
            logits = logits[:, : len(tokenizer)].float().cpu()
            word = gpt.pick(logits, g, temperature, 0, top_p)
            found.append(word)
            new = (word + c.codes).to(self.device)
        rows = torch.cat(found, 1).tolist() if len(codes) else []
        ends = [r.index(tokenizer.end) if tokenizer.end in r else len(r) for r in rows]
        return [
            tokenizer.decode(r[:end]).strip() for r, end in zip(rows, ends, strict=True)
        ]


def liking(pictures: Tensor, text: str, guides) -> Tensor:
    """Mean cosine of pictures (N, 3, H, W) in [0, 1] with a text, over CLIPs: (N,)."""
    seen = (pictures * 255).round().to(torch.uint8)
    said = [(g.embed_images(seen) @ g.embed_texts([text]).T)[:, 0] for g in guides]
    return torch.stack([each.cpu() for each in said]).mean(0)


def stream_words(tokens: Tensor, tokenizer: Tokenizer, c) -> Tensor:
    """Tokens (B, T) of a tokenizer -> ids of the stream, each padding its own place."""
    place = torch.arange(tokens.shape[1])
    after = place > (tokens == tokenizer.end).int().argmax(1)[:, None]
    ids = torch.where(after, len(tokenizer) + place, tokens)
    return ids + c.codes


def load(name: str = "dalle1", device=None) -> Dalle1:
    """The shipped DALL-E 1 with its VQGAN, or a file of the same kind.

    Raises ValueError, FileNotFoundError or (no such device) RuntimeError with one
    sentence.
    """
    device = pick_device(device)
    path = weights.find("dalle1", name)
    tensors, metadata = weights.read(path, "dalle1")
    config = weights.config(gpt.Config, metadata, path)
    pairs = merges(tensors.pop("tokenizer.merges", torch.empty(0, 2)), path)
    model = weights.construct(gpt.GPT, config, path)
    weights.load_state(model, tensors, path.name)
    card = weights.note(metadata, "card", path)
    styles = weights.note(metadata, "styles", path, list)
    codes = vqgan.load("dalle", device)
    if card.get("vqgan") != codes.card["mark"]:
        raise ValueError(
            f"{path.name} was trained on the codes of another VQGAN: train it again."
        )
    count = config.values - config.conditions  # each padding is a word of its own
    tokenizer = tokenizer_of(pairs, config.conditions, count, path)
    return Dalle1(model.to(device), codes, tokenizer, card, styles)
