"""Zero-shot classification: the words themselves are the classifier (CLIP §3.1).

Dims: N pictures, C classes, K templates, D embedding; vectors lie on the unit sphere.
"""

import json
import re
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import paths
from ..values import alike, flag, members, number, quoted, ready, tensor
from ..words import fold

PLAIN = ("{}", "a photo of a {}", "a picture of a {}")


def templates(name: str = "seven") -> list[str]:
    """OpenAI's prompt templates for ImageNet: "seven" or "eighty", read as data."""
    path = paths.DATA / "prompts/openai_templates.json"
    table = json.loads(path.read_text("utf-8"))
    if name not in ("seven", "eighty"):
        raise ValueError(f"There is no template list {quoted(name)}: seven or eighty.")
    return table[name]


def check_classes(classes, doubles: bool = False) -> list[str]:
    """Class names, folded (``words.fold``), in the case that was typed.

    ``classes``: a list, or a text with commas of any script between the names.
    Names that differ by upper and lower case only are the same. ``doubles``: the same
    name may come twice, as in ImageNet's own list. Raises ValueError with one sentence.
    """
    if isinstance(classes, str):
        names = [n for n in re.split(r"[,،，、;؛\n]", classes) if fold(n, False)]
    elif (names := members(classes)) is None:
        raise ValueError(
            f"The classes are a list of names, not {type(classes).__name__}."
        )
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(
                f"Class number {place} is not text but {type(name).__name__}."
            )
    names = [fold(n, False) for n in names]
    if not any(names):
        raise ValueError("There is no class: type at least two, with commas between.")
    if "" in names:
        raise ValueError(f"Class number {names.index('')} is empty: give it a name.")
    if len(names) == 1:
        raise ValueError(
            f"There is only one class, {quoted(names[0])}: every picture would be it. "
            "Type at least two."
        )
    twins = same([fold(n).casefold() for n in names])
    if twins and not flag("doubles", doubles):
        a, b = (names[place][:60] for place in twins)
        also = "" if a == b else f', as "{a}" too'
        raise ValueError(
            f'The class "{b}" is there twice{also}: take one away, or say doubles=True '
            "if the list means it."
        )
    return names


def same(keys: list) -> tuple[int, int] | None:
    """The places of the first two keys that are the same."""
    first: dict = {}
    for place, key in enumerate(keys):
        if first.setdefault(key, place) != place:
            return first[key], place
    return None


def check_template(template):
    """A template with one place for the class name. Raises ValueError otherwise.

    A function from name to text is a template too, as in open_clip's lists.
    """
    if callable(template):
        return template
    single = isinstance(template, str) and template.count("{}") == 1
    if not single or "{{}}" in template:  # doubled braces are text in Python
        raise ValueError(
            f"The template {quoted(template)} needs exactly one {{}}, where the class "
            "goes."
        )
    return template


def fill(template, name: str) -> str:
    """The text that a template makes of a class name."""
    if isinstance(template, str):
        return template.replace("{}", name)
    text = template(name)
    if not isinstance(text, str) or name not in text:
        raise ValueError(
            f"A template makes a text with the class in it, not {quoted(text)}."
        )
    return text


def classifier(model, classes, prompts=PLAIN, doubles: bool = False) -> Tensor:
    """Class weights from words alone: (C, D).

    Each template gives one unit vector a class; their mean, brought back to length 1,
    is the ensemble. ``prompts``: one template or several, each with one ``{}`` or a
    function from name to text. ``doubles``: as in ``check_classes``. Warns of a class
    whose text is longer than the model reads. Raises ValueError with one sentence, also
    for classes that the model cannot tell apart because only what it cuts off differs.
    """
    model, names = ready(model), check_classes(classes, doubles)
    several = members(prompts)
    prompts = [check_template(t) for t in ([prompts] if several is None else several)]
    if not prompts:
        raise ValueError("There is no template: give at least one with a {}.")
    texts = [fill(t, name) for name in names for t in prompts]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = model.tokenize(texts).view(len(names), -1)
        vectors = model.embed_texts(texts).view(len(names), len(prompts), -1)
    twins = same([tuple(row) for row in rows.tolist()])
    if twins and not doubles:
        a, b = (names[place][:40] for place in twins)
        if rows[twins[0], -1] == 0:  # nothing was cut off
            raise ValueError(
                f'To this model the classes "{a}" and "{b}" are the same text: take '
                "one away, or say doubles=True if the list means it."
            )
        raise ValueError(
            f'To this model the classes number {twins[0]} and {twins[1]}, "{b} ...", '
            f"are the same text: it reads {model.tokenizer.context} tokens at most; "
            "shorten them."
        )
    if caught:
        warnings.warn(str(caught[0].message), stacklevel=2)
    return F.normalize(vectors.mean(1), dim=-1)


def predict(images: Tensor, weights: Tensor, scale: float = 100.0) -> Tensor:
    """Probabilities of the classes: (N, D), (C, D) -> (N, C), each row sums to 1.

    Raises ValueError with one sentence for vectors of two models.
    """
    images, weights = alike(images, weights)
    return (number("The scale", scale) * images @ weights.T).softmax(dim=-1)


def fit_yes(cosines: Tensor, fits: Tensor) -> tuple[float, float]:
    """Scale and bias that turn a cosine into "does this text fit?" (Platt 1999).

    cosines (P,) of pairs of a picture and a text, fits (P,) bool. Pairs that fit count
    as much in all as those that do not: before looking, both are as likely. Choose
    them on other data than you test on. Raises ValueError with one sentence.
    """
    from sklearn.linear_model import LogisticRegression

    x = tensor("Cosines", cosines).detach().cpu().double()
    fits = tensor("The answers", fits).cpu().bool()
    if x.ndim != 1 or x.shape != fits.shape or not x.isfinite().all():
        raise ValueError(
            "Each pair has a finite cosine and its True or False, (P,) and (P,), not "
            f"{tuple(x.shape)} and {tuple(fits.shape)}."
        )
    if not (fits.any() and (~fits).any()):
        raise ValueError("Give pairs that fit and pairs that do not: both are needed.")
    model = LogisticRegression(C=1e4, class_weight="balanced", max_iter=1000)
    model.fit(x.numpy()[:, None], fits.numpy())
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def yes(images: Tensor, weights: Tensor, scale: float, bias: float) -> Tensor:
    """Each class alone, as SigLIP asks: (N, D), (C, D) -> (N, C) in [0, 1].

    The rows need not sum to 1: none, one or several classes may fit. Raises ValueError
    with one sentence for vectors of two models.
    """
    images, weights = alike(images, weights)
    scale, bias = number("The scale", scale), number("The bias", bias)
    return (scale * images @ weights.T + bias).sigmoid()


def probe(train: Tensor, labels: Tensor, test: Tensor, C: float = 10.0) -> Tensor:
    """A linear probe: logistic regression on frozen vectors (CLIP §3.2).

    train (N, D) with labels (N,) that are whole numbers, test (M, D) -> (M,) predicted
    labels. ``C``: how little it is held back. Raises ValueError with one sentence.
    """
    from sklearn.linear_model import LogisticRegression

    test, train = alike(test, train)
    train, test = train.detach().cpu(), test.detach().cpu()
    labels = tensor("Labels", labels).detach().cpu()
    C = number("C", C, 1e-9, 1e9)
    if labels.shape != train.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"Each of the {len(train)} vectors has one label, a whole number, not "
            f"{tuple(labels.shape)} of {labels.dtype}."
        )
    if len(labels.unique()) < 2:
        raise ValueError("A probe needs labels of two kinds: there is nothing to tell.")
    if test.ndim != 2 or not (train.isfinite().all() and test.isfinite().all()):
        raise ValueError("A probe reads vectors (M, D) of finite numbers.")
    if not len(test):
        return labels[:0]
    model = LogisticRegression(C=C, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one example a class is fine
        model.fit(train.numpy(), labels.numpy())
    return torch.from_numpy(model.predict(test.numpy()))
