"""One file a model: its data, its step, its card (see ../train.py)."""
