"""Training that is not fooled: the attack, the batches, the wrong pictures."""

import random

import pytest
import torch
from torch import nn

from helpers import clip, corpus
from helpers.clip import CLIP, Config
from helpers.clip.tokenizer import Tokenizer, learn_merges
from helpers.corpus import painted
from helpers.workshop import muon
from helpers.workshop.adversarial import batches, robust, wrong
from helpers.workshop.run import Average

SMALL = Config(
    embed=16,
    image_size=32,
    width=32,
    layers=1,
    heads=2,
    vocab=600,
    context=24,
    text_width=32,
    text_layers=1,
    text_heads=2,
)


def card(n: int) -> dict:
    return {
        "name": ("cat", "dog", "red car", "house")[n % 4],
        "name_fa": "گربه",
        "concept": f"c{n % 4}",
        "source": "noto",
        "style": "emoji",
        "keywords": ["thing"],
    }


@pytest.fixture
def paint(monkeypatch):
    monkeypatch.setattr(painted, "hidden_names", lambda: frozenset({"green car"}))
    rgba = torch.zeros(12, 4, 32, 32, dtype=torch.uint8)
    rgba[:, 0, 8:24, 8:24], rgba[:, 3, 8:24, 8:24] = 220, 255
    split = corpus.Corpus([card(n) for n in range(12)], rgba)
    return painted.Painted(split, "cpu", seed=0)


def tokenizer() -> Tokenizer:
    return Tokenizer(learn_merges(["a cat and a dog", "red car"] * 9, 80), 24)


def test_an_attack_stays_near_and_gets_its_way():
    torch.manual_seed(0)
    x, slope = 0.25 + torch.rand(4, 3, 8, 8) / 2, torch.randn(4, 3, 8, 8)
    eps = torch.tensor([0.0, 0.2, 0.5, 1.0])

    def score(y):
        return (slope * y).sum()

    near = robust.attack(score, x, eps, 2, torch.Generator().manual_seed(0))
    far = (near - x).flatten(1).norm(dim=1)
    assert (far <= eps + 1e-4).all() and torch.equal(near[0], x[0])
    best = slope.flatten(1).norm(dim=1) * eps
    got = (slope * (near - x)).flatten(1).sum(1)
    assert (got >= 0.9 * best - 1e-4).all()
    assert not near.requires_grad and near.min() >= 0 and near.max() <= 1


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (8, 4, 3, 3)])
def test_many_matrices_at_once_move_like_one(shape):
    torch.manual_seed(0)
    start, slopes = torch.randn(shape), [torch.randn(shape) for _ in range(3)]
    flat = nn.Parameter(start.flatten(1).clone())
    pair = [nn.Parameter(start.clone()), nn.Parameter(start.clone())]
    kind = getattr(torch.optim, "Muon", None)
    if kind is None:
        pytest.skip("this torch has no Muon")
    one = kind([flat], 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    both = muon.Muon(pair, 0.02)
    for slope in slopes:
        flat.grad = slope.flatten(1).clone()
        for p in pair:
            p.grad = slope.clone()
        one.step(), both.step()
    assert torch.equal(*pair)
    got, want = (p.detach().flatten(1) - start.flatten(1) for p in (pair[0], flat))
    assert (got - want).norm() < 0.03 * want.norm()


def test_every_weight_has_one_optimiser():
    for config in (
        SMALL,
        Config(vision="resnet", width=8, layers=(1, 1, 1, 1), image_size=32, vocab=300),
    ):
        model = CLIP(config)
        both = robust.optimisers(model, 1e-3, fused=False)
        held = [p for o in both for group in o.param_groups for p in group["params"]]
        assert len(held) == len({id(p) for p in held})
        assert {id(p) for p in held} == {id(p) for p in model.parameters()}
        assert any(p.ndim == 4 for p in both[1].param_groups[0]["params"])


def test_a_plainer_name_is_true_as_well():
    shown, also = torch.tensor([1, 2, 9]), torch.tensor([-1, -1, 1])
    want = [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert robust.positives(shown, also).int().tolist() == want


@pytest.mark.parametrize("workers", [0, 2])
def test_plans_and_their_pictures_belong_together(paint, workers):
    bank = painted.plain_shapes(
        5, 32, paint.hidden, random.Random(0), torch.Generator()
    )
    words = tokenizer()
    plans = batches.Plans(paint, bank[1:], words, 50, 3, forced=[7, 2], force=4)
    made = batches.loader(plans, workers)
    plan, other = next(made), next(made)
    assert not (plan["order"] == other["order"]).all()
    rgba = batches.Pictures(paint, bank[0])(plan)
    assert rgba.shape == (50, 4, 32, 32) and rgba.dtype == torch.uint8
    assert plan["tokens"].shape[0] == 51 and len(plan["shown"]) == 50
    assert plan["drawings"][:4].tolist() == [[7, 2][k] for k in plan["forced"]]
    assert plan["order"][:4].tolist() == [0, 1, 2, 3] and not plan["turns"][:4].any()
    shown = [paint.concept[i] for i in plan["drawings"][:4]]
    assert plan["shown"][:4].tolist() == shown
    texts = [words.decode([int(i) for i in row if i]) for row in plan["tokens"]]
    assert texts[-1] == batches.NOTHING
    for text, what in zip(texts, plan["shown"], strict=False):
        pair = batches.PAIR <= what
        assert pair == any(w in text.split() for w in ("and", "next", "beside", "و"))
        assert "green car" not in text
    del made


def test_wrong_pictures_keep_what_they_should():
    x = torch.rand(2, 3, 32, 32)
    moved = wrong.tiles_moved(x, 8)
    assert moved.shape == x.shape and not torch.equal(moved, x)
    assert torch.allclose(moved.flatten(2).sort().values, x.flatten(2).sort().values)
    assert wrong.tiles_moved(x, 5).shape == x.shape
    assert wrong.dim_memory(x, 3).std() < x.std() / 2
    noise = wrong.noises(6, 32, "cpu")
    assert noise.shape == (6, 3, 32, 32) and 0 <= noise.min() <= noise.max() <= 1


def test_failed_drawings_please_the_guide():
    torch.manual_seed(0)
    guide = clip.Embedder("x", CLIP(SMALL).eval(), tokenizer(), {}, torch.device("cpu"))
    g = torch.Generator().manual_seed(0)
    texts = ["a cat", "a dog", "red car"]
    start = wrong.failed_drawings(guide, texts, 32, 0, 4, 0.0, g, at_once=3)
    g.manual_seed(0)
    made = wrong.failed_drawings(guide, texts, 32, 30, 4, 9e12, g, at_once=3)
    assert made.shape == (3, 3, 32, 32)
    goal = guide.embed_texts(texts)
    with torch.no_grad():
        scores = [
            (guide.model.encode_image(p.float()) * goal).sum(1) for p in (start, made)
        ]
    assert (scores[1] > scores[0]).all()
    late = wrong.failed_drawings(guide, texts, 32, 30, 4, 0.0, g, at_once=2)
    assert len(late) == 2  # the clock was past: what was begun, and no more


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model, words = CLIP(SMALL), tokenizer()
    model = CLIP(Config(**vars(SMALL) | {"vocab": len(words)}))
    average, path = Average(model, 0.9), tmp_path / "m.safetensors"
    assert robust.keep(path, model.config, average, words, {"model": "m"})
    assert clip.load(str(path)).card == {"model": "m"}
    before = path.read_bytes()
    average.state["logit_scale"] = torch.tensor(float("nan"))
    assert not robust.keep(path, model.config, average, words, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("out", [None, "m.safetensors"])
def test_a_training_of_two_steps(paint, tmp_path, out):
    split = corpus.Corpus(paint.cards, paint.rgba)
    words = tokenizer()
    config = Config(**vars(SMALL) | {"vocab": len(words)})
    recipe = robust.Recipe("m", config, batch=50, eps=0.5, attacks=1)
    path = tmp_path / out if out else None
    model = robust.fit(recipe, split, paint, words, out=path, small=True)
    assert not model.training and all(p.isfinite().all() for p in model.parameters())
    assert [p.name for p in tmp_path.iterdir()] == ([out] if out else [])
    if out:
        assert clip.load(str(path)).card["steps"] == 2


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_training_goes_on_from_a_file(paint, tmp_path, monkeypatch, share):
    split = corpus.Corpus(paint.cards, paint.rgba)
    words = tokenizer()
    config = Config(**vars(SMALL) | {"vocab": len(words)})
    recipe = robust.Recipe("m", config, batch=50, eps=0.5, attacks=1, share=share)
    before = robust.fit(
        recipe, split, paint, words, out=tmp_path / "m.safetensors", small=True
    )
    recipe.init, attacked = tmp_path / "m.safetensors", []
    begun, _ = robust.beginning(recipe, paint, small=True)
    for key, value in before.state_dict().items():
        torch.testing.assert_close(begun.state_dict()[key], value, atol=1e-3, rtol=1e-3)
    attack = robust.attack

    def watched(score, x, eps, *more):
        attacked.append((len(x), float(eps.max())))
        return attack(score, x, eps, *more)

    monkeypatch.setattr(robust, "attack", watched)
    robust.fit(recipe, split, paint, words, out=tmp_path / "n.safetensors", small=True)
    assert [n for n, _ in attacked] == [round(50 * share)] * 2
    # no slow beginning: the attacks are as far as they will be from the first step on
    assert all(0.25 < eps <= 0.5 for _, eps in attacked)
    card = clip.load(str(tmp_path / "n.safetensors")).card
    assert card["init"] == "m.safetensors" and f"{share:.0%}" in card["attack"]
