"""A dream that begins with a sketch by DALL-E 2."""

import pytest
import torch

from helpers import clip, paths
from helpers.dalle import drawings, unclip
from helpers.dream import files, sketch
from helpers.dream.packed import is_packed, unpack
from helpers.pictures import to_tensor
from helpers.tests.dream import tiny
from helpers.values import seed_after
from helpers.workshop.corpus.names import learnt


class Maker:
    """Draws white sheets, and what is wished for as the third of eight."""

    asked: list = []

    def draw(self, captions, seed, steps):
        assert steps == sketch.STEPS
        Maker.asked.append((captions[0], len(captions), seed))
        x = torch.ones(len(captions), 3, 16, 16)
        x[2] = torch.linspace(0, 1, 16)
        return x


class Eye:
    """A guide that likes what is dark."""

    def __init__(self, name="eye"):
        self.name = name

    def embed_images(self, pictures):
        dark = 1 - pictures.float().mean((1, 2, 3)) / 255
        return torch.stack([dark, torch.zeros(len(dark))], 1)

    def embed_texts(self, texts):
        return torch.tensor([[1.0, 0.0]] * len(texts))


@pytest.fixture(autouse=True)
def maker(monkeypatch):
    Maker.asked.clear()
    monkeypatch.setattr(sketch, "maker", lambda device, eyes: Maker())


@pytest.mark.parametrize("size", [(32, 32), (48, 32), (32, 64)])
def test_the_guides_choose_and_the_sheet_has_the_shape_of_the_picture(size):
    s = tiny.settings(prompt="a fish:0.5 | a cup", start="sketch", seed=7, rate=0.5)
    new = sketch.sketched(s, [Eye()], size, torch.device("cpu"))
    assert Maker.asked == [("emoji of a cup", 8, 7)]
    x = to_tensor(unpack(new.start))
    assert x.shape[2] / x.shape[1] == size[0] / size[1]
    assert (
        x.amin() == 0 and (x == 1).all(0).float().mean() >= 1 - 16 * 16 / x[0].numel()
    )
    assert new.rate == 0.5 * sketch.AFTER["pixel"]
    coded = tiny.settings(start="sketch", drawer="vqgan")
    assert sketch.sketched(coded, [Eye()], size, "cpu").rate == sketch.GENTLE


class Known:
    """Knows three things by name; texts of one first letter mean nearly the same."""

    def embed_texts(self, texts):
        rows = torch.zeros(len(texts), 30)
        for row, text in zip(rows, texts, strict=True):
            word = text.removeprefix("a ").removeprefix("an ")
            row[ord(word[0]) - ord("a")] = 0.8
            row[26 + len(word) % 4] = 0.6
        return rows


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(drawings, "names", lambda: ["cup", "cat", "eagle"])
    maker = Maker()
    maker.eyes = Known()
    return maker


def said(monkeypatch, likings):
    likings = iter(likings)

    def liking(pictures, text, guides):
        return torch.tensor([0.0] * 5 + [next(likings)] + [0.0] * 2)

    monkeypatch.setattr(sketch, "liking", liking)


@pytest.mark.parametrize("likings, rounds", [
    ([0.5], 1), ([0.2, 0.46], 2), ([0.3, 0.2, 0.1, 0.2], 4), ([0.1, 0.2, 0.4, 0.3], 4),
])  # fmt: skip
def test_the_pair_goes_on_until_it_likes_one(monkeypatch, known, likings, rounds):
    said(monkeypatch, likings)
    pair = [Eye("pocket"), Eye("scratch")]
    best, liked, told = sketch.draw("a cup", 7, pair, known)
    assert liked == pytest.approx(max(likings)) and best.shape == (3, 16, 16)
    assert told == ""  # it knows the very words
    seeds = [seed for _, _, seed in Maker.asked]
    assert len(seeds) == len(set(seeds)) == rounds and seeds[0] == 7
    # the rounds of the next seed draw others
    assert not {seed_after(8, n * sketch.APART) for n in range(4)} & set(seeds)


@pytest.mark.parametrize("likings, told", [
    ([0.5], ""), ([0.30, 0.24, 0.2], ""),
    ([0.30, 0.31, 0.2], "bold flat emoji of a cat"),
    ([0.2, 0.24, 0.30], ""), ([0.1, 0.46], "bold flat emoji of a cat"),
])  # fmt: skip
def test_other_names_for_the_same_are_told_too(monkeypatch, known, likings, told):
    said(monkeypatch, likings)
    pair = [Eye("pocket"), Eye("scratch")]
    assert sketch.nearest("a chair", known) == ["a cup", "a cat"]
    assert sketch.nearest("an egg", known) == ["an eagle"]
    assert sketch.nearest("a cat", known) == [] == sketch.nearest("a dog", known)
    asked = []
    draw = known.draw
    known.draw = lambda texts, lot, steps: (
        asked.append(texts) or draw(texts, lot, steps)
    )
    best, liked, caption = sketch.draw("a chair", 7, pair, known)
    if len(asked) > 1:
        hands = [hand for hand in unclip.HANDS for _ in range(2)]
        assert asked[1] == [
            f"{h} of {n}" for h, n in zip(hands, ["a cup", "a cat"] * 4, strict=True)
        ]
    assert caption == told  # the sixth of the eight is liked


def test_what_it_was_told_is_told_again(monkeypatch):
    shown = torch.ones(3, 16, 16), 0.3, "emoji of a cat"
    monkeypatch.setattr(sketch, "draw", lambda *_: shown)
    run = tiny.dream(start="sketch", prompt="a chair ^ a boat", drawer="vqgan")
    assert run.settings.told == ("a chair", "emoji of a cat")
    assert (
        tiny.told(run, 0.0) == "emoji of a cat"
        and tiny.told(run, 0.9) == "emoji of a boat"
    )
    frame = run.run(progress=False)
    parts = [tiny.guide()], tiny.codes()
    assert tiny.told(files.go_on(frame, None, 10, *parts), 0.0) == "emoji of a boat"
    assert tiny.told(files.go_on(frame, "a dog", 10, *parts), 0.0) == "emoji of a dog"
    assert tiny.told(files.go_on(frame, "a chair", 10, *parts), 0.0) == "emoji of a cat"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_eight_captions_for_few_things(count):
    things = ["a cup", "a cat", "a dog", "an egg"][:count]
    out = sketch.in_every_hand(things)
    assert len(out) == 8 and all(sum(t in o for o in out) >= 2 for t in things)
    assert len(set(out)) == min(8, 4 * count)


@pytest.mark.parametrize("bad", ["a cat", ("a", 1), ("a",), 3, ("", "b"), [["a"], "b"]])
def test_told_is_two_texts(bad):
    with pytest.raises(ValueError, match="told is"):
        tiny.settings(told=bad)


def test_the_list_of_names_is_that_of_its_drawings():
    assert drawings.names() == learnt()


def test_a_white_border_counts_a_little(monkeypatch, known):
    x = torch.ones(2, 3, 16, 24)
    x[1, :, 0] = 0.5  # 24 of 80 pixels, and two corners again
    assert sketch.border(x).tolist() == pytest.approx([1.0, 54 / 80])
    dark = torch.zeros(8, 3, 16, 16)
    dark[2] = 1.0
    known.draw = lambda texts, lot, steps: dark
    pair = [Eye("pocket"), Eye("scratch")]
    for gap, at in ((0.04, 2), (0.06, 5)):
        likings = torch.tensor([0.0, 0, 0.5, 0, 0, 0.5 + gap, 0, 0])
        monkeypatch.setattr(sketch, "liking", lambda *_, said=likings: said)
        best, liked, _ = sketch.draw("a cup", 7, pair, known)
        assert torch.equal(best, dark[at]) and liked == pytest.approx(likings[at])


def test_one_may_peek_at_the_best_so_far(monkeypatch):
    said, seen = iter([0.2, 0.1, 0.3, 0.46]), []
    monkeypatch.setattr(sketch, "liking", lambda p, t, g: torch.full((8,), next(said)))
    monkeypatch.setattr(sketch, "nearest", lambda *_: [])
    pair = [Eye("pocket"), Eye("scratch")]
    sketch.sketched(tiny.settings(start="sketch"), pair, (32, 16), "cpu", seen.append)
    assert [x.shape for x in seen] == [(3, 16, 32)] * 3


def test_other_guides_choose_from_eight(monkeypatch):
    monkeypatch.setattr(sketch, "liking", lambda p, t, g: torch.zeros(8))
    sketch.draw("a cup", 7, [Eye("ViT-B/32")], Maker())
    assert len(Maker.asked) == 1


def test_the_less_the_guides_like_the_sketch_the_freer_is_the_dream(monkeypatch):
    monkeypatch.setattr(sketch, "nearest", lambda *_: [])
    coded = tiny.settings(start="sketch", drawer="vqgan", rate=0.5)
    pair = [Eye("scratch"), Eye("pocket")]
    ways = {0.2: 1.0, 0.3: 1.0, 0.375: 0.7, 0.45: 0.4, 0.6: 0.4}
    for liking, factor in ways.items():
        said = torch.tensor([liking - 0.1] * 7 + [liking])
        monkeypatch.setattr(sketch, "liking", lambda *_, said=said: said)
        rate = sketch.sketched(coded, pair, (32, 32), "cpu").rate
        assert rate == pytest.approx(0.5 * factor, abs=1e-3), liking
        # others' cosines are of another scale, and strokes have rates of their own
        for guides in (pair[:1], [Eye("ViT-B/32"), Eye("pocket")]):
            rate = sketch.sketched(coded, guides, (32, 32), "cpu").rate
            assert rate == 0.5 * sketch.GENTLE
        lines = tiny.settings(start="sketch", drawer="lines")
        rate = sketch.sketched(lines, pair, (32, 32), "cpu").rate
        assert rate == sketch.AFTER["lines"]


def test_persian_is_told_as_it_is():
    s = tiny.settings(prompt="سیب قرمز", start="sketch")
    sketch.sketched(s, [Eye()], (32, 32), "cpu")
    assert Maker.asked[0][0] == "سیب قرمز"


@pytest.mark.parametrize("drawer", tiny.OPTIONS)
def test_the_sketch_travels_in_the_picture(drawer, tmp_path):
    options = tiny.OPTIONS[drawer]
    given = tiny.settings(start="sketch", drawer=drawer, options=options)
    run = tiny.Dream(given, [tiny.guide()], tiny.codes())
    assert is_packed(run.settings.start) and len(Maker.asked) == 1
    frame = run.run(progress=False)
    path = files.save(tmp_path / "a.png", frame, given)
    _, kept = files.read(path)
    assert kept == run.settings
    twice = tiny.Dream(kept, [tiny.guide()], tiny.codes()).run(progress=False)
    assert len(Maker.asked) == 1  # the picture holds the sketch
    assert torch.equal(twice.picture, frame.picture)


@pytest.mark.parametrize("drawer, old", [("vqgan", "white"), ("pixel", "dream")])
def test_it_is_the_usual_start_and_older_pictures_keep_theirs(drawer, old, tmp_path):
    given = tiny.settings(drawer=drawer, steps=10)
    run = tiny.Dream(given, [tiny.guide()], tiny.codes())
    assert len(Maker.asked) == 1 and is_packed(run.settings.start)
    before = tiny.settings(drawer=drawer, steps=10, start=old)
    frame = tiny.Dream(before, [tiny.guide()], tiny.codes()).run(progress=False)
    frame.record["settings"]["start"] = "usual"  # what a picture of old times says
    path = files.save(tmp_path / "old.png", frame)
    again = files.again(path, [tiny.guide()], tiny.codes()).run(progress=False)
    assert torch.equal(again.picture, frame.picture) and len(Maker.asked) == 1


def test_with_changes_a_sketch_is_drawn_anew(tmp_path):
    # nerdyrodent/VQGAN-CLIP#29 (a file that is no full recipe): other words began with
    # the sketch of the old ones, and the gentle rate was made gentler each time
    given = tiny.settings(drawer="vqgan", steps=10)
    frame = tiny.Dream(given, [tiny.guide()], tiny.codes()).run(progress=False)
    path = files.save(tmp_path / "a.png", frame)
    for change in ({"prompt": "a boat"}, {"seed": 5}, {"width": 48}, {"rate": 0.5}):
        new = files.again(path, [tiny.guide()], tiny.codes(), **change)
        text, seed = change.get("prompt", given.prompt), change.get("seed", given.seed)
        assert Maker.asked[-1] == (f"emoji of {text}", 8, seed)
        rate = sketch.GENTLE * change.get("rate", 1.0)
        assert new.settings.rate == pytest.approx(rate), change
    many = len(Maker.asked)
    plain = files.again(path, [tiny.guide()], tiny.codes(), start="white")
    assert plain.settings.rate == 1.0 and len(Maker.asked) == many
    more = files.go_on(frame, "a boat", 10, [tiny.guide()], tiny.codes())
    assert more.settings.rate == sketch.GENTLE and len(Maker.asked) == many
    for source in (path, frame):
        fresh = files.go_on(
            source, "a boat", 10, [tiny.guide()], tiny.codes(), start="sketch"
        )
        assert fresh.settings.rate == sketch.GENTLE


def test_without_dalle_2_the_way_out_is_said(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(sketch, "MAKERS", {})
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    for raw in (None, b"version https://git-lfs.github.com/spec/v1"):
        if raw:
            (tmp_path / "unclip.safetensors").write_bytes(raw)
        with pytest.raises(
            ValueError, match='start="white" with distil=0 needs none'
        ) as caught:
            tiny.dream(start="sketch")
        assert "\n" not in str(caught.value)


def test_eyes_that_are_there_are_taken_and_others_are_not(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(sketch, "MAKERS", {})
    pocket, scratch = clip.load("pocket", "cpu"), clip.load("scratch", "cpu")
    half = clip.load("pocket", "cpu", bf16=True)
    assert sketch.maker("cpu", [scratch, half, pocket]).eyes is pocket
    assert sketch.maker("cpu").eyes is pocket  # kept
    assert unclip.load(device="cpu", eyes=[scratch, half]).eyes not in (scratch, half)
