"""Weights files of others: honest ones are read whole, malicious ones do nothing."""

import io
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections import OrderedDict

import pytest
import torch

from helpers import archive

EMPTY = OrderedDict()


def listing(folder) -> dict:
    return {p: p.stat().st_size for p in sorted(folder.rglob("*"))}


def refuse(path, says: str, script: bool = False) -> None:
    """One sentence that names the file, and nothing is written."""
    before = listing(path.parent)
    with pytest.raises(ValueError, match=says) as error:
        archive.read(path, script)
    text = str(error.value)
    assert path.name in text and text.endswith(".") and "\n" not in text
    assert listing(path.parent) == before


class Part:
    """A storage of ``count`` floats in a pickle made by hand."""

    def __init__(self, count, key="0", kind=torch.FloatStorage):
        self.mark = ("storage", kind, key, "cpu", count)


class Call:
    """Whatever a pickle may want to be called."""

    def __init__(self, function, *given, state=None):
        self.parts = (function, given) if state is None else (function, given, state)

    def __reduce__(self):
        return self.parts


def tensor(size, stride, offset=0, count=6, **more):
    part = Part(count, **more)
    return Call(
        torch._utils._rebuild_tensor_v2, part, offset, size, stride, False, EMPTY
    )


def describe(value, protocol: int = 2) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.mark if isinstance(thing, Part) else None

    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def pack(path, parts: dict, method=zipfile.ZIP_STORED, top: str = "w/"):
    """A zip archive as torch writes it, with these parts."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in parts.items():
            file.writestr(top + name, data)
    return path


def six(path, value, data: bytes = bytes(24), **more):
    """An archive with one storage of six floats and this pickle."""
    table = value if isinstance(value, bytes) else describe(value)
    return pack(path, {"data.pkl": table, "data/0": data}, **more)


# -- honest files -------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 4])
def test_honest_checkpoints_are_read_as_torch_reads_them(tmp_path, protocol):
    base = torch.randn(4, 5)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8)
    state = OrderedDict(
        base=base,
        turned=base.T,
        part=base[1:3, ::2],
        parameter=torch.nn.Parameter(torch.randn(3)),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 3),
        bools=torch.tensor([True, False]),
        **{str(k): torch.arange(5).to(k) for k in kinds},
    )
    for name, value in (("plain", state), ("lightning", {"state_dict": state})):
        path = tmp_path / f"{name}.ckpt"
        if name == "lightning":
            value |= {"epoch": 3, "optimizer_states": [{0: torch.randn(2)}]}
        torch.save(value, path, pickle_protocol=protocol)
        found = archive.read(path)
        assert set(found) == set(state)
        for key, want in state.items():
            assert found[key].dtype == want.dtype and not found[key].requires_grad
            assert torch.equal(found[key], want), key


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 4).half())
        self.register_buffer("size", torch.tensor(224))
        self.sides, self.table = (1, 2), {"a": 1}

    def forward(self, x):
        return x.half() @ self.weight.T


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(Inner(), torch.nn.Linear(3, 2).half())
        self.conv = torch.nn.Conv2d(3, 4, 2, stride=2, bias=False)

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("way", ["script", "trace"])
def test_a_torchscript_archive_gives_the_names_of_its_state_dict(tmp_path, way):
    path = tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Outer().eval()
        make = torch.jit.script if way == "script" else torch.jit.trace
        more = () if way == "script" else (torch.randn(2, 4),)
        make(model, *more).save(path)
    found = archive.read(path, script=True)
    want = model.state_dict()
    assert set(found) == set(want)
    assert all(torch.equal(found[k], want[k]) for k in want)
    refuse(path, "TorchScript archive, which holds code")


# -- malicious files ----------------------------------------------------------------


def test_a_call_in_a_pickle_is_not_made(tmp_path):
    evil = Call(os.mkdir, str(tmp_path / "evil"))
    torch.save({"state_dict": {"a": torch.ones(2)}, "x": evil}, tmp_path / "a.ckpt")
    refuse(tmp_path / "a.ckpt", "mkdir to be called")
    torch.save({"a": torch.ones(2), "x": Call(eval, "1 + 1")}, tmp_path / "b.ckpt")
    refuse(tmp_path / "b.ckpt", "eval to be called")


@pytest.mark.parametrize("name", ["OrderedDict.__init__", "os.system", "a b", ""])
def test_a_name_does_not_lead_through_other_objects(tmp_path, name):
    text = b"\x80\x04" + b"".join(
        b"\x8c" + bytes([len(word)]) + word.encode() for word in ("collections", name)
    )
    path = six(tmp_path / "a.pt", text + b"\x93)R.")
    refuse(path, "a way through other objects")


class Writer(torch.nn.Module):
    """A TorchScript module that writes a file while it is loaded."""

    def __init__(self, path: str):
        super().__init__()
        self.path, self.there = path, torch.zeros(4, dtype=torch.uint8)
        self.weight = torch.nn.Parameter(torch.ones(3))

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return self.path, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path, self.weight, self.training = state
        self.there = torch.from_file(self.path, True, 4, dtype=torch.uint8)
        self.there.copy_(torch.tensor([101, 118, 105, 108], dtype=torch.uint8))

    def forward(self, x: torch.Tensor):
        return x


def test_code_of_a_torchscript_archive_writes_nothing(tmp_path):
    (tmp_path / "other").mkdir()
    goal, path = tmp_path / "other" / "evil", tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writer(str(goal))).save(path)
        torch.jit.load(path)
    assert goal.read_bytes() == b"evil", "the file is malicious indeed"
    goal.unlink()
    refuse(path, "code of its own to restore", script=True)
    refuse(path, "holds code")
    assert not goal.exists()


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    parts = {"data.pkl": describe({"a": tensor((6,), (1,))}), "data/0": bytes(50 << 20)}
    path = pack(tmp_path / "a.pt", parts, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive, "unpack", lambda *_: pytest.fail("it was unpacked"))
    refuse(path, "zip bomb")
    monkeypatch.setattr(archive, "LARGEST", 1000)
    refuse(pack(tmp_path / "b.pt", parts | {"data/0": bytes(2000)}), "zip bomb")


def test_a_part_that_is_longer_than_it_says_is_refused(tmp_path):
    value = {"a": tensor((6,), (1,))}
    path = six(tmp_path / "a.pt", value, bytes(4096), method=zipfile.ZIP_DEFLATED)
    lie = path.read_bytes().replace(struct.pack("<I", 4096), struct.pack("<I", 24))
    path.write_bytes(lie)
    refuse(path, "damaged")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x", "a//x", "./x"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    path = six(tmp_path / "a.pt", {"a": tensor((6,), (1,))})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"evil")
    refuse(path, "leads out of the archive")


def test_two_parts_of_one_name_are_refused(tmp_path):
    path = six(tmp_path / "a.pt", {"a": tensor((6,), (1,))})
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("w/data/0", bytes(24))
    refuse(path, "two parts of the same name")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (tensor((7,), (1,)), "reaches beyond"),
        (tensor((2, 3), (4, 1)), "reaches beyond"),
        (tensor((3,), (1,), offset=4), "reaches beyond"),
        (tensor((10**12,), (0,)), "reaches beyond"),
        (tensor((2,), (-1,)), "no possible size"),
        (tensor((2,), (1,), offset=-1), "no possible size"),
        (tensor((2.0,), (1,)), "no possible size"),
        (tensor((2, 2), (1,)), "do not fit together"),
        (tensor((1,) * 70, (1,) * 70), "do not fit together"),
        (tensor((6,), (1,), count=7), "another size"),
        (tensor((3,), (1,), kind=torch.DoubleStorage), "another size"),
        (tensor((6,), (1,), key="1"), "does not hold"),
        (tensor((6,), (1,), key="../data/0"), "does not hold"),
        (tensor((6,), (1,), kind=torch.ComplexFloatStorage), "of a kind"),
        (tensor((6,), (1,), kind=os.system), "of a kind"),
        (Call(torch._utils._rebuild_tensor_v2, 1, 2, 3, 4), "without numbers"),
    ],
)
def test_a_tensor_lies_within_its_storage(tmp_path, value, says):
    refuse(six(tmp_path / "a.pt", {"a": value}), says)


@pytest.mark.parametrize("size", [0, 20, 23, 25, 28])
def test_a_storage_has_the_size_that_it_says(tmp_path, size):
    value = {"a": tensor((5,), (1,))}
    refuse(six(tmp_path / "a.pt", value, bytes(size)), "another size")


def test_one_storage_is_not_multiplied(tmp_path):
    value = {str(n): tensor((5000,), (1,), count=5000) for n in range(50)}
    refuse(six(tmp_path / "a.pt", value, bytes(20000)), "more of its numbers")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso.", "uses OBJ"),
        (b"(S'ls'\nios\nsystem\n.", "uses STRING"),
        (b"\x80\x04cos\nsystem\n)}\x92.", "uses NEWOBJ_EX"),
        (b"\x80\x02K\x01)R.", "no function"),
        (b"\x80\x02]}b.", "no object"),
        (b"\x80\x02)K\x01a.", "no list"),
        (b"\x80\x02)K\x01K\x02s.", "no table"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "damaged"),
        (b"\x80\x02}", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"", "damaged"),
    ],
)
def test_opcodes_of_other_programs_are_refused(tmp_path, table, says):
    refuse(six(tmp_path / "a.pt", table), says)


def test_the_inside_of_a_tensor_is_not_changed(tmp_path):
    value = tensor((6,), (1,))
    value.parts = (*value.parts, {"data": 1})
    refuse(six(tmp_path / "a.pt", {"a": value}), "no object")


def test_modules_in_a_circle_or_without_end_are_refused(tmp_path):
    new = b"c__torch__\nM\n)\x81"
    circle = b"\x80\x02" + new + b"q\x00}X\x01\x00\x00\x00ah\x00sb."
    wide = new + b"q\x00"
    for n in range(1, 40):  # each holds the one before it twice
        wide += new + bytes([ord("q"), n])
        wide += b"}(X\x01\x00\x00\x00ah%cX\x01\x00\x00\x00bh%cub" % (n - 1, n - 1)
    for table in (circle, b"\x80\x02" + wide + b"."):
        parts = {"data.pkl": table, "code/a.py": b"pass"}
        refuse(pack(tmp_path / "a.pt", parts), "more modules", script=True)


def test_other_zip_archives_are_refused(tmp_path):
    parts = {"data.pkl": describe({"a": tensor((6,), (1,))}), "data/0": bytes(24)}
    refuse(pack(tmp_path / "a.pt", {"a.txt": b"hello"}), "no data.pkl")
    refuse(pack(tmp_path / "b.pt", parts, zipfile.ZIP_BZIP2), "does not use")
    refuse(pack(tmp_path / "c.pt", parts | {"byteorder": b"big"}), "byte order")
    refuse(pack(tmp_path / "d.pt", parts | {"code/x": b""}), "no model", script=True)
    long = parts | {"data.pkl": bytes(archive.PICKLE + 1)}
    refuse(pack(tmp_path / "e.pt", long), "more bytes")
    pack(tmp_path / "f.pt", parts)
    with zipfile.ZipFile(tmp_path / "f.pt", "a") as file:
        file.writestr("elsewhere/data.pkl", b"")
    refuse(tmp_path / "f.pt", "none of torch")


# -- damaged files ------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "w.ckpt"
    torch.save({"a": torch.arange(40.0), "b": torch.ones(3, 3).half()}, path)
    return path, path.read_bytes()


def test_a_file_cut_anywhere_is_refused(whole):
    path, data = whole
    for size in sorted({*range(0, len(data), 37), len(data) - 1}):
        path.write_bytes(data[:size])
        refuse(path, "damaged")


def test_a_flipped_bit_is_seen_or_changes_nothing(whole):
    path, data = whole
    want, seen = archive.read(path), 0
    rolls = random.Random(0)
    for _ in range(400):
        changed = bytearray(data)
        changed[rolls.randrange(len(data))] ^= 1 << rolls.randrange(8)
        path.write_bytes(changed)
        try:
            found = archive.read(path)
        except ValueError as error:
            assert "\n" not in str(error)
            seen += 1
        else:
            assert set(found) == set(want)
            assert all(torch.equal(found[k], want[k]) for k in want)
    assert seen > 40  # most of a small archive is padding


# -- files that are no table of weights -----------------------------------------------


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([torch.ones(2)], "holds a list"),
        (torch.ones(2), "holds a single tensor"),
        (torch.nn.Linear(2, 2), r"whole Linear, .* save model.state_dict\(\)"),
        ({"state_dict": torch.nn.Linear(2, 2)}, "whole Linear"),
        ({"model": {"a": torch.ones(2)}}, 'save the inner table \\("model"\\)'),
        ({"epoch": 3}, "holds no table of weights"),
        ({"state_dict": [1]}, "holds a list"),
        (3, "holds a number"),
    ],
)
def test_no_table_of_weights_is_one_sentence(tmp_path, value, says):
    torch.save(value, tmp_path / "a.pt")
    refuse(tmp_path / "a.pt", says)


def test_old_pickles_pages_and_folders_are_one_sentence(tmp_path):
    path = tmp_path / "a.pt"
    state = {"a": torch.ones(2)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    refuse(path, "plain pickle, as torch.save wrote before version 1.6")
    for text in ("", "<html>Link does not exist</html>"):
        path.write_text(text)
        refuse(path, "begins like no weights file")
    for missing in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(FileNotFoundError, match="There is no weights file"):
            archive.read(missing)


def test_words_in_front_of_all_names_are_left_out():
    # open_clip's and torch.compile's checkpoints: "module.", "_orig_mod.module."
    one = torch.ones(1)
    inner = {"visual.a": one, "b": one}
    for start in ("module.", "_orig_mod.module.", "clip_model."):
        given = {start + k: v for k, v in inner.items()}
        assert archive.bare(given) == inner
    for kept in ({"a.b": one}, {"a.b": one, "a": one}, {"a.b": one, "c.b": one}, {}):
        assert archive.bare(kept) == kept


def test_a_table_one_deeper_is_named_though_a_number_stands_beside_it(tmp_path):
    # weights_faults.md 10, nested checkpoints: {"model": ..., "step": tensor}
    path = tmp_path / "a.pt"
    state = {f"w{n}": torch.ones(1) for n in range(3)}
    torch.save({"step": torch.tensor(3), "model": state}, path)
    refuse(path, r'save the inner table \("model"\)')
