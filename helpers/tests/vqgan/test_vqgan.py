"""VQGAN against the reference modules, its losses, its files, and bad input."""

import os
import pickle
import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers import metrics, vqgan, weights
from helpers.vqgan import Config, losses, published, quantizers

needed = "needs taming-transformers-rom1504 (helpers/tests/requirements.txt)"
SMALL = Config(
    ch=128,
    ch_mult=(1, 2),
    num_res_blocks=1,
    attn_resolutions=(16,),
    resolution=32,
    z_channels=32,
    embed_dim=16,
    n_embed=40,
    fold=1,
)
TINY = Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=20, fold=2)


def reference(gumbel: bool = False) -> torch.nn.ModuleDict:
    """The modules of Taming Transformers, in the sizes of SMALL, random weights."""
    parts = pytest.importorskip("taming.modules.diffusionmodules.model", reason=needed)
    quantize = pytest.importorskip("taming.modules.vqvae.quantize", reason=needed)
    c = SMALL
    sizes = dict(
        ch=c.ch,
        out_ch=3,
        ch_mult=c.ch_mult,
        num_res_blocks=c.num_res_blocks,
        attn_resolutions=c.attn_resolutions,
        in_channels=3,
        resolution=c.resolution,
        z_channels=c.z_channels,
        double_z=False,
    )
    torch.manual_seed(0)
    if gumbel:
        book = quantize.GumbelQuantize(
            c.embed_dim, c.embed_dim, n_embed=c.n_embed, straight_through=True
        )
    else:
        book = quantize.VectorQuantizer2(c.n_embed, c.embed_dim, 0.25, legacy=False)
        torch.nn.init.normal_(book.embedding.weight)
    model = torch.nn.ModuleDict(
        {
            "encoder": parts.Encoder(**sizes),
            "decoder": parts.Decoder(**sizes),
            "quantize": book,
            "quant_conv": torch.nn.Conv2d(c.z_channels, c.embed_dim, 1),
            "post_quant_conv": torch.nn.Conv2d(c.embed_dim, c.z_channels, 1),
        }
    )
    for p in model.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    return model.eval()


class Callback:
    """Stands for the objects of Lightning in a checkpoint."""

    def __init__(self):
        self.best = 0.5


def checkpoint(path, model) -> None:
    """A Lightning checkpoint: weights, a discriminator, an optimiser, a callback."""
    state = {k: v for k, v in model.state_dict().items()}
    state["loss.discriminator.main.0.weight"] = torch.randn(4, 3, 4, 4)
    lightning = types.ModuleType("lightning_stub")
    Callback.__module__ = "lightning_stub"
    lightning.Callback = Callback
    import sys

    sys.modules["lightning_stub"] = lightning
    torch.save(
        {
            "epoch": 3,
            "state_dict": state,
            "callbacks": {Callback: Callback()},
            "optimizer_states": [{"exp_avg": torch.randn(3)}],
        },
        path,
    )
    del sys.modules["lightning_stub"]


@pytest.mark.parametrize("kind", ["lightning", "plain", "safetensors"])
@pytest.mark.parametrize("batch", [1, 3])
def test_published_format_gives_the_reference_output(
    tmp_path, monkeypatch, kind, batch
):
    theirs = reference()
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(tmp_path / "cache"))
    entry = published.Published(SMALL, (), 1, "nowhere")
    monkeypatch.setitem(published.PUBLISHED, "small", entry)
    path = tmp_path / "last.ckpt"
    if kind == "lightning":
        checkpoint(path, theirs)
    elif kind == "plain":
        torch.save(theirs.state_dict(), path)
    else:
        path = tmp_path / "last.safetensors"
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path, {"kind": "vqgan"})
    ours = vqgan.load("small", "cpu", file=path)
    x = torch.rand(batch, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        z = theirs["quant_conv"](theirs["encoder"](x))
        q, loss, (_, _, codes) = theirs["quantize"](z)
        want = theirs["decoder"](theirs["post_quant_conv"](q))
        got, mine, my_loss = ours(x)
    assert (mine.flatten() == codes.flatten()).all()
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(my_loss, loss, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        ours.from_codes(mine), want.clamp(-1, 1), atol=1e-4, rtol=1e-4
    )


def test_gumbel_gives_the_reference_output():
    theirs = reference(gumbel=True)
    config = Config(**vars(SMALL) | {"gumbel": True})
    state = {k: v for k, v in theirs.state_dict().items()}
    ours = published.fill(config, published.network(state, "test"), "test")
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        z = theirs["quant_conv"](theirs["encoder"](x))
        codes = theirs["quantize"].proj(z).argmax(1)
        q = theirs["quantize"].embed(codes).permute(0, 3, 1, 2)
        want = theirs["decoder"](theirs["post_quant_conv"](q))
        got, mine, _ = ours(x)
    assert (mine == codes).all()
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_gumbel_is_only_used_and_knows_no_training():
    torch.manual_seed(0)
    model = vqgan.VQGAN(Config(**vars(TINY) | {"gumbel": True}))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        (a, codes, loss), (b, same, _) = model.train()(x), model.eval()(x)
    assert torch.equal(codes, same) and torch.equal(a, b) and loss == 0


def test_names_of_the_published_models_are_those_of_the_paper():
    """339 tensors of encoder and decoder, 76 M parameters (reference figures)."""
    with torch.device("meta"):
        model = vqgan.VQGAN(published.IMAGENET)
    names = model.state_dict()
    assert names["encoder.conv_out.weight"].shape == (256, 512, 3, 3)
    assert "decoder.up.4.attn.2.proj_out.weight" in names
    assert "encoder.down.3.downsample.conv.weight" in names
    assert "decoder.up.0.upsample.conv.weight" not in names
    count = sum(p.numel() for p in model.parameters())
    assert round(count / 1e6, 2) == 76.07


def test_no_code_of_a_checkpoint_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save({"state_dict": {"a": torch.ones(2)}, "x": Evil()}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="a.ckpt wants .*mkdir to be called"):
        published.read_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "evil").exists()
    with pytest.raises(pickle.UnpicklingError):  # what torch says by itself
        torch.load(tmp_path / "a.ckpt", weights_only=True)


def test_download_is_converted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES_AND_WORDS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "last.ckpt"
    torch.save({"state_dict": vqgan.VQGAN(TINY).state_dict()}, source)
    calls = []
    monkeypatch.setattr(published, "fetch", lambda sources: calls.append(1) or source)
    entry = published.Published(TINY, ("anything",), 1, "nowhere")
    monkeypatch.setitem(published.PUBLISHED, "tiny", entry)
    first, second = vqgan.load("tiny", "cpu"), vqgan.load("tiny", "cpu")
    assert calls == [1] and not source.exists()
    assert torch.equal(first.quantize.codebook, second.quantize.codebook)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 4, 7)])
def test_quantizer_takes_the_nearest_code(shape):
    quantizer = quantizers.VectorQuantizer(TINY)
    torch.nn.init.normal_(quantizer.embedding.weight)
    z = torch.randn(shape[0], 8, *shape[1:])
    rows = z.permute(0, 2, 3, 1).reshape(-1, 8)
    want = torch.cdist(rows, quantizer.codebook).argmin(1)
    assert (quantizer.nearest(z).flatten() == want).all()


def test_gradient_passes_straight_through_and_its_weight_is_on_the_commitment():
    quantizer = quantizers.VectorQuantizer(TINY, commitment_weight=0.25)
    torch.nn.init.normal_(quantizer.embedding.weight)
    z = torch.randn(2, 8, 3, 3, requires_grad=True)
    q, codes, loss = quantizer(z)
    weight = torch.randn_like(q)
    (q * weight).sum().backward()
    assert torch.equal(z.grad, weight)
    z.grad = None
    loss = quantizer(z)[2]
    loss.backward()
    want = 0.25 * 2 * (z - quantizer.rows(codes)).detach() / z.numel()
    torch.testing.assert_close(z.grad, want)  # 0.25 for the encoder, 1 for the codes
    assert quantizer.embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("layers", "width"), [(2, 8), (3, 16)])
def test_discriminator_and_its_losses_are_those_of_the_reference(layers, width):
    model = pytest.importorskip("taming.modules.discriminator.model", reason=needed)
    peer = pytest.importorskip("taming.modules.losses.vqperceptual", reason=needed)
    theirs = model.NLayerDiscriminator(3, width, layers).eval()
    ours = losses.PatchDiscriminator(width, layers).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 48, 32)
    real, fake = ours(x), ours(x.flip(2)) * 2
    torch.testing.assert_close(real, theirs(x))
    torch.testing.assert_close(losses.hinge(real, fake), peer.hinge_d_loss(real, fake))


@pytest.mark.parametrize("count", [1, 4])
def test_adaptive_weight_makes_the_gradients_equal(count):
    last = torch.randn(3, 5, requires_grad=True)
    x = torch.randn(count, 5)
    rebuild, fool = ((x @ last.T) ** 2).mean(), 7 * (x @ last.T).sum()
    weight = losses.adaptive_weight(rebuild, fool, last)
    a = torch.autograd.grad(rebuild, last, retain_graph=True)[0].norm()
    b = torch.autograd.grad(weight * fool, last)[0].norm()
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
    assert not weight.requires_grad


def test_codebook_average_goes_to_the_mean_and_revives_dead_codes():
    g = torch.Generator().manual_seed(0)
    book = torch.zeros(3, 2)
    moving = quantizers.CodebookAverage(book, decay=0.5)
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    for _ in range(30):
        moving.update(z, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(book[:2], torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    assert moving.restart(z, g) == 1  # nobody chose code 2
    assert any(torch.equal(book[2], row) for row in z)


@pytest.mark.skipif(
    torch.__version__ < "2.6" and not torch.cuda.is_available(),
    reason="fake tensors of torch 2.5 ask the driver of a GPU",
)
@pytest.mark.parametrize("rows_at", ["cpu", "cuda"])
def test_the_average_lives_where_its_book_lives(rows_at):
    """A pretended GPU: fake tensors raise when two devices meet, as real ones do."""
    with FakeTensorMode():
        book = torch.empty(5, 3, device="cuda")
        moving = quantizers.CodebookAverage(book)
        z = torch.empty(7, 3, device=rows_at)
        with pytest.raises(RuntimeError, match="device"):
            book + torch.empty(5, 3)
        moving.update(z, torch.zeros(7, dtype=torch.long, device=rows_at))
        for tensor in (moving.book, *moving.state()):
            assert tensor.device.type == "cuda"


def test_usage_and_perplexity():
    share, spread = metrics.usage(torch.tensor([0, 1, 2, 3]), 8)
    assert (share, round(spread, 3)) == (0.5, 4.0)
    share, spread = metrics.usage(torch.zeros(5, dtype=torch.long), 8)
    assert (share, round(spread, 3)) == (0.125, 1.0)


def test_sizes_off_the_stride_are_padded_and_cropped_back():
    model = vqgan.VQGAN(TINY).eval()
    for size in ((1, 1), (13, 22), (16, 8)):
        x = torch.rand(2, 3, *size) * 2 - 1
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            y = model.rebuild(x)
        assert y.shape == x.shape
        assert any("padded" in str(w.message) for w in said) == (size != (16, 8))
    assert model.rebuild(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


def test_bad_input_is_one_sentence(tmp_path):
    model = vqgan.VQGAN(TINY).eval()
    with pytest.raises(ValueError, match="not from 0.00 to 255.00"):
        model.to_codes(torch.tensor([0.0, 255.0]).expand(1, 3, 4, 2).contiguous())
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        model.to_codes(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="between 0 and 19"):
        model.from_codes(torch.full((1, 2, 2), 20))
    with pytest.raises(ValueError, match="whole numbers"):
        model.from_codes(torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="no VQGAN called"):
        vqgan.load("nonsense")
    with pytest.raises(ValueError, match="is not downloaded by itself"):
        vqgan.load("openimages-f8-gumbel")
    bad = model.state_dict()
    bad["decoder.conv_in.bias"] = bad["decoder.conv_in.bias"] * float("nan")
    with pytest.raises(ValueError, match="decoder.conv_in.bias holds NaN"):
        published.fill(TINY, bad, "x.ckpt")
    other = vqgan.VQGAN(Config(**vars(TINY) | {"n_embed": 30})).state_dict()
    with pytest.raises(ValueError, match="n_embed 30.*n_embed 20"):
        published.fill(TINY, other, "x.ckpt")
    with pytest.raises(FileNotFoundError, match="no weights file"):
        published.read_checkpoint(tmp_path / "none.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>Link does not exist</html>")
    with pytest.raises(ValueError, match="cut short or no checkpoint"):
        published.read_checkpoint(tmp_path / "page.ckpt")
    torch.save({"a": torch.ones(1)}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="holds no VQGAN"):
        found = published.read_checkpoint(tmp_path / "a.ckpt")
        published.network(found, "a.ckpt")


def test_perceptual_distance_is_zero_for_the_same_picture_and_grows():
    timm = pytest.importorskip("timm")
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    perceive = losses.Perceptual(trunk)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    near = (x + 0.05 * torch.randn_like(x)).clamp(-1, 1).requires_grad_(True)
    assert perceive(x, x) < 1e-8
    assert 0 < perceive(near, x) < perceive(x.flip(2), x)
    F.relu(perceive(near, x)).backward()
    assert near.grad.abs().sum() > 0


def test_a_discriminator_of_features_scores_patches_and_learns_to_tell():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    eyes = losses.Perceptual(trunk, depths=(0, 2))
    smooth = F.interpolate(torch.rand(8, 3, 4, 4), size=(64, 64)) * 2 - 1
    rough = (smooth + 0.5 * torch.randn_like(smooth)).clamp(-1, 1)
    with torch.no_grad():
        real, fake = eyes.features(smooth), eyes.features(rough)
    channels = [f.shape[1] for f in real]
    discriminator = losses.FeatureDiscriminator(channels, width=16)
    assert [s.shape for s in discriminator(real)] == [
        (8, 1, *f.shape[2:]) for f in real
    ]
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-2)

    def loss() -> torch.Tensor:
        pairs = zip(discriminator(real), discriminator(fake), strict=True)
        return sum(losses.hinge(*pair) for pair in pairs) / len(channels)

    before = loss().item()
    for _ in range(30):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert abs(before - 1) < 0.2 and loss() < 0.8 * before
    one = [f[:1] for f in real]
    for a, b in zip(discriminator.eval()(one), discriminator(real), strict=True):
        torch.testing.assert_close(a, b[:1], atol=1e-4, rtol=1e-4)


def test_own_file_round_trip(tmp_path):
    model = vqgan.VQGAN(TINY).eval()
    weights.save_model(tmp_path / "v.safetensors", "vqgan", model, {"model": "test"})
    again = vqgan.load(str(tmp_path / "v.safetensors"), "cpu")
    assert again.card == {"model": "test"} and again.config == TINY
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(again(x)[0], model(x)[0], atol=2e-2, rtol=2e-2)


def test_no_picture_and_sides_that_are_none():
    model = vqgan.VQGAN(Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8,
                               n_embed=20, fold=2)).eval()  # fmt: skip
    s = model.config.stride
    assert model.to_codes(torch.zeros(0, 3, 2 * s + 1, s)).shape == (0, 3, 1)
    none = torch.zeros(0, 3, 1).long()
    assert model.from_codes(none).shape == (0, 3, 3 * s, s)
    assert model.from_codes(none, (5, 4)).shape == (0, 3, 5, 4)
    for size in (3, "x", (1,), (0, 1), (-1, -1), (1.5, 2)):
        with pytest.raises(ValueError):
            model.from_codes(torch.zeros(1, 2, 2).long(), size)
