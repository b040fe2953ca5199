"""The kept vectors of our CLIPs made again: ``python -m helpers.workshop.vectors``.

Two minutes of one core. Needed after each training of one and each new corpus; a test
compares a sample with what the models say now.
"""

from .. import clip
from ..clip import kept

if __name__ == "__main__":
    for name in kept.MODELS:
        kept.keep(clip.load(name))
