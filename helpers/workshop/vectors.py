"""The kept vectors of pocket made again: ``python -m helpers.workshop.vectors``.

A minute of one core. Needed after each training of ``pocket`` and each new corpus; a
test compares a sample with what the model says now.
"""

from .. import clip
from ..clip import kept

if __name__ == "__main__":
    kept.keep(clip.load("pocket"))
