"""DALL-E 2: its networks' shapes, the walk back, what is refused. Small and random."""

import pytest
import torch
import torch.nn.functional as F

from helpers import clip, vqgan
from helpers.dalle import dalle1, unclip
from helpers.dalle.unclip import Config, Painter, Unclip


class Eyes:
    """Stands for a CLIP: the mean colours of a picture, the letters of a text."""

    fingerprint = "eyes"

    def embed_texts(self, texts):
        rows = [[float(t.count(c)) + 0.1 for c in "abcdefghijkl"] for t in texts]
        return F.normalize(torch.tensor(rows).view(-1, 12), dim=-1)

    def embed_images(self, pictures):
        x = torch.stack([torch.as_tensor(p).float() for p in pictures])
        return F.normalize(F.adaptive_avg_pool2d(x, 2).flatten(1), dim=-1)


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    sizes = vqgan.Config(
        ch=8, ch_mult=(1, 1, 1, 1), num_res_blocks=1, fold=2,
        resolution=128, z_channels=8, embed_dim=4, n_embed=32,
    )  # fmt: skip
    c = Config(embed=12, prior_width=16, prior_layers=1, latent=4, grid=8,
               decoder_width=32, decoder_layers=2, decoder_heads=2,
               upsampler=(8, 8, 8), clock=16)  # fmt: skip
    model = Unclip(c)
    for p in model.parameters():  # zeros at the start would hide what is never used
        torch.nn.init.normal_(p, std=0.1)
    return Painter(model, Eyes(), vqgan.VQGAN(sizes).eval(), {})


@pytest.mark.parametrize("count", [1, 3])
def test_captions_become_pictures(painter, count):
    texts = ["a bag", "big", "dice"][:count]
    out = painter.draw(texts, steps=2)
    assert out.shape == (count, 3, 128, 128) and 0 <= out.min() <= out.max() <= 1
    again = painter.draw(texts, steps=2)
    torch.testing.assert_close(out, again)
    assert (painter.draw(texts, seed=1, steps=2) != out).any()
    sharp = painter.draw(texts, sharpen=True, steps=2)
    latents = painter.decode(painter.imagine(texts), steps=2)
    torch.testing.assert_close(out, painter.paint(latents))
    torch.testing.assert_close(sharp, painter.finish(latents))
    assert sharp.shape == out.shape and (sharp != out).any()


def test_every_input_reaches_the_decoder(painter):
    net, g = painter.model.decoder, torch.Generator().manual_seed(0)
    x, seen = torch.randn(2, 4, 8, 8, generator=g), torch.randn(2, 12, generator=g)
    t, told = torch.tensor([0.3, 0.6]), torch.ones(2, dtype=torch.bool)
    out = net(x, t, seen, told)
    assert out.shape == x.shape
    for other in (
        net(x + 0.1, t, seen, told),
        net(x, t + 0.1, seen, told),
        net(x, t, seen + 1, told),
        net(x, t, seen, ~told),
    ):
        assert not torch.allclose(out, other)
    alone = net(x[1:], t[1:], seen[1:], told[1:])
    torch.testing.assert_close(out[1:], alone)
    assert torch.equal(net(x, t, seen, ~told), net(x, t, 0 * seen, ~told))


def test_at_first_the_blocks_do_nothing():
    torch.manual_seed(0)
    block = unclip.DecoderBlock(16, 2)
    x = torch.randn(2, 9, 16)
    assert torch.equal(block(x, torch.zeros(2, 6, 16)), x)


def test_latents_and_pictures_belong_together(painter):
    net = painter.model.decoder
    net.mean.fill_(0.5)
    net.spread.fill_(2.0)
    x = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    z = painter.latents(x)
    torch.testing.assert_close(z * 2 + 0.5, painter.vqgan.encode(x * 2 - 1))
    codes = painter.vqgan.to_codes(x * 2 - 1)
    wanted = ((painter.vqgan.from_codes(codes) + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(painter.paint(z), wanted)


def test_variations_and_the_walk_back(painter):
    picture = torch.rand(3, 64, 64)
    many = painter.variations(picture, 2, steps=2)
    assert many.shape == (2, 3, 128, 128) and (many[0] != many[1]).any()
    z = painter.latents(torch.rand(1, 3, 128, 128))
    noise = painter.recover(z, painter.look([picture]), steps=3)
    assert noise.shape == z.shape and (noise != z).any()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_between_walks_on_the_sphere(share):
    a, b = torch.eye(3)[0], torch.eye(3)[1]
    angle = torch.tensor(share * torch.pi / 2)
    wanted = torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0)])
    torch.testing.assert_close(unclip.between(a, b, share), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "knobs, said",
    [
        ({"guidance": -1}, "guidance must be a number from 0 to 1000, not -1"),
        ({"guidance": float("nan")}, "not nan"),
        ({"guidance": float("inf")}, "not inf"),
        ({"steps": 0}, "steps must be a whole number from 1 to 10,000, not 0"),
        ({"steps": -3}, "not -3"),
        ({"steps": 2.5}, "not 2.5"),
    ],
)
def test_knobs_out_of_range_are_refused(painter, knobs, said):
    seen, picture = torch.rand(1, 12), torch.rand(3, 64, 64)
    for way in (
        lambda: painter.draw("a bag", **knobs),
        lambda: painter.imagine(["a bag"], **knobs),
        lambda: painter.decode(seen, **knobs),
        lambda: painter.variations(picture, 2, **knobs),
    ):
        with pytest.raises(ValueError, match=said):
            way()


def test_steps_of_the_other_two_walks(painter):
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        painter.enlarge(torch.rand(1, 3, 64, 64), steps=0)
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        painter.recover(torch.rand(1, 4, 8, 8), torch.rand(1, 12), steps=0)


def test_no_picture_of_none(painter):
    assert painter.draw([]).shape == (0, 3, 128, 128)
    assert painter.imagine([], steps=2).shape == (0, 12)
    assert painter.decode(torch.zeros(0, 12), steps=2).shape == (0, 4, 8, 8)
    for count in (0, -2):
        with pytest.raises(ValueError, match=f"from 1 to 4,096, not {count}"):
            painter.variations(torch.rand(3, 64, 64), count)


def test_other_shapes_are_refused(painter):
    seen, z = torch.rand(2, 12), torch.rand(2, 4, 8, 8)
    for way, said in (
        (lambda: painter.decode(torch.rand(2, 7)), r"Embeddings .*\(B, 12\).*\(2, 7\)"),
        (lambda: painter.decode(seen[0]), "Embeddings"),
        (lambda: painter.decode(seen, start=z[:1]), "2 embeddings came with 1"),
        (lambda: painter.decode(seen, start=z[..., :4]), r"Latents .*\(B, 4, 8, 8\)"),
        (lambda: painter.recover(z, seen[:1]), "1 embeddings came with 2"),
        (lambda: painter.paint(z[:, :3]), "Latents"),
        (lambda: painter.latents(torch.rand(1, 3, 64, 64)), "Pictures .*128, 128"),
        (lambda: painter.latents(torch.ones(1, 3, 128, 128).byte()), "torch.uint8"),
        (lambda: painter.enlarge(torch.rand(1, 3, 128, 128)), "Small .*64, 64"),
        (lambda: painter.decode(seen / 0), "NaN or inf"),
        (lambda: painter.paint(z * float("nan")), "NaN or inf"),
        (lambda: painter.enlarge(torch.rand(1, 3, 64, 64), seed="3"), "seed must be"),
        (lambda: painter.enlarge(torch.rand(1, 3, 64, 64), seed=None), "seed must be"),
        (lambda: unclip.between(seen[:1], seen[1:, :5], 0.5), "do not fit together"),
        (lambda: unclip.between(seen, seen, torch.rand(3)), "do not fit together"),
        (lambda: unclip.between(None, seen, 0.5), "Embeddings are numbers"),
        (lambda: unclip.between(seen, seen, "half"), "Shares are numbers"),
        (lambda: unclip.between(seen, seen, float("nan")), "from 0 to 1"),
        (lambda: unclip.between(seen, seen, 1.5), "from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=said) as refusal:
            way()
        assert "\n" not in str(refusal.value)


def test_words_out_of_range_with_the_shipped_clip(painter):
    """A caption beyond the context is cut with a warning; no text is refused."""
    eyes = clip.load("pocket", "cpu")
    c = Config(embed=eyes.model.config.embed, prior_width=16, prior_layers=1,
               decoder_width=24, decoder_layers=1, decoder_heads=2,
               upsampler=(8, 8, 8), clock=16)  # fmt: skip
    mine = Painter(Unclip(c), eyes, painter.vqgan, {})
    with pytest.warns(UserWarning, match="longer than"):
        assert mine.imagine(["a red apple " * 60], steps=1).isfinite().all()
    for captions in ([3], [None]):
        with pytest.raises(TypeError, match="Text number 0"):
            mine.imagine(captions)


def test_an_unknown_name_is_refused(tmp_path):
    for load, title in ((unclip.load, "DALL-E 2"), (dalle1.load, "DALL-E 1")):
        with pytest.raises(ValueError, match=f'There is no {title} called "nothing"; '):
            load("nothing")
        with pytest.raises(FileNotFoundError, match="no weights file"):
            load(tmp_path / "mine.safetensors")
        (tmp_path / "mine.pt").touch()
        with pytest.raises(ValueError, match=r"those end in \.safetensors"):
            load(tmp_path / "mine.pt")


def test_a_step_of_every_training_part_lowers_the_loss(painter):
    pytest.importorskip("tqdm")
    from helpers.workshop.recipes import unclip as recipe
    from helpers.workshop.run import Clock

    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = Unclip(painter.model.config)
    data = {
        "entry": torch.arange(8) % 2,
        "worth": torch.ones(8),
        "latents": torch.randn(2, 4, 8, 8, generator=g)[torch.arange(8) % 2],
        "seen": torch.randn(2, 12, generator=g)[torch.arange(8) % 2],
        "pictures": torch.randint(0, 255, (8, 3, 128, 128), generator=g).byte(),
        "painted": torch.randint(0, 255, (8, 3, 64, 64), generator=g).byte(),
        "texts": (torch.randn(2, 12, generator=g), torch.tensor([[0, 1], [1, 1]])),
    }
    kept = []

    def save(state, loss):
        kept.append(loss)

    for part in ("prior", "decoder"):
        recipe.train_part(part, model, data, Clock(1), "cpu", 8, 0, save)
        recipe.train_part(part, model, data, Clock(300), "cpu", 8, 0, save)
        assert kept[-1] < 0.95 * kept[-2], part
    last = recipe.train_part("upsampler", model, data, Clock(2), "cpu", 2)
    assert last > 0


@pytest.mark.parametrize("seed", [10**20, -1, None, 1.5, "0"])
def test_a_seed_that_is_none(painter, seed):
    # newcomers' "Overflow when unpacking": mended in one panel, and here in another
    for act in (painter.draw, painter.imagine):
        with pytest.raises(ValueError, match="seed must be a whole number"):
            act(["a bag"], seed)


def test_what_is_no_caption_and_what_is_no_picture(painter):
    # None drew no picture without a word; 0..255 as floats went through, white
    for bad in (None, 3, b"a bag", [None]):
        with pytest.raises(TypeError):
            painter.draw(bad)
    assert torch.equal(
        painter.imagine("a bag", steps=2), painter.imagine(["a bag"], steps=2)
    )
    x = torch.rand(1, 3, 128, 128)
    small = x[..., :64, :64]
    for bad, says in (
        (lambda: painter.latents(x * 255), r"lie in \[0, 1\]"),
        (lambda: painter.latents(x * 2 - 1), r"lie in \[0, 1\]"),
        (lambda: painter.latents(x * float("nan")), "NaN or inf"),
        (lambda: painter.enlarge(small * 255), r"lie in \[0, 1\]"),
        (lambda: painter.enlarge(small, blur=2), "blur must be"),
        (lambda: painter.latents("cat.jpg"), "not str"),
        (lambda: painter.decode([[0.0] * 12]), "not list"),
    ):
        with pytest.raises(ValueError, match=says):
            bad()


def test_other_floats_and_the_largest_seed(painter):
    # the kind of deforum#747: "expected m1 and m2 to have the same dtype"
    seen, z = torch.rand(1, 12), torch.rand(1, 4, 8, 8)
    want = painter.decode(seen, steps=1, start=z)
    assert torch.equal(painter.decode(seen.double(), steps=1, start=z.double()), want)
    assert torch.equal(painter.paint(z.double()), painter.paint(z))
    painter.recover(z.double(), seen, steps=1)
    small = torch.rand(1, 3, 64, 64)
    large = painter.enlarge(small.double(), seed=2**63 - 1, steps=1)
    assert large.dtype == torch.float32
    a, b = torch.rand(2, 1, 12)
    way = unclip.between(a.numpy(), b.tolist(), [0, 1])
    torch.testing.assert_close(way, F.normalize(torch.cat([a, b]), dim=-1))


def test_no_picture_at_all_has_the_shape_of_pictures(painter):
    none = painter.latents(torch.zeros(0, 3, 128, 128))
    assert none.shape == (0, *painter.places)
    assert painter.paint(none).shape == (0, 3, 128, 128)
    assert painter.finish(none).shape == (0, 3, 128, 128)
    assert painter.enlarge(torch.zeros(0, 3, 64, 64)).shape == (0, 3, 128, 128)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="NaN"):
            unclip.between(torch.full((1, 4), bad), torch.ones(1, 4), 0.5)
    with pytest.raises(ValueError, match="side of noise"):
        painter.noise(0, 2, -1)
    with pytest.raises(ValueError, match="numbers in a tensor"):
        painter.long("x")
