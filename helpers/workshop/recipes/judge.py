"""The judge of notebook 05: made as ``pocket`` is, from EfficientNet-Lite2."""

from functools import partial

from . import pocket

FILE = "judge.safetensors"
train = partial(pocket.train, name="judge")
