"""Byte-pair encoding: text to numbers and back (CLIP §2.4; Sennrich et al. 2016).

Dims: B texts, T tokens (the context length). A vocabulary holds, in this order: 256
bytes, the same 256 bytes at the end of a word ("</w>"), one entry a merge, and the two
markers <start> and <end>. This is the layout of OpenAI's CLIP, so its merges load too.
"""

import html
import operator
import warnings
from collections import Counter
from functools import lru_cache

import ftfy
import regex
import torch

from ..values import members, short, whole
from ..words import fold

WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)
LONGEST, WORD_LONGEST = 100_000, 2048  # letters; no context reads as far as that


@lru_cache
def byte_letters() -> dict[int, str]:
    """A printable letter for each of the 256 bytes (the table of GPT-2 and CLIP)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    others = (b for b in range(256) if b not in letters)
    return letters | {b: chr(256 + n) for n, b in enumerate(others)}


def clean(text: str) -> str:
    """Mend broken Unicode, undo HTML entities, fold spaces, lower-case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text.strip()).strip().lower()


def spell(word: str) -> tuple[str, ...]:
    """A word as byte letters; the last one carries the end-of-word mark."""
    table = byte_letters()
    letters = [table[b] for b in word.encode("utf-8")]
    return (*letters[:-1], letters[-1] + "</w>")


def join(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Replace every adjacent ``pair`` in ``parts`` by the joined symbol."""
    out, i = [], 0
    while i < len(parts):
        if parts[i : i + 2] == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return tuple(out)


def learn_merges(texts, count: int, persian: bool = True) -> list[tuple[str, str]]:
    """Learn ``count`` merges: join the most frequent adjacent pair, again and again.

    Ties go to the pair that sorts first, so the same texts give the same merges.
    """
    words = Counter()
    for text in texts:
        words.update(WORD.findall(fold(clean(text)) if persian else clean(text)))
    spelt = {word: spell(word) for word in words}
    pairs, where = Counter(), {}
    for word, parts in spelt.items():
        for pair in zip(parts, parts[1:], strict=False):
            pairs[pair] += words[word]
            where.setdefault(pair, set()).add(word)
    merges = []
    while len(merges) < count and pairs:
        best = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in sorted(where.pop(best)):  # only these words change
            old, new = spelt[word], join(spelt[word], best)
            for pair in zip(old, old[1:], strict=False):
                pairs[pair] -= words[word]
            for pair in zip(new, new[1:], strict=False):
                pairs[pair] += words[word]
                where.setdefault(pair, set()).add(word)
            spelt[word] = new
        pairs.pop(best, None)
    return merges


class Tokenizer:
    """Turns texts into a (B, T) tensor of token ids, padded with zeros.

    ``merges``: pairs in the order they were learnt. ``context``: T. ``persian``: texts
    pass through ``words.fold`` (off for OpenAI's vocabulary, whose ids stay OpenAI's;
    there ``Embedder.tokenize`` folds before).
    """

    def __init__(self, merges, context: int = 32, persian: bool = True):
        letters = list(byte_letters().values())
        self.merges = [tuple(m) for m in merges]
        symbols = letters + [s + "</w>" for s in letters]
        symbols += ["".join(m) for m in self.merges]
        symbols += ["<|startoftext|>", "<|endoftext|>"]
        self.ids = {s: i for i, s in enumerate(symbols)}
        self.symbols = symbols
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.bytes = {s: b for b, s in byte_letters().items()}
        self.context = whole("The context (tokens)", context, 2, 2**20)
        self.persian = persian
        self.start, self.end = len(symbols) - 2, len(symbols) - 1
        self._known: dict[str, tuple[int, ...]] = {}
        if not persian:  # OpenAI's tokenizer takes typed markers at their word
            self._known["<|startoftext|>"] = (self.start,)
            self._known["<|endoftext|>"] = (self.end,)

    def __len__(self) -> int:
        return len(self.symbols)

    def encode_word(self, word: str) -> tuple[int, ...]:
        """Token ids of one word: apply the earliest-learnt merge until none is left."""
        if word not in self._known:
            parts = spell(word)
            while len(parts) > 1:
                pairs = set(zip(parts, parts[1:], strict=False))
                best = min(pairs, key=lambda p: self.rank.get(p, 1 << 30))
                if best not in self.rank:
                    break
                parts = join(parts, best)
            self._known[word] = tuple(self.ids[p] for p in parts)
        return self._known[word]

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without the start and end markers."""
        text = text[:LONGEST]
        text = fold(clean(text)) if self.persian else clean(text)
        words = (word[:WORD_LONGEST] for word in WORD.findall(text))
        return [i for word in words for i in self.encode_word(word)]

    def decode(self, ids) -> str:
        """Text of token ids: markers are skipped, and what comes after <end>.

        Padding is zeros, and 0 is also the token of "!" inside a word: only its place,
        behind <end>, tells them apart. Raises TypeError with one sentence.
        """
        try:
            ids = [operator.index(i) for i in ids]
        except Exception:  # no row, a tensor of floats, rows of rows
            raise TypeError(
                f"Token ids are a row of whole numbers, (T,), not {short(ids)}."
            ) from None
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        keep = [i for i in ids if 0 <= i < self.start]
        text = "".join(self.symbols[i] for i in keep)
        raw = bytearray()
        for piece in regex.split(r"(</w>)", text):
            raw += b" " if piece == "</w>" else bytes(self.bytes[c] for c in piece)
        return raw.decode("utf-8", errors="replace").strip()

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        """Texts -> (B, T) int64: <start>, tokens, <end>, zeros.

        A text that is longer than the context is cut, with a warning that says where.
        Raises TypeError or ValueError with one sentence for what is not text.
        """
        texts = check_texts(texts)
        out = torch.zeros(len(texts), self.context, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = self.encode(text)
            room = self.context - 2
            if len(ids) > room:
                kept = self.decode(ids[:room])
                warnings.warn(
                    f"The text is longer than {self.context} tokens and is cut after "
                    f'"...{kept[-30:]}".',
                    stacklevel=2,
                )
                ids = ids[:room]
            ids = [self.start, *ids, self.end]
            out[row, : len(ids)] = torch.tensor(ids)
        return out


def check_texts(texts) -> list[str]:
    """One text or several as a list; for anything else one sentence (TypeError)."""
    if isinstance(texts, str):
        return [texts]
    rows = members(texts)
    if rows is None:
        raise TypeError(
            f"Expected a text or a list of texts, got {type(texts).__name__}."
        )
    for place, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(
                f"Text number {place} is not a string but {type(text).__name__}: "
                f"{str(text)[:40]!r}."
            )
    return rows
