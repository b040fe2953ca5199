"""Embedding in shards: cut off, killed, damaged, in tar files, too many for memory."""

import io
import json
import os
import signal
import tarfile

import faiss
import pytest
import torch
from PIL import Image

from helpers import clip
from helpers.clip import CLIP, Config
from helpers.clip.files import save_clip
from helpers.search import ImageIndex, disk, parts
from helpers.workshop import embed as module
from helpers.workshop.embed import Shard, Worker, embed, shards

from .test_adversarial import SMALL, tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of a small model, quick to load in every worker."""
    torch.manual_seed(0)
    words = tokenizer()
    config = Config(**vars(SMALL) | {"vocab": len(words)})
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_clip(path, CLIP(config).eval(), words, {})
    return path


def picture(n: int) -> bytes:
    g, out = torch.Generator().manual_seed(n), io.BytesIO()
    noise = torch.randint(256, (24, 30, 3), generator=g, dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(out, "PNG")
    return out.getvalue()


def folder_of(folder, count: int = 10):
    for n in range(count):
        place = folder / f"sub{n % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{n}.png").write_bytes(picture(n))
    return folder


def tar_of(path, count: int, start: int = 0):
    """As WebDataset lays it out: a key, and an ending for each thing about it."""
    with tarfile.open(path, "w") as tar:
        for n in range(start, start + count):
            for ending, raw in (("png", picture(n)), ("txt", b"a cat")):
                member = tarfile.TarInfo(f"{n:05d}.{ending}")
                member.size = len(raw)
                tar.addfile(member, io.BytesIO(raw))
    return path


def same(index, other) -> None:
    assert index.names == other.names
    assert sorted(index.skipped) == sorted(other.skipped)
    torch.testing.assert_close(index.vectors, other.vectors, atol=1e-5, rtol=0)


def test_shards_become_the_index_that_a_build_makes(tmp_path, model):
    source = folder_of(tmp_path / "in")
    (source / "bad.png").write_bytes(b"no picture")
    index = embed(source, tmp_path / "out", model, size=3, progress=False)
    ready = clip.load(str(model), "cpu")
    same(index, ImageIndex.build(source, ready, progress=False))
    same(index, ImageIndex.load(tmp_path / "out", ready))
    assert len(index) == 10 and index.skipped[0][0].endswith("bad.png")


def test_work_that_is_done_is_not_done_again(tmp_path, model, monkeypatch):
    source, seen = folder_of(tmp_path / "in"), []
    real = module.vectors_of

    def count(shard, model):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(shard.key)
        return real(shard, model)

    monkeypatch.setattr(module, "vectors_of", count)
    with pytest.raises(KeyboardInterrupt):
        embed(source, tmp_path / "out", model, size=3, progress=False)
    first, seen[:] = list(seen), []
    monkeypatch.setattr(
        module, "vectors_of", lambda s, m: seen.append(s.key) or real(s, m)
    )
    index = embed(source, tmp_path / "out", model, size=3, progress=False)
    assert len(seen) == 2 and not set(seen) & set(first) and len(index) == 10
    (source / "sub1" / "9.png").write_bytes(picture(99))  # the last shard changes
    part = tmp_path / "out.parts" / f"{first[0]}.safetensors"
    part.write_bytes(part.read_bytes()[:-9])  # and the first is damaged
    seen.clear()
    embed(source, tmp_path / "out", model, size=3, progress=False)
    assert len(seen) == 2 and first[0] in seen


def test_tar_files_are_shards_and_a_cut_one_gives_what_it_has(tmp_path, model):
    source = tmp_path / "in"
    source.mkdir()
    tar_of(source / "0.tar", 4)
    cut = tar_of(source / "1.tar", 4, 4)
    cut.write_bytes(cut.read_bytes()[:4000])
    (source / "2.tar").write_bytes(b"nothing")
    with tarfile.open(source / "3.tar", "w") as tar:  # a link is no picture
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    index = embed(source, tmp_path / "out", model, progress=False)
    names = [n.rsplit("/", 2)[1:] for n in index.names]
    assert names[:4] == [["0.tar", f"{n:05d}.png"] for n in range(4)]
    assert 4 < len(index) < 8 and len(index.skipped) == 2
    assert all("cut short or damaged" in reason for _, reason in index.skipped)
    ready = clip.load(str(model), "cpu")
    want = ready.embed_images([picture(n) for n in range(4)])
    torch.testing.assert_close(index.vectors[:4], want, atol=1e-2, rtol=0)


@pytest.mark.parametrize("bad", ["missing", "empty", "file", "size", "nothing"])
def test_bad_sources_get_one_sentence(tmp_path, model, bad):
    source, size = tmp_path / "in", 5
    if bad == "file":
        source.write_text("hello", "utf-8")
    elif bad != "missing":
        source.mkdir()
        (source / "a.png").write_bytes(b"no picture") if bad == "nothing" else None
    if bad == "size":
        size = 0
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        embed(source, tmp_path / "out", model, size=size, progress=False)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_without_ray_it_says_so(tmp_path, model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match="pip install ray"):
        embed(folder_of(tmp_path / "in"), tmp_path / "out", model, actors=2)


@pytest.mark.slow
def test_a_killed_actor_loses_no_shard(tmp_path, model):
    ray = pytest.importorskip("ray", reason="Ray is optional and not installed here.")
    source = folder_of(tmp_path / "in", 12)
    alone = embed(source, tmp_path / "alone", model, size=2, progress=False)
    marker = str(tmp_path / "killed")

    class Mortal(Worker):  # pickled whole, as it is no name of a module
        def embed(self, shard: Shard) -> tuple:
            if "5.png" in "".join(shard.files) and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().embed(shard)

    try:
        index = embed(source, tmp_path / "out", model, 2, 2, kind=Mortal,
                      device="cpu", progress=False)  # fmt: skip
    finally:
        ray.shutdown()
    assert os.path.exists(marker)
    same(index, alone)


def test_a_disk_index_finds_what_memory_finds(tmp_path, model, monkeypatch):
    ready = clip.load(str(model), "cpu")
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 16, generator=g)[torch.arange(3000) % 60]
    rows = centres + 0.4 * torch.randn(3000, 16, generator=g)
    rows = torch.nn.functional.normalize(rows, dim=1)
    files = [tmp_path / f"p{n}.safetensors" for n in range(3)]
    for file, block in zip(files, rows.split(1000), strict=True):
        card = {"names": [f"{file.stem}/{n}" for n in range(1000)], "skipped": []}
        parts.write(file, card, block)
    with pytest.raises(ValueError, match="needs 10,000 pictures or more"):
        disk.build(files, ready, tmp_path / "big")
    monkeypatch.setattr(disk, "LEAST", 1000)
    monkeypatch.setattr(disk, "BLOCK", 1500)
    disk.build(files, ready, tmp_path / "big")
    index = disk.DiskIndex(tmp_path / "big", ready)
    assert len(index) == 3000 and index.at(2999)[0] == "p2/999"
    assert torch.equal(index.at(1000)[1], rows[1000])
    assert isinstance(faiss.downcast_InvertedLists(index.near.invlists),
                      faiss.OnDiskInvertedLists)  # fmt: skip
    index.near.nprobe = 16
    query = ready.embed_texts("a cat")[0]
    best = (rows @ query).topk(5)
    hits = index.search("a cat", 5)
    assert len({h.place for h in hits} & set(best.indices.tolist())) >= 4
    for hit in hits:
        assert hit.score == pytest.approx(float(rows[hit.place] @ query), abs=1e-5)
    other = clip.Embedder("x", ready.model, ready.tokenizer, {}, ready.device, "other")
    with pytest.raises(ValueError, match="cannot be asked by x"):
        disk.DiskIndex(tmp_path / "big", other)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        disk.DiskIndex(tmp_path / "none", ready)
    with pytest.raises(ValueError, match="query is empty"):
        index.search(" ")


def test_a_shard_knows_its_files_and_its_model(tmp_path):
    source = folder_of(tmp_path / "in", 4)
    first = [s.key for s in shards(source, "m", 2)[0]]
    assert len(set(first)) == 2 and first == [s.key for s in shards(source, "m", 2)[0]]
    assert not set(first) & {s.key for s in shards(source, "other", 2)[0]}


def test_a_disk_index_that_is_damaged(tmp_path, model):
    ready = clip.load(str(model), "cpu")
    for card in ("{", "{}", "[]", json.dumps({
        "fingerprint": ready.fingerprint, "model": "m", "parts": [], "counts": [],
    })):  # fmt: skip
        for ending in (".faiss", ".ivfdata"):
            (tmp_path / f"i{ending}").write_bytes(b"x")
        (tmp_path / "i.disk.json").write_text(card)
        with pytest.raises(ValueError, match="damaged: build the index again"):
            disk.DiskIndex(tmp_path / "i", ready)
    for bad in (None, 3):
        with pytest.raises(ValueError, match="text or a Path"):
            disk.DiskIndex(bad, ready)
        with pytest.raises(ValueError, match="text or a Path"):
            parts.read(bad)


def test_places_that_take_no_index_and_names_that_are_no_text(
    tmp_path, model, monkeypatch, capsys
):
    folder = folder_of(tmp_path / "p", 2)
    (tmp_path / "file").touch()
    for out, says in ((".", "is a folder"), ("/", "is a folder"),
                      (tmp_path / "file" / "i", "cannot be written")):  # fmt: skip
        with pytest.raises((ValueError, PermissionError), match=says):
            embed(folder, out, model, progress=False)
    with open(os.fsencode(folder) + b"/c\xfe.jpg", "w") as file:
        file.write("x")
    words = ["embed", str(folder), "--out", str(tmp_path / "i"), "--model", str(model)]
    monkeypatch.setattr("sys.argv", words)
    module.main()
    assert "skipped" in capsys.readouterr().out
