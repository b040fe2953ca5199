"""What people type at the commands: one sentence before the work, never a traceback."""

import functools
import importlib
import sys
from pathlib import Path

import pytest

from helpers import clip, paths, weights
from helpers.workshop import album, embed, pages, publish, run_notebooks, train
from helpers.workshop.bench import __main__ as bench
from helpers.workshop.evaluate import __main__ as evaluate
from helpers.workshop.evaluate import drawn, dream
from helpers.workshop.recipes import dalle1, gan, judge

LOAD = functools.cache(clip.load)  # once for all cases


def said(main, words: str, monkeypatch, capsys) -> str:
    """What a command says on its way out; it must not end well."""
    monkeypatch.setattr(sys, "argv", words.split())
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code not in (0, None)
    told = end.value.code if isinstance(end.value.code, str) else ""
    told += capsys.readouterr().err
    assert "Traceback" not in told
    last = told.strip().splitlines()[-1]
    assert 10 < len(last) < 400, last
    return last


@pytest.fixture
def idle(monkeypatch):
    """No work is done: it would come after the sentence."""

    def work(*args, **more):
        raise AssertionError(f"the work began: {args} {more}")

    def recipe(
        steps=1, seed=0, out=None, device="cpu", batch: int = 2, peak: float = 0.1,
        init: Path | None = None,
    ):  # fmt: skip
        work(batch, peak, init)

    monkeypatch.setattr(gan, "train", recipe)
    for module, name in ((run_notebooks, "run"), (album.drawings, "load"),
                         (drawn.drawings, "load"), (dream, "results"),
                         (judge, "drawings")):  # fmt: skip
        monkeypatch.setattr(module, name, work)
    monkeypatch.setattr(pages, "write", lambda *a: work())
    for name in ("bench_ours", "bench_search"):
        monkeypatch.setattr(bench.clip_search, name, work)
    return work


TRAIN = [
    ("--steps 0", "--steps is a whole number from 1, not 0"),
    ("--steps -3", "--steps is a whole number from 1, not -3"),
    ("--steps 1e3", "invalid int value"),
    ("--steps 99999999999999999999", "--steps is a whole number"),
    ("--seed -1", "--seed is a whole number from 0, not -1"),
    ("--seed 99999999999999999999", "--seed is a whole number"),
    ("--threads 0", "--threads is a whole number from 1, not 0"),
    ("--seconds 0", "--seconds is a number above 0, not 0.0"),
    ("--seconds nan", "--seconds is a number"),
    ("--seconds inf", "--seconds is a number"),
    ("--seconds 5", "gan takes no --seconds"),
    ("--fresh", "gan takes no --fresh"),
    ("--device tpu", '"tpu" is no device'),
    ("--device cuda:99", 'no "cuda:99" device'),
    ("--batch 0", "--batch is a whole number from 1, not 0"),
    ("--peak -1", "--peak is a number from 0, not -1.0"),
    ("--peak nan", "--peak is a number"),
    ("--init nowhere.safetensors", "--init is a file that is there, not nowhere"),
    ("--init .", "--init is a file that is there, not ."),
    ("--out {dir}", "cannot be written (it is a folder)"),
    ("--out {file}/x.safetensors", "cannot be written"),
    ("--out=", "The path is empty"),
    ("--colour red", "unrecognized arguments"),
]
JUDGE = [
    ("--share 0", "--share is a number above 0, at most 1, not 0.0"),
    ("--share 1.5", "--share is a number above 0"),
    ("--share nan", "--share is a number above 0"),
    ("--init {models}/unclip.safetensors", "holds unclip, not a clip model"),
    ("--init {models}/scratch.safetensors", "holds a CLIP of other sizes"),
    ("--init {file}", "is damaged or cut short"),
]
TRAIN = [(f"gan {w}", s) for w, s in TRAIN] + [(f"judge {w}", s) for w, s in JUDGE]


@pytest.mark.parametrize("words, says", TRAIN)
def test_train_looks_at_all_its_options_first(
    words, says, tmp_path, idle, monkeypatch, capsys
):
    # deforum#747: options out of range ended raw, some after minutes of training
    (tmp_path / "file").touch()
    monkeypatch.setattr(weights, "hashes", lambda folder: {})
    words = words.format(dir=tmp_path, file=tmp_path / "file", models=paths.MODELS)
    assert says in said(train.main, f"train {words}", monkeypatch, capsys)


def test_a_judge_goes_on_from_a_judge_alone(idle):
    with pytest.raises(AssertionError, match="the work began"):
        judge.train(init=paths.MODELS / "judge.safetensors")


def test_train_names_its_recipes(monkeypatch, capsys):
    assert "'vqgan'" in said(train.main, "train vqgna", monkeypatch, capsys)
    assert "required" in said(train.main, "train", monkeypatch, capsys)


def test_what_may_be_nought_may_be_nought():
    assert not train.misfit("fight", 0) and not train.misfit("dropout", 0.0)
    assert not train.misfit("smoke", False) and not train.misfit("album", None)
    assert set(train.options(dalle1.train)) > {"init", "album", "views", "plain"}


EVALUATE = [
    ("pictures", "invalid choice"),
    ("clip nope", "nope"),
    ("clip /x/ViT-B-32.pt", "/x/ViT-B-32.pt"),
    ("clip pocket --judges judge", "--judges is an option of dream"),
    ("vqgan nope", "nope"),
    ("unclip nope 1", "nope"),
    ("unclip 4", "1 to 3 seeds to take, not 4"),
    ("dream vqgan 0", "1 to 3 seeds to take, not 0"),
    ("dream vqgna", 'no run "vqgna"; choose from vqgan'),
    ("dream codes 1", 'no run "codes"'),
    ("frechet pocket", '"pocket" is no number'),
    ("frechet 7", "1 to 3 seeds to take, not 7"),
    ("fits scratch", "Nobody chose a cut for scratch; pocket has one"),
]


@pytest.mark.parametrize("words, says", EVALUATE)
def test_evaluate_says_what_it_cannot_measure(words, says, idle, monkeypatch, capsys):
    # CLIP#235 and peers: a name that is none was ten lines, or a table of nothing
    monkeypatch.setattr(clip, "load", LOAD)
    last = said(evaluate.main, f"evaluate {words}", monkeypatch, capsys)
    assert says in last


def test_a_number_asks_for_fewer_seeds():
    assert dream.fewer(["vqgan", "2"]) == (["vqgan"], (0, 1))
    assert dream.fewer([]) == ([], dream.SEEDS) == dream.fewer(["3"])
    assert dream.fewer(["a1"]) == (["a1"], dream.SEEDS)


EMBED = [
    ("{dir}/nowhere --out {dir}/i", "nowhere"),
    ("{dir} --out {dir}/i", "holds no pictures"),
    ("{file} --out {dir}/i", "is no folder and no tar file"),
    ("{dir} --out {dir}/i --size 0", "A shard of 0 pictures is none"),
    ("{dir} --out {dir}/i --actors -1", "-1 actors are none"),
    ("{dir} --out {dir}/i --model nope", "nope"),
    ("{dir} --out {dir}/i --device tpu", '"tpu" is no device'),
    ("{dir} --out .", "is a folder: name the index in it"),
    ("{dir}/p --out {file}/i", "cannot be written"),
    ("{dir} --out=", "The path is empty"),
    ("{dir} --out {dir}/i --size ten", "invalid int value"),
    ("{dir}", "required: --out"),
]


@pytest.mark.parametrize("words, says", EMBED)
def test_embed_says_what_it_cannot_do(words, says, tmp_path, monkeypatch, capsys):
    # rclip#78, LibrePhotos#125: a target that takes nothing was found out at the end
    monkeypatch.setattr(clip, "load", LOAD)
    (tmp_path / "file").touch()
    (tmp_path / "p").mkdir()
    if "/p " in words:
        (tmp_path / "p" / "a.png").write_bytes(b"no picture")
    words = words.format(dir=tmp_path, file=tmp_path / "file") + " --model scratch"
    if "nope" in words:
        words = words.removesuffix(" --model scratch")
    assert says in said(embed.main, f"embed {words}", monkeypatch, capsys)


@pytest.mark.parametrize(
    "main, words, says",
    [
        (run_notebooks.main, "run_notebooks 97", "no page begins with 97"),
        (run_notebooks.main, "run_notebooks 00 x", "no page begins with x"),
        (bench.main, "bench search --largest 10", "from 10,000, not 10"),
        (bench.main, "bench pictures", "invalid choice"),
        (publish.main, "publish ann v1", "Not published"),
        (publish.main, "publish ann/art -f", "required: TAG"),
        (album.main, "album {dir}", "cannot be written (it is a folder)"),
        (album.main, "album {dir}/file/a.json", "cannot be written"),
    ],
)
def test_a_wrong_word_is_said_before_the_work(
    main, words, says, tmp_path, idle, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    last = said(main, words.format(dir=tmp_path), monkeypatch, capsys)
    assert says in last


@pytest.mark.parametrize("name", ["pocket.choice", "pocket.carry", "corpus.build"])
def test_a_target_that_takes_nothing_is_said_before_the_work(
    name, tmp_path, monkeypatch, capsys
):
    try:
        module = importlib.import_module(f"helpers.workshop.{name}")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is only in helpers/workshop/requirements.txt")
    (tmp_path / "file").touch()
    option = "--out " if name == "corpus.build" else ""
    words = f"{name} {option}{tmp_path}/file/x"
    assert "cannot be written" in said(module.main, words, monkeypatch, capsys)


def test_pages_says_what_it_cannot_write(monkeypatch, capsys):
    def damaged(*args):
        raise ValueError("seconds.json is damaged")

    monkeypatch.setattr(pages, "write", damaged)
    assert "Not written: seconds.json" in said(pages.main, "pages", monkeypatch, capsys)


def test_a_folder_is_made_or_refused(tmp_path):
    assert paths.folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file" / "x", "/proc/none/x"):
        with pytest.raises(PermissionError, match="choose another place"):
            paths.folder(bad)
