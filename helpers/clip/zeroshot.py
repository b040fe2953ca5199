"""Zero-shot classification: the words themselves are the classifier (CLIP §3.1).

Dims: N pictures, C classes, K templates, D embedding; vectors lie on the unit sphere.
"""

import json
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import paths

PLAIN = ("{}", "a photo of a {}", "a picture of a {}")


def templates(name: str = "seven") -> list[str]:
    """OpenAI's prompt templates for ImageNet: "seven" or "eighty", read as data."""
    table = json.loads((paths.DATA / "prompts/openai_templates.json").read_text())
    if name not in ("seven", "eighty"):
        raise ValueError(f'There is no template list "{name}": seven or eighty.')
    return table[name]


def check_classes(classes) -> list[str]:
    """Class names without spaces around them. Raises ValueError with one sentence."""
    if isinstance(classes, str):
        classes = classes.split(",")
    names = [str(c).strip() for c in classes]
    names = [n for n in names if n]
    if not names:
        raise ValueError("There is no class: type at least two, with commas between.")
    if len(names) == 1:
        raise ValueError(
            f'There is only one class, "{names[0]}": every picture would be it. '
            "Type at least two."
        )
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise ValueError(f'The class "{twice[0]}" is there twice: take one away.')
    return names


def check_template(template: str) -> str:
    """A template with one place for the class name. Raises ValueError otherwise."""
    if template.count("{}") != 1:
        raise ValueError(
            f'The template "{template}" needs exactly one {{}}, where the class goes.'
        )
    return template


def classifier(model, classes, prompts=PLAIN) -> Tensor:
    """Class weights from words alone: (C, D).

    Each template gives one unit vector a class; their mean, brought back to length 1,
    is the ensemble. ``prompts``: one template or several, each with one ``{}``.
    """
    names = check_classes(classes)
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts:
        raise ValueError("There is no template: give at least one with a {}.")
    texts = [check_template(t).replace("{}", name) for name in names for t in prompts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a long class name may be cut
        vectors = model.embed_texts(texts).view(len(names), len(prompts), -1)
    return F.normalize(vectors.mean(1), dim=-1)


def predict(images: Tensor, weights: Tensor, scale: float = 100.0) -> Tensor:
    """Probabilities of the classes: (N, D), (C, D) -> (N, C), each row sums to 1."""
    return (scale * images @ weights.T).softmax(dim=-1)


def fit_yes(cosines: Tensor, fits: Tensor) -> tuple[float, float]:
    """Scale and bias that turn a cosine into "does this text fit?" (Platt 1999).

    cosines (P,) of pairs of a picture and a text, fits (P,) bool. Pairs that fit count
    as much in all as those that do not: before looking, both are as likely. Choose
    them on other data than you test on.
    """
    from sklearn.linear_model import LogisticRegression

    if not (fits.any() and (~fits).any()):
        raise ValueError("Give pairs that fit and pairs that do not: both are needed.")
    model = LogisticRegression(C=1e4, class_weight="balanced", max_iter=1000)
    model.fit(cosines.double().numpy()[:, None], fits.numpy())
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def yes(images: Tensor, weights: Tensor, scale: float, bias: float) -> Tensor:
    """Each class alone, as SigLIP asks: (N, D), (C, D) -> (N, C) in [0, 1].

    The rows need not sum to 1: none, one or several classes may fit.
    """
    return (scale * images @ weights.T + bias).sigmoid()


def probe(train: Tensor, labels: Tensor, test: Tensor, C: float = 10.0) -> Tensor:
    """A linear probe: logistic regression on frozen vectors (CLIP §3.2).

    train (N, D) with labels (N,), test (M, D) -> (M,) predicted labels.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one example a class is fine
        model.fit(train.numpy(), labels.numpy())
    return torch.from_numpy(model.predict(test.numpy()))
