"""Store OpenAI's CLIP merges small: ``python -m helpers.workshop.openai_bpe``.

The table comes from the package open_clip_torch (MIT), which carries OpenAI's file
bpe_simple_vocab_16e6.txt.gz; CLIP uses its first 48,894 merges.
"""

import gzip
from importlib import resources

from .. import paths, weights
from ..clip import files
from ..clip.tokenizer import Tokenizer

COUNT = 49152 - 256 - 2  # merges in use: the vocabulary less bytes and markers


def main() -> None:
    file = resources.files("open_clip") / "bpe_simple_vocab_16e6.txt.gz"
    rows = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")
    pairs = [tuple(row.split()) for row in rows[1 : COUNT + 1]]
    tensors = {"merges": files.merge_ids(Tokenizer(pairs, persian=False))}
    source = {"kind": "tokenizer", "source": "openai/CLIP (MIT) by open_clip_torch"}
    weights.save(paths.MODELS / "openai_bpe.safetensors", tensors, source)


if __name__ == "__main__":
    main()
