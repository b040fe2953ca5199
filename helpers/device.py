"""Choose where tensors live."""

import torch


def pick_device(prefer: str | None = None) -> torch.device:
    """The device to compute on: CUDA if there is one, otherwise the CPU.

    Apple's MPS gives slightly different numbers, so it is used only when you ask:
    ``pick_device("mps")``. Raises RuntimeError if the device you ask for is absent.
    """
    if prefer is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if not there.get(prefer.split(":")[0], lambda: True)():
        raise RuntimeError(f'This machine has no "{prefer}" device; use "cpu".')
    return torch.device(prefer)
