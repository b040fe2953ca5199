"""The cache of converted VQGANs: checked each time, healed, and filled by hand."""

import pytest
import torch
from safetensors.torch import save_file

from helpers import vqgan
from helpers.vqgan import Config, published

TINY = Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=20, fold=2)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A published VQGAN "tiny" behind a mirror that counts its calls."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(folder))
    torch.manual_seed(0)
    state = vqgan.VQGAN(TINY).state_dict()

    def fetch(sources):
        fetch.calls += 1
        torch.save({"state_dict": state}, folder / "last.ckpt")
        return folder / "last.ckpt"

    fetch.calls, fetch.state, fetch.folder = 0, state, folder
    fetch.ours = folder / "vqgan-tiny.safetensors"
    monkeypatch.setattr(published, "fetch", fetch)
    use(monkeypatch, ("a mirror",))
    return fetch


def use(monkeypatch, sources) -> None:
    entry = published.Published(TINY, sources, 1, "https://page.example")
    monkeypatch.setitem(published.PUBLISHED, "tiny", entry)


def same(model, state) -> bool:
    return all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "cut without seal"])
def test_a_harmed_file_is_converted_again(cache, harm):
    assert same(vqgan.load("tiny", "cpu"), cache.state)
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 1
    assert sorted(p.name for p in cache.folder.iterdir()) == [
        "vqgan-tiny.safetensors",
        "vqgan-tiny.safetensors.sha256",
    ]
    data = bytearray(cache.ours.read_bytes())
    data[-100] ^= 1
    if harm == "gone":
        cache.ours.unlink()
    else:
        cache.ours.write_bytes(data if harm == "flip" else data[: len(data) // 2])
    if harm == "cut without seal":
        cache.ours.with_name(cache.ours.name + ".sha256").unlink()
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 2
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 2


def test_a_file_put_into_the_cache_by_hand_is_used(cache):
    save_file(cache.state, cache.ours)
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 0
    data = bytearray(cache.ours.read_bytes())
    data[-100] ^= 1  # it was sealed when it had been read
    cache.ours.write_bytes(data)
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 1


def test_a_checkpoint_without_a_known_hash_can_be_put_into_the_cache(
    cache, monkeypatch
):
    use(monkeypatch, ())
    with pytest.raises(ValueError, match="page.example .* as vqgan-tiny.ckpt"):
        vqgan.load("tiny", "cpu")
    mine = cache.folder / "vqgan-tiny.ckpt"
    torch.save({"state_dict": cache.state}, mine)
    assert same(vqgan.load("tiny", "cpu"), cache.state)
    assert mine.exists() and cache.ours.exists() and cache.calls == 0


def test_a_file_of_your_own_may_be_plain_safetensors(cache, tmp_path):
    save_file(cache.state, tmp_path / "x.safetensors")
    assert same(vqgan.load("tiny", "cpu", tmp_path / "x.safetensors"), cache.state)
    assert cache.calls == 0 and not cache.ours.exists()


def test_a_file_that_goes_with_no_name_is_one_sentence(cache, tmp_path):
    path = tmp_path / "vqgan_imagenet_f16_1024.ckpt"
    with pytest.raises(FileNotFoundError, match="no weights file"):
        vqgan.load(str(path))
    torch.save({"state_dict": cache.state}, path)
    with pytest.raises(ValueError, match=r'load\("imagenet-f16-1024", file='):
        vqgan.load(str(path))
    with pytest.raises(ValueError, match='"pocket" is a VQGAN of ours'):
        vqgan.load("pocket", file=path)


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_a_mirror_holds_the_same_file(name):
    sources = published.PUBLISHED[name].sources
    hashes = {s.sha256 for s in sources}
    assert len(sources) < 2 or (len(hashes) == 1 and None not in hashes)


def test_a_cache_that_is_read_only_is_read(cache, monkeypatch):
    # a school's shared cache: the seal was written anew at each load
    vqgan.load("tiny", "cpu")

    def refuse(*given):
        raise PermissionError("nobody may write here")

    monkeypatch.setattr(published.paths, "cache", refuse)
    monkeypatch.setattr(published.weights, "seal", refuse)
    assert same(vqgan.load("tiny", "cpu"), cache.state) and cache.calls == 1
