"""The helpers on a second device, which is pretended: a forgotten .to(device) is red.

Each path would fail on a real GPU for the same reason. Sizes are the smallest that run.
"""

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import clip, corpus, gpt, metrics, paths, pick_device, search, vqgan
from helpers.clip import zeroshot
from helpers.corpus import augment, colours
from helpers.corpus.painted import Painted, plain_shapes
from helpers.course import checks, plots
from helpers.dalle import dalle1, diffusion, drawings, unclip
from helpers.dream import Dream, Settings, losses, sketch, strokes
from helpers.pictures import array, on_background, to_image
from helpers.vqgan import gan, published, quantizers
from helpers.workshop.recipes.gan import shaken

from . import pretend


@pytest.fixture
def gpu(monkeypatch):
    with pretend.cuda(monkeypatch) as device:
        yield device
        plt.close("all")


def noise(*shape, seed: int = 0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def bytes_of(*shape):
    return (noise(*shape) * 255).to(torch.uint8)


# -- the pretended device itself --------------------------------------------------


def test_the_device_is_seen(gpu):
    assert pick_device() == torch.device("cuda") and pick_device("cuda:0")
    x = torch.ones(2, 3).to("cuda")
    made = [torch.zeros(2, device=gpu), torch.tensor([1.0], device="cuda"), x.half()]
    made += [torch.zeros_like(x), x[0], x + 1, x.to(torch.float64), noise(2).to(x)]
    made += [x.max(1).values, torch.cat([x, x]), F.softmax(x, 1), x.new_zeros(3)]
    assert all(m.device.type == "cuda" for m in made)
    for y in (x.cpu(), x.to("cpu"), noise(2), x.to(device="cpu"), noise(2).to(x.cpu())):
        assert y.device.type == "cpu" and y.numpy() is not None


def test_devices_that_meet_are_refused(gpu):
    x, rows = torch.ones(4, 3).cuda(), torch.tensor([0, 1])
    for mix in (
        lambda: x + torch.ones(4, 3),
        lambda: torch.ones(4, 3) * x,
        lambda: torch.cat([x, torch.ones(4, 3)]),
        lambda: F.linear(x, torch.ones(2, 3)),
        lambda: nn.Linear(3, 2)(x),
        lambda: torch.zeros(4, 3)[rows.cuda()],
        lambda: torch.zeros_like(x).index_add_(0, rows, x[:2]),  # 04 crashed here once
        lambda: torch.where(x > 0, x, torch.ones(4, 3)),
        lambda: x.masked_fill(torch.ones(4, 3) > 0, 0.0),
        lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda: x.normal_(generator=torch.Generator()),
    ):
        with pytest.raises(RuntimeError, match="device|generator"):
            mix()
    for touch in (x.numpy, lambda: torch.as_tensor(x).__array__()):
        with pytest.raises(TypeError, match="numpy"):
            touch()
    assert x[rows].shape == (2, 3) and (x * torch.tensor(2.0)).sum() == 24
    x.copy_(torch.zeros(4, 3))
    assert x.sum().item() == 0


def test_a_module_that_moves_learns_there(gpu):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(gpu)
    assert all(t.device == gpu for t in model.state_dict().values())
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    before = model[0].weight.detach().clone()
    model(noise(5, 3).to(gpu)).square().mean().backward()
    optimiser.step()
    assert model[0].weight.grad.device == gpu and not before.equal(model[0].weight)


# -- the helpers ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pocket", "scratch", "judge"])
def test_clip(gpu, name):
    model = clip.load(name)
    assert next(model.model.parameters()).device == gpu
    photos = sorted(paths.PHOTOS.glob("*"))[:2]
    seen = model.embed_images(bytes_of(2, 3, 40, 40))
    read = model.embed_images(
        [p for p in photos if p.suffix in (".jpg", ".png", ".webp")]
    )
    told = model.embed_texts(["a cat", "سیب"])
    for vectors in (seen, read, told):
        assert vectors.device.type == "cpu"
    W = zeroshot.classifier(model, ["cat", "dog"])
    assert zeroshot.predict(seen, W).shape == (2, 2)
    assert search.rank(model, seen, "a cat", 2)[0]
    index = search.ImageIndex.build(bytes_of(3, 3, 40, 40), model, progress=False)
    assert len(index.search("a cat", k=2, picture=photos[0], minus="a dog")) == 2


def test_clip_learns(gpu):
    from helpers.clip import contrastive_loss, siglip_loss

    loaded = clip.load("scratch")
    model = loaded.model.train()
    x = noise(3, 3, *[model.config.image_size] * 2).to(gpu)
    tokens = loaded.tokenizer(["a", "b", "c"]).to(gpu)
    same = torch.eye(3, dtype=torch.bool).to(gpu)
    logits = model(x, tokens)
    assert contrastive_loss(logits).device == gpu
    bias = nn.Parameter(torch.tensor(-10.0, device=gpu))
    contrastive_loss(logits, same).backward(retain_graph=True)
    siglip_loss(logits, bias, same).backward()
    assert next(model.parameters()).grad.device == gpu


@pytest.mark.parametrize("name", ["pocket", "dalle"])
def test_vqgan(gpu, name):
    model = vqgan.load(name)
    side = model.config.resolution
    codes = model.to_codes(noise(1, 3, side, side) * 2 - 1)
    assert model.from_codes(codes.cpu()).shape == (1, 3, side, side)
    assert model.rebuild(noise(1, 3, side, side) * 2 - 1).shape == (1, 3, side, side)


def test_vqgan_learns(gpu):
    small = vqgan.Config(ch=16, ch_mult=(1, 2), z_channels=16, embed_dim=8, n_embed=20)
    model = vqgan.VQGAN(small).to(gpu).train()
    x = (noise(2, 3, 32, 32) * 2 - 1).to(gpu)
    y, _, loss = model(x)
    judge = vqgan.losses.PatchDiscriminator(8, 2).to(gpu)
    fool = -judge(y).mean()
    rebuild = (x - y).abs().mean()
    last = model.decoder.conv_out.weight
    weight = vqgan.losses.adaptive_weight(rebuild, fool, last)
    (rebuild + weight * fool + loss).backward()
    vqgan.losses.hinge(judge(x), judge(y.detach())).backward()
    book = model.quantize.embedding.weight.data
    average = quantizers.CodebookAverage(book)
    for z, codes in ((noise(9, 8), torch.arange(9)), (noise(9, 8).to(gpu), None)):
        average.update(z, torch.arange(9).to(z).long() if codes is None else codes)
        average.restart(z, torch.Generator(), least=2.0)
    assert published.load_discriminator() is not None


def test_drawing_from_a_gan(gpu):
    maker = gan.load()
    x = maker(maker.sample(2, torch.Generator().manual_seed(0)))
    assert x.device == gpu and shaken(x, torch.Generator()).device == gpu
    assert array((x[0] + 1).clamp(0, 2) / 2).dtype == "uint8"


@pytest.mark.parametrize(
    "knobs",
    [
        dict(drawer="vqgan", cuts=2, optimiser="adam"),
        dict(drawer="codes", cuts=2, distil=0.3),
        dict(drawer="pixel", start="noise", tile=True),
        dict(drawer="pixel", start="gradient", noises=((1, 0.3),)),
        dict(drawer="fourier", bf16=True),
        dict(drawer="lines", options={"strokes": 4}),
        dict(drawer="pixel", canvases="coarse", steps=4),
    ],
    ids=lambda k: "-".join(map(str, k.values()))[:30],
)
def test_dream(gpu, knobs, tmp_path, monkeypatch):
    # strokes trace their start; three rounds tell as much as a hundred
    monkeypatch.setattr(strokes.LineDrawer.repaint, "__defaults__", (3,))
    photo = tmp_path / "photo.png"
    to_image(noise(3, 40, 40)).save(photo)
    terms = dict.fromkeys(["saturation", "smoothness", "symmetry", "edges"], 0.1)
    terms["palette"] = (0.1, "red, white, #0000ff")
    if "start" not in knobs:
        knobs, terms["stay"] = {**knobs, "start": str(photo)}, 0.1
    given = dict(
        prompt="a fox:2 | a hat:-0.5:-0.9",
        steps=2,
        width=64,
        height=64,
        guides=("scratch",),
        cuts=2,
        canvases=(),
        pictures=((str(photo), 0.5),),
        spots=(("a tree", str(photo)),),
        overlay=(str(photo), 0.2, 1),
        losses=terms,
        every=1,
    )
    frame = Dream(Settings(**given | knobs)).run(progress=False)
    assert frame.score is not None and frame.losses
    assert plots.one_picture(frame.picture) is None


def test_sketch(gpu, monkeypatch):
    monkeypatch.setattr(sketch, "STEPS", 1)
    monkeypatch.setattr(sketch, "MAKERS", {})
    pair = [clip.load(name) for name in sketch.PAIR]
    painter = sketch.maker(str(gpu), pair)
    picture, liked, told = sketch.draw("a puppy", 0, pair, painter)
    assert picture.shape == (3, 128, 128) and -1 <= liked <= 1 and "puppy" not in told


def test_dalle_1(gpu):
    model = dalle1.load()
    grid = model.grid
    begin = torch.zeros(1, grid**2 - 2, dtype=torch.long)
    codes = model.draw_codes(["a red apple"], begin=begin)
    assert codes.device == gpu and model.pictures(codes).device == gpu
    assert model.losses(["a red apple"], codes.cpu()).shape == (1, grid**2)
    assert len(model.describe(codes, temperature=1.0)) == 1
    x, cosine = model.best_of(
        "an apple", 2, clip.load("scratch"), begin=begin.repeat(2, 1)
    )
    assert len(x) == len(cosine) == 2


def test_dalle_2(gpu):
    if not (paths.MODELS / "unclip.safetensors").exists():
        model = unclip.Unclip(unclip.Config())
        codes = vqgan.load("dalle")
        model = unclip.Painter(model.to(gpu), clip.load("pocket"), codes, {})
    else:
        model = unclip.load()
    seen = model.imagine(["a red apple"], steps=2)
    small = model.decode(seen, steps=2)
    assert model.finish(small).device == gpu
    assert model.latents(model.paint(small).cpu()).device == gpu
    assert model.recover(small, seen, steps=1).device == gpu
    mean = unclip.between(seen[0], seen[0].roll(1), torch.linspace(0, 1, 3))
    assert mean.device == gpu
    t = torch.full((1,), 0.5, device=gpu)
    x_t = diffusion.add_noise(small, torch.randn_like(small), t)
    assert diffusion.velocity(small, torch.randn_like(small), t).shape == x_t.shape


def test_pictures_in_training(gpu):
    rgba, g = bytes_of(4, 4, 48, 48).to(gpu), torch.Generator().manual_seed(0)
    for x in (
        augment.random_views(rgba, 32, g),
        augment.crops(rgba, 32, g),
        augment.framed(noise(4, 3, 32, 32).to(gpu), g),
        drawings.whole_views(rgba, g, plain=0.5),
        on_background(rgba),
        colours.main_colour(rgba),
        colours.turned_colours(rgba),
    ):
        assert x.device == gpu
    split = corpus.load("unseen_artist", progress=False)
    split = corpus.Corpus(split.cards[:4], split.rgba[:4])
    rgba, captions, rows, shown = Painted(split, gpu)(3)
    assert rgba.device == gpu and len(captions) == len(rows) == len(shown) == 3
    assert plain_shapes(2, 32, frozenset(), Painted(split, gpu).rng, g)


def test_measures(gpu):
    a, b = F.normalize(noise(6, 4), dim=1).to(gpu), noise(6, 4, seed=1).to(gpu)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for where in (labels, labels.to(gpu)):
        p = b[:, :3].softmax(1)
        assert metrics.confusion(p.argmax(1), where, 3).shape == (3, 3)
        assert 0 <= metrics.top_k(a, b[:3], where, 1) <= 1
        assert 0 <= metrics.balanced_accuracy(p.argmax(1), where) <= 1
        assert metrics.calibration(p, where)
        assert metrics.calibration_by_chance(p, draws=3)
        assert zeroshot.probe(a, where, b).shape == (6,)
    assert (
        metrics.recall_at(metrics.ranks(a, b, metrics.same("abcabc", "abcabc")), 1) >= 0
    )
    assert metrics.usage(labels.to(gpu), 4)[0] == 0.75
    assert metrics.frechet(a, b) >= 0
    x = noise(2, 3, 8, 8).to(gpu)
    assert metrics.sharpness(x) > 0 and metrics.psnr(x, x.flip(0)).shape == (2,)
    assert gpt.filter_logits(b, top_k=2, top_p=0.9).device == gpu
    assert search.neighbours(a, "exact").ntotal == 6


def test_losses_of_pictures(gpu):
    x = noise(1, 3, 16, 16).to(gpu).requires_grad_()
    names = ["saturation", "smoothness", "symmetry", "edges", "stay"]
    for weight, term in losses.build(
        dict.fromkeys(names, 1.0) | {"palette": (1.0, "red, blue")}, x.detach()
    ).values():
        (weight * term(x)).backward()


def test_figures(gpu):
    x, codes = noise(4, 3, 16, 16).to(gpu), torch.arange(16).view(4, 4).to(gpu)
    plots.show_pictures(x, list("abcd"))
    plots.similarity_matrix(x, list("abcd"), noise(4, 4).to(gpu))
    plots.scatter_pictures(plots.flat_map(noise(4, 5).to(gpu)), x, list("abcd"))
    plots.code_grid(x[0], codes)
    plots.overlay(x[:2], noise(2, 4, 4).to(gpu), ["a", "b"])
    plots.heat(x[:2], noise(2, 4, 4).to(gpu), ["a", "b"], "heat")
    plots.one_picture(x[0])
    plots.table(noise(2, 2).to(gpu), ["a", "b"], ["c", "d"], "share")


def test_what_you_wrote_is_compared_there(gpu, capsys):
    x = noise(3, 4).to(gpu)
    checks.same(x + 1, x + 1.0, what="two sides")
    assert "the same" in capsys.readouterr().out
