"""A second device on a machine that has none: mixing it with the CPU raises.

``with pretend.cuda(monkeypatch) as device:`` makes torch say that there is a GPU. What
is put there is a ``There``: a tensor whose numbers lie on the CPU, and which refuses
what a tensor on a GPU would refuse: to meet a tensor of the CPU, to become NumPy, to be
drawn from a CPU generator. Numbers and gradients are those of the CPU.
"""

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
MOVES = ("to", "cpu", "cuda", "copy_", "type_as", "__deepcopy__")  # from there to here
READS = ("__get__", "__set__", "__repr__", "_has_compatible_shallow_copy_type")
PLACES = (
    "__getitem__",
    "__setitem__",
    "index_put_",
    "index_put",
)  # CPU rows may choose


def name_of(function) -> str:
    return getattr(function, "__name__", str(function))


def is_cuda(device) -> bool:
    try:
        return torch.device(device).type == "cuda"
    except (TypeError, RuntimeError):
        return False


class There(Tensor):
    """A tensor on the pretended device."""

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, name_of(function)
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise RuntimeError(f"{name}: a generator of the CPU draws on cuda:0")
        if name not in (*MOVES, *READS):
            meet(name, [*args, *kwargs.values()])
        out = super().__torch_function__(function, types, args, kwargs)
        if function == Tensor.grad.__get__ and out is not None:  # it comes plain
            return out.as_subclass(There)
        return away(out) if name == "cpu" else out


There.__name__ = "Tensor"  # as it would be called on a GPU


def meet(name: str, given: list) -> None:
    """Raise as torch does if tensors of two devices meet in one call."""
    tensors = [t for t in tree_leaves(given) if isinstance(t, Tensor)]
    here = [t for t in tensors if not isinstance(t, There)]
    here = [t for t in here if t.ndim and t.device.type == "cpu"]  # single numbers may
    if name in PLACES and isinstance(given[0], There):
        value = given[2] if len(given) > 2 else None
        here = [t for t in here if t is value]
    if here and len(here) < len(tensors):
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but found cuda:0 "
            f"and cpu (of shape {tuple(here[0].shape)})"
        )


def away(x):
    """The same numbers as a tensor of the CPU."""
    return x.as_subclass(Tensor) if isinstance(x, There) else x


class Moving(TorchFunctionMode):
    """Sends to ``There`` whatever torch is asked to make on, or move to, cuda."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), name_of(function)
        if name == "cuda" and args:
            return args[0].as_subclass(There)
        if name == "to" and args and isinstance(args[0], Tensor):
            return self.moved(function, args, kwargs)
        if is_cuda(kwargs.get("device")):
            generator = kwargs.get("generator")
            if generator is not None and generator.device.type == "cpu":
                raise RuntimeError(f"{name}: a generator of the CPU draws on cuda:0")
            kwargs["device"] = "cpu"
            args = tuple(away(a) for a in args)
            return function(*args, **kwargs).as_subclass(There)
        return function(*args, **kwargs)

    def moved(self, function, args, kwargs):
        """``x.to(...)``: to a device, a dtype, or to where another tensor is."""
        x, *rest = args
        other = [a for a in [*rest, *kwargs.values()] if isinstance(a, Tensor)]
        wish = [a for a in [*rest, kwargs.get("device")] if isinstance(a, str)]
        wish += [a for a in [*rest, kwargs.get("device")] if type(a) is torch.device]
        there = isinstance(x, There)
        if other:
            there = isinstance(other[0], There)
        elif wish:
            there = is_cuda(wish[0])
        plain = [torch.device("cpu") if a in wish else away(a) for a in rest]
        kept = {k: away(v) for k, v in kwargs.items() if k != "device"}
        if not plain and not kept:
            out = away(x)
        else:
            out = function(away(x), *plain, **kept)
        return out.as_subclass(There if there else Tensor)


@contextmanager
def cuda(monkeypatch):
    """Everything inside sees one GPU with 8 GB; yields its device."""
    calls = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda *a: (8 * 10**9, 8 * 10**9),
        "get_device_name": lambda *a: "pretended",
        "empty_cache": lambda: None,
        "synchronize": lambda *a: None,
        "is_bf16_supported": lambda *a, **k: True,
    }
    for name, call in calls.items():
        monkeypatch.setattr(torch.cuda, name, call)
    check = "_accelerator_graph_capture_health_check"  # asks the driver
    monkeypatch.setattr(torch.optim.Optimizer, check, lambda self: None, raising=False)
    check = "_cuda_graph_capture_health_check"  # its name before torch 2.11
    monkeypatch.setattr(torch.optim.Optimizer, check, lambda self: None, raising=False)
    change = torch.__future__.set_overwrite_module_params_on_conversion
    change(True)  # a module that moves gets new parameters, of the class There
    try:
        with Moving():
            yield CUDA
    finally:
        change(False)
