"""Weights files that others wrote: their tensors are read, none of their code runs.

``torch.save`` and TorchScript write zip archives. One part, ``data.pkl``, says which
tensors there are; the numbers lie beside it in ``data/0``, ``data/1`` and so on. That
first part is a pickle, which is a program: ``torch.load`` and ``torch.jit.load`` may
run it, and so may write any file. Here it is read one opcode at a time. A name in it
stays a name, nothing is imported, nothing is called, and the code of a TorchScript
archive is not even opened.
"""

import os
import pickletools
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from . import paths
from .values import quoted

LARGEST = 4 << 30  # bytes that an archive may unpack to; the largest known has 1 GB
RATIO = 20  # times its own size that it may unpack to; weights hardly shrink at all
PICKLE = 4 << 20  # bytes of data.pkl; the largest known has less than 1 MB
PIECE = 1 << 20  # bytes read at a time
NAMES = 100_000  # tensors and modules of one archive
SIDES = 16  # dimensions of a tensor

DAMAGE = (
    zipfile.BadZipFile, zlib.error, SafetensorError, struct.error, OSError, EOFError,
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError,
)  # fmt: skip


class Bad(Exception):
    """Why a file is refused: the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return " ".join(f"{self.module}.{self.name}".split())[:60]


@dataclass(frozen=True)
class Storage:
    """One row of numbers of the archive, the part ``data/KEY``."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class View:
    """A tensor that is not made yet: how it lies in its storage."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple


@dataclass(eq=False)
class Thing:
    """Any other object of a pickle: the name of its class and its attributes."""

    kind: Name
    attributes: dict = field(default_factory=dict)

    @property
    def scripted(self) -> bool:
        return self.kind.module.split(".")[0] == "__torch__"


DTYPES = {
    Name("torch", f"{word}Storage"): dtype
    for word, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Name("torch._utils", "_rebuild_parameter")
TABLE = Name("collections", "OrderedDict")
IGNORED = {  # calls of honest files whose result no weight needs
    Name("torch", "Size"),
    Name("torch", "device"),
    Name("torch.jit._pickle", "restore_type_tag"),
    Name("torch.jit._pickle", "build_intlist"),
    Name("torch.jit._pickle", "build_doublelist"),
    Name("torch.jit._pickle", "build_boollist"),
    Name("torch.jit._pickle", "build_tensorlist"),
    Name("collections", "defaultdict"),
    Name("collections", "Counter"),
    Name("__builtin__", "set"),
    Name("builtins", "set"),
    Name("_codecs", "encode"),
    Name("numpy", "dtype"),
    Name("numpy.core.multiarray", "scalar"),
    Name("numpy._core.multiarray", "scalar"),
}


def read(path: Path, script: bool = False) -> dict[str, Tensor]:
    """The tensors of a weights file by name: safetensors or an archive of torch.

    ``script``: TorchScript archives are read too, without their code. Raises
    FileNotFoundError or ValueError with one sentence.
    """
    path = paths.given(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:
        with open(path, "rb") as file:
            start = file.read(16)
        if start.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return from_zip(archive, path.stat().st_size, script)
        if start[8:9] == b"{":
            return load_file(path)
        if start.startswith(b"\x80"):
            raise Bad(
                "is a plain pickle, as torch.save wrote before version 1.6, and may "
                "run code when read: get it as safetensors or as a newer checkpoint"
            )
        raise ValueError("it begins like no weights file")
    except Bad as bad:
        raise ValueError(f"{path.name} {bad}.") from None
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).split("\n")[0][:80]
        raise ValueError(
            f"{path.name} is damaged, cut short or no checkpoint ({reason}); get it "
            "again."
        ) from None


def bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the words that stand in front of all their names.

    A training on many GPUs writes "module.", a compiled model "_orig_mod.".
    """
    while len(tensors) > 1 and len({k.partition(".")[0] for k in tensors}) == 1:
        if not all(k.partition(".")[2] for k in tensors):
            break
        tensors = {k.partition(".")[2]: v for k, v in tensors.items()}
    return tensors


def from_zip(archive: zipfile.ZipFile, size: int, script: bool) -> dict[str, Tensor]:
    """The tensors of an archive whose file has ``size`` bytes. Raises Bad."""
    parts = inspect(archive, size)
    coded = any(name.startswith("code/") for name in parts)
    if coded and not script:
        raise Bad(
            "is a TorchScript archive, which holds code; a checkpoint or safetensors "
            "file is wanted"
        )
    if "data.pkl" not in parts:
        raise Bad("is a zip archive without weights (it has no data.pkl)")
    if parts["data.pkl"].file_size > PICKLE:
        raise Bad("describes its tensors in more bytes than any real checkpoint")
    if "byteorder" in parts and unpack(archive, parts["byteorder"]) != b"little":
        raise Bad("was written on a machine with another byte order")

    def storage(mark) -> Storage:
        return check_storage(mark, parts)

    root = unpickle(bytes(unpack(archive, parts["data.pkl"])), storage)
    if coded:
        if not (isinstance(root, Thing) and root.scripted):
            raise Bad("holds code, but no model of TorchScript")
        views = gather(root)
    else:
        views = table(root)
    used = sum(prod(v.size) * v.storage.dtype.itemsize for v in views.values())
    if used > 2 * sum(i.file_size for i in parts.values()):
        raise Bad("makes more of its numbers than it holds")
    numbers: dict[str, bytearray] = {}
    out = {}
    for name, view in views.items():
        key = view.storage.key
        if key not in numbers:
            numbers[key] = unpack(archive, parts[f"data/{key}"])
        out[name] = build(view, numbers[key])
    return out


def inspect(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The parts of an archive by name, without the folder that all of them share.

    Nothing is unpacked yet. Raises Bad for names and sizes that no honest file has.
    """
    infos = [i for i in archive.infolist() if not i.is_dir()]
    names = [i.orig_filename for i in infos]
    if len(set(names)) < len(names):
        raise Bad("holds two parts of the same name")
    for name in names:
        steps = name.split("/")
        if re.search(r"[\\:\0]", name) or {"", ".", ".."} & set(steps):
            raise Bad("holds a part whose name leads out of the archive")
    if len({name.split("/")[0] for name in names}) != 1:
        raise Bad("is a zip archive, but none of torch")
    total = sum(i.file_size for i in infos)
    packed = sum(i.compress_size for i in infos)
    if total > LARGEST or total > RATIO * size + PIECE or packed > size:
        raise Bad(
            f"would unpack from {size / 1e6:.1f} to {total / 1e6:.0f} MB, as a zip "
            "bomb does; it is not opened"
        )
    if any(i.compress_type not in (0, zipfile.ZIP_DEFLATED) for i in infos):
        raise Bad("is packed in a way that torch does not use")
    return {n.partition("/")[2]: i for n, i in zip(names, infos, strict=True)}


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    """The bytes of one part, not one more than it declares; its checksum is tested."""
    out = bytearray(info.file_size)
    view, at = memoryview(out), 0
    with archive.open(info) as file:
        while at < len(out):
            if not (count := file.readinto(view[at : at + PIECE])):
                raise EOFError(f"{info.filename} is too short")
            at += count
        if file.read(1):
            raise EOFError(f"{info.filename} is too long")
    return out


# -- the pickle ---------------------------------------------------------------------


def unpickle(data: bytes, storage) -> object:
    """What a pickle describes, made of plain values, ``View`` and ``Thing`` alone.

    ``storage`` turns the mark of a storage into a ``Storage``. Raises Bad for an opcode
    or a call that a table of weights does not need.
    """
    stack: list = []
    marks: list[int] = []
    memo: dict[int, object] = {}

    def above() -> list:
        """Take what lies above the last mark."""
        at = marks.pop()
        items = stack[at:]
        del stack[at:]
        return items

    for opcode, value, _ in pickletools.genops(data):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE"
                | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES"
                | "SHORT_BINBYTES"
            ):  # fmt: skip
                stack.append(value)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True}.get(opcode.name, False))
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(Thing(Name("builtins", "set")))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(above()))
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "APPEND":
                put([stack.pop()], stack[-1])
            case "APPENDS" | "ADDITEMS":
                put(above(), stack[-1])
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                enter([key, value], stack[-1])
            case "SETITEMS":
                enter(above(), stack[-1])
            case "GLOBAL":
                stack.append(named(*value.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(named(module, name))
            case "BINPERSID":
                stack.append(storage(stack.pop()))
            case "NEWOBJ":
                stack.pop()  # what its class would be called with
                stack.append(Thing(expect(stack.pop(), Name)))
            case "REDUCE":
                given = expect(stack.pop(), tuple)
                stack.append(call(expect(stack.pop(), Name), given))
            case "BUILD":
                dress(stack.pop(), stack[-1])
            case _:
                raise Bad(f"uses {opcode.name}, which no table of weights needs")
    raise EOFError("its table of weights does not end")


def expect(value, kind: type):
    """``value``, if it is of this kind. Raises Bad."""
    if type(value) is not kind:
        raise Bad("wants something to be called that is no function")
    return value


def named(module: str, name: str) -> Name:
    if not isinstance(module, str) or not re.fullmatch(r"\w+", str(name)):
        raise Bad(f"names {str(name)[:40]!r}, a way through other objects")
    return Name(module, name)


def put(items: list, target) -> None:
    """Append to a list; what belongs to an ignored object is ignored."""
    if type(target) is list:
        target += items
    elif type(target) is not Thing:
        raise Bad("appends to something that is no list")


def enter(items: list, target) -> None:
    """Enter keys and values in turn; only keys that may lead to weights are kept."""
    if type(target) is dict:
        pairs = zip(items[::2], items[1::2], strict=True)
        target.update((k, v) for k, v in pairs if type(k) is str)
    elif type(target) is not Thing:
        raise Bad("enters values in something that is no table")


def call(function: Name, given: tuple) -> object:
    """What a call would give, for the few that a table of weights needs."""
    if function == TENSOR:
        return check_view(*given[:4])
    if function == PARAMETER:
        return given[0]
    if function == TABLE:
        return dict(given[0]) if given else {}
    if function in IGNORED:
        return Thing(function)
    raise Bad(f"wants {function} to be called when it is read; here nothing is")


def dress(state, target) -> None:
    """Give an object its attributes, as plain data."""
    if type(target) is Thing:
        if type(state) is dict:
            target.attributes = state
        elif target.scripted:
            raise Bad(f"has code of its own to restore {target.kind}; here none runs")
    elif type(target) is not dict:  # a table's own attributes are of no use here
        raise Bad("changes the inside of something that is no object")


# -- the tensors --------------------------------------------------------------------


def check_storage(mark, parts: dict) -> Storage:
    """The storage that a pickle points at. Raises Bad if the archive has no such."""
    word, kind, key, _, count = mark
    if word != "storage" or kind not in DTYPES:
        raise Bad(f"holds numbers of a kind that is not read here ({str(kind)[:40]})")
    if not re.fullmatch(r"\d{1,9}", str(key)) or f"data/{key}" not in parts:
        raise Bad(f"points at numbers that it does not hold (data/{str(key)[:20]})")
    there = parts[f"data/{key}"].file_size
    if type(count) is not int or count * DTYPES[kind].itemsize != there:
        raise Bad(f"says another size of data/{key} than it has")
    return Storage(str(key), DTYPES[kind], count)


def check_view(storage, offset, size, stride) -> View:
    """A tensor that lies within its storage. Raises Bad for any other."""
    if (type(storage), type(size), type(stride)) != (Storage, tuple, tuple):
        raise Bad("describes a tensor without numbers")
    if not len(size) == len(stride) <= SIDES:
        raise Bad("describes a tensor whose sides do not fit together")
    if any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise Bad("describes a tensor of no possible size")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    count = prod(size)
    if count and (last >= storage.count or count > storage.count):
        raise Bad(f"describes a tensor that reaches beyond data/{storage.key}")
    return View(storage, offset, size, stride)


def build(view: View, numbers: bytearray) -> Tensor:
    """The tensor itself, on the bytes of its storage."""
    dtype = view.storage.dtype
    raw = torch.uint8 if dtype == torch.bool else dtype  # a byte of 7 is no bool
    flat = (
        torch.frombuffer(numbers, dtype=raw) if numbers else torch.empty(0, dtype=raw)
    )
    flat = flat.ne(0) if dtype == torch.bool else flat
    return flat.as_strided(view.size, view.stride, view.offset)


def table(root) -> dict[str, View]:
    """The table of weights that a checkpoint holds, at its top or as state_dict."""
    state = root.get("state_dict", root) if type(root) is dict else root
    if type(state) is Thing:
        raise Bad(
            f"holds a whole {state.kind.name}, as torch.save(model) writes it; save "
            "model.state_dict() instead"
        )
    if type(state) is not dict:
        kinds = {View: "a single tensor", list: "a list", tuple: "a list"}
        what = kinds.get(type(state), "a number or text")
        raise Bad(f"holds {what}, no table of weights by name")
    views = {k: v for k, v in state.items() if type(v) is View}
    inner = {
        k: sum(type(n) is View for n in v.values())
        for k, v in state.items()
        if type(v) is dict and v
    }
    most = max(inner, key=inner.get, default=None)
    deeper = most is not None and inner[most] > len(views)  # beside it a step, a loss
    if deeper or inner and not views:
        raise Bad(
            "holds its weights one table deeper; save the inner table "
            f"({quoted(most)}) by itself"
        )
    if not views:
        raise Bad("holds no table of weights")
    if len(views) > NAMES:
        raise Bad("holds more tensors than any real model")
    return views


def gather(root: Thing) -> dict[str, View]:
    """The tensors of a TorchScript model by their published names."""
    out: dict[str, View] = {}
    todo, seen = [("", root, 0)], 0
    while todo:
        start, thing, depth = todo.pop()
        seen += len(thing.attributes) + 1
        if depth > 2 * SIDES or seen > 10 * NAMES or len(out) > NAMES:
            raise Bad("holds more modules than any real model")
        for key, value in thing.attributes.items():
            if type(value) is View:
                out[start + key] = value
            elif type(value) is Thing and value.scripted:
                todo.append((f"{start}{key}.", value, depth + 1))
    if not out:
        raise Bad("holds no tensors")
    return out
