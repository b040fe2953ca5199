"""The tower of pocket, its training pictures and texts, and what decides."""

import pytest
import torch
import torch.nn.functional as F

from helpers import corpus
from helpers.clip import CLIP, contrastive_loss
from helpers.clip.tokenizer import Tokenizer, learn_merges
from helpers.corpus import colours
from helpers.workshop.pocket import choice, pictures
from helpers.workshop.pocket import texts as lessons
from helpers.workshop.pocket.eyes import ridge, targets
from helpers.workshop.pocket.head import both_ways
from helpers.workshop.recipes.pocket import pocket_config
from helpers.workshop.teachers import PHYSICAL, WordNet, shrink_rows

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CLIP(pocket_config()).eval()


@pytest.mark.parametrize("size", [64, 160, 192])
def test_the_tower_takes_any_size(model, size):
    with torch.no_grad():
        out = model.encode_image(torch.rand(2, 3, size, size))
    assert out.shape == (2, 384)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2))


def test_both_branches_start_alike_and_are_the_network(model):
    tower, x = model.visual, torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        e = tower.early(x)
        torch.testing.assert_close(tower.seen(e), tower.drawn(e))
        whole = tower.trunk.forward_features(x)
        whole = tower.trunk.forward_head(whole, pre_logits=True)
        torch.testing.assert_close(tower.seen(e), whole, atol=1e-4, rtol=1e-4)


def test_a_gradient_reaches_the_colour_of_every_pixel(model):
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    (found,) = torch.autograd.grad(model.visual.colour(x).square().sum(), x)
    assert (found.abs().sum(1) > 0).all()


def test_a_prompt_of_the_lesson_fits_the_context():
    assert pocket_config().context >= 48


def test_rows_of_eight_bits_stay_close():
    weight = torch.randn(5, 40) * torch.tensor([1, 10, 0.01, 1, 3])[:, None]
    small, scale = shrink_rows(weight)
    found = small.float() * scale.float()
    assert F.cosine_similarity(found, weight).min() > 0.9999


def test_composed_texts_have_parts_and_hide_what_is_hidden():
    cards = [{"name": n} for n in ("cat", "red apple", "boat", "heart")]
    texts, parts = lessons.composed(cards, 300, frozenset({"blue cat", "heart"}))
    assert len(texts) == len(parts) == 300 and all(parts)
    assert not any("blue cat" in t or "heart" in t for t in texts)


@pytest.fixture
def net():
    """A WordNet of four senses: a polar bear is a bear, a thing; a wish is none."""
    net = WordNet.__new__(WordNet)
    net._above = {}
    net.parents = {PHYSICAL: [], "bear": [PHYSICAL], "polar": ["bear"], "wish": []}
    net.senses = {"bear": ["wish", "bear"], "polar bear": ["polar"], "wish": ["wish"]}
    net.gloss = {"bear": "a heavy animal", "polar": "a white bear"}
    return net


def test_a_name_means_its_commonest_thing(net):
    cases = {"bear": "bear", "Polar bears": "polar", "teddy bear: brown": "bear"}
    assert {name: net.thing(name) for name in cases} == cases
    assert net.thing("polar bear") == "polar" and net.thing("wish") is None


def test_glosses_leave_colours_alone(net, monkeypatch):
    monkeypatch.setattr(lessons, "WordNet", lambda: net)
    monkeypatch.setattr(lessons, "carried_texts", lambda: None)
    net.senses["pink"] = ["bear"]
    said = lessons.glosses(["polar bear", "pink", "wish"])
    assert said == {"polar bear": "polar bear: a white bear"}


def test_texts_lean_to_what_is_said_of_their_things(monkeypatch):
    said = {"otter": "otter: swims", "boat": "boat: floats"}
    monkeypatch.setattr(
        lessons, "glosses", lambda names: {n: said[n] for n in names if n in said}
    )
    monkeypatch.setattr(lessons, "Spread", lambda vectors: lambda x: x)
    told = {"otter: swims": [0.0, 1, 0, 0], "boat: floats": [0.0, 0, 1, 0]}
    vectors = torch.eye(4)[[0, 0, 0]]
    things = [["otter"], ["otter", "boat"], ["wish"]]
    found = lessons.Lesson.explain(
        None, vectors, things, lambda texts: torch.tensor([told[t] for t in texts])
    )
    g, half = lessons.GLOSS, lessons.GLOSS / 2**0.5
    want = torch.tensor([[1, g, 0, 0], [1, half, half, 0], [1, 0, 0, 0]])
    torch.testing.assert_close(found, F.normalize(want, dim=-1))


def test_composed_texts_say_what_they_are_about():
    cards = [{"name": n} for n in ("cat", "boat", "teapot")]
    about = {}
    texts, _ = lessons.composed(cards, 200, more=("otter",), about=about)
    names = ("cat", "boat", "teapot", "otter")
    for text in texts:
        words = text.replace(",", "").split()
        assert sorted(about[text]) == sorted(w for w in words if w in names), text


def test_turned_drawings_have_the_colour_of_their_right_name():
    split = corpus.load("train", progress=False).select(
        lambda card: card["source"] == "noto" and not card["concept"].startswith("w:")
    )
    split = corpus.Corpus(split.cards[:60], split.rgba[:60])
    rgba, names, right = choice.turned(split)
    assert len(rgba) == len(names) == len(right) > 20
    assert torch.equal(colours.turned_colours(rgba)[:, 0], right)
    for row, at in zip(names, right.tolist(), strict=True):
        assert len(row) == len(colours.NAMES) and colours.NAMES[at] in row[at]


def test_fast_tokens_are_the_tokenizers():
    texts = ["a red apple and a cat", "گربه و سگ", "كتاب", "A Photo, of 3 cats"]
    tokenizer = Tokenizer(learn_merges(texts * 3, 40), 48)
    found = pictures.tokens(tokenizer, texts)
    assert torch.equal(found.long(), tokenizer(texts))


def test_targets_know_what_else_is_true():
    """A red frog is fully a red frog, half a frog, and no cat."""
    batch = pictures.Batch(
        None,
        None,
        torch.tensor([1, 7, 1]),  # a frog, a red frog, another frog; 0 is the cat
        torch.tensor([[-1, -1], [1, -1], [-1, -1]]),
        1,
    )
    found = targets(batch, torch.arange(2), torch.ones(3))
    want = torch.tensor([[1.0, 0, 1, 0, 1], [0.5, 1, 0.5, 0, 0.5], [1, 0, 1, 0, 1]])
    torch.testing.assert_close(found, want / want.sum(1, keepdim=True))


def test_a_batch_shows_what_its_captions_say():
    names = ["cat", "red apple", "boat", "blue ball"]
    cards = [
        {
            "name": n,
            "concept": n,
            "source": "noto",
            "style": "emoji",
            "id": n,
            "name_fa": "گربه",
        }
        for n in names
    ]
    rgba = torch.zeros(4, 4, 128, 128, dtype=torch.uint8)
    rgba[:, 3, 30:90, 30:90] = 255
    rgba[:, 0, 30:90, 30:90] = 220
    split = corpus.Corpus(cards, rgba)
    made = pictures.Pictures(
        split, torch.device("cpu"), frozenset({"green cat"}), size=200
    )
    made.prepare()
    words = list(made.words.at)
    assert "green cat" not in words
    made.ready()
    batch = made(40, 64)
    assert batch.pictures.shape == (40, 3, 64, 64)
    assert 0 <= batch.pictures.min() and batch.pictures.max() <= 1
    assert len(batch.captions) == len(batch.shown) == len(batch.also) == 40
    assert batch.captions.max() < len(words)
    plain = [words[i] for i in batch.captions[: batch.plain].tolist()]
    for text, shown in zip(plain, batch.shown.tolist(), strict=False):
        known = sorted(names)[shown].split()[-1]
        assert known in text or not text.isascii(), text


def test_ridge_against_the_normal_equations():
    x, y = torch.randn(200, 5), torch.randn(200, 3)
    x[:, 4] = 3.0  # a constant feature must not break it
    W, b = ridge(x, y, strength=1e-6)
    ones = torch.cat([x[:, :4], torch.ones(200, 1)], 1)
    want = ones @ torch.linalg.lstsq(ones, y - y.mean(0)).solution
    torch.testing.assert_close(x @ W.T + b, want, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_both_ways_is_the_loss_of_clip_where_each_picture_shows_one_concept(count):
    scores = torch.randn(count, count + 3)
    own = torch.eye(count, count + 3)
    want = F.cross_entropy(scores, torch.arange(count))
    want = want + 2 * contrastive_loss(scores[:, :count])
    want = want - F.cross_entropy(scores[:, :count], torch.arange(count))
    torch.testing.assert_close(both_ways(scores, own, own), want)


def test_both_ways_shares_a_concept_among_the_pictures_that_show_it():
    scores = torch.randn(3, 4)
    own = torch.tensor([[0.75, 0.25, 0, 0], [0.25, 0, 0.75, 0], [1, 0, 0, 0]])
    logs = scores.log_softmax(0)
    parts = (logs[0, 0] * 0.75 + logs[1, 0] * 0.25 + logs[2, 0]) / 2
    want = -(parts + logs[0, 1] + logs[1, 2]) / 3
    want = want + F.cross_entropy(scores, own)
    torch.testing.assert_close(both_ways(scores, own, own), want)
