"""The official formats, read and compared with the packages that write them."""

import warnings
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import clip
from helpers.clip import official
from helpers.pictures import resize_and_crop

needed = "needs open_clip_torch and transformers (helpers/workshop/requirements.txt)"
open_clip = pytest.importorskip("open_clip", reason=needed)
transformers = pytest.importorskip("transformers", reason=needed)

NAMES = {  # ours -> open_clip's
    "ViT-B/32": "ViT-B-32-quickgelu",
    "ViT-B/16": "ViT-B-16-quickgelu",
    "ViT-L/14": "ViT-L-14-quickgelu",
    "ViT-L/14@336px": "ViT-L-14-336-quickgelu",
    "RN50": "RN50-quickgelu",
    "RN101": "RN101-quickgelu",
    "RN50x4": "RN50x4-quickgelu",
    "ViT-B/32-laion2b": "ViT-B-32",
}
TINY = {
    "vit": official.vit(16, width=128, layers=2, embed=48, size=64, text=128),
    "resnet": official.resnet((1, 2, 1, 1), width=16, embed=32, size=96, text=128),
}
TINY["plain"] = replace(TINY["vit"], quick_gelu=False)


def reference(config) -> torch.nn.Module:
    """open_clip's CLIP of the same sizes with random weights, biases included."""
    text = {
        "context_length": 77,
        "vocab_size": 49408,
        "width": config.text_width,
        "heads": config.text_heads,
        "layers": config.text_layers,
    }
    vision = {
        "image_size": config.image_size,
        "layers": config.layers,
        "width": config.width,
        "patch_size": None if config.vision == "resnet" else config.patch,
    }
    torch.manual_seed(0)
    model = open_clip.model.CLIP(config.embed, vision, text, config.quick_gelu)
    for p in model.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model.eval()


def give(monkeypatch, config) -> None:
    entry = official.Official(config, (), 1)
    monkeypatch.setitem(official.OFFICIAL, "tiny", entry)


@cache
def tokens_of(texts: tuple) -> torch.Tensor:
    """Reading the merges takes longer than any comparison here: once for each batch."""
    return official.tokenizer()(list(texts))


def batch(config, count: int):
    size = config.image_size
    images = torch.rand(count, 3, size, size)
    texts = ["a photo of a cat", "یک گربه", "x " * 200, "", "😀 don't &amp; 12"]
    return images, tokens_of(tuple(texts[:count]))


def compare(ours, theirs, count: int):
    """Embeddings and logits within 1e-4 for one batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images, tokens = batch(ours.config, count)
    seen = (images - ours.pixel_mean) / ours.pixel_std
    with torch.no_grad():
        want = [
            theirs.encode_image(seen, normalize=True),
            theirs.encode_text(tokens, normalize=True),
        ]
        have = [ours.encode_image(images), ours.encode_text(tokens)]
        want.append(theirs.logit_scale.exp() * want[0] @ want[1].T)
        have.append(ours(images, tokens))
    for mine, other in zip(have, want, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("form", ["torchscript", "safetensors", "bin"])
def test_parity_with_open_clip(tmp_path, monkeypatch, form, kind):
    config = TINY[kind]
    theirs = reference(config)
    path = tmp_path / f"weights.{form}"
    if form == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images, tokens = batch(config, 2)
            inputs = {"encode_image": images, "encode_text": tokens}
            script = torch.jit.trace_module(theirs, inputs, check_trace=False)
            script.half().save(path)  # as OpenAI's: a TorchScript archive in fp16
        theirs = theirs.half().float()
    elif form == "safetensors":
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    else:
        torch.save(theirs.state_dict(), path)
    give(monkeypatch, config)
    ours, _, _, _ = official.load("tiny", path)
    for count in (1, 3, 5):
        compare(ours, theirs, count)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_parity_with_transformers(tmp_path, monkeypatch, act, count):
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 128}
    sizes |= {"intermediate_size": 512, "hidden_act": act}
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=sizes | {"vocab_size": 49408, "eos_token_id": 49407},
            vision_config=sizes | {"image_size": 64, "patch_size": 16},
            projection_dim=48,
        )
    ).eval()
    theirs.save_pretrained(tmp_path)
    config = replace(TINY["vit"], text_layers=2, quick_gelu=act == "quick_gelu")
    give(monkeypatch, config)
    ours, _, _, _ = official.load("tiny", tmp_path / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images, tokens = batch(config, count)
    seen = (images - ours.pixel_mean) / ours.pixel_std
    with torch.no_grad():
        want = theirs(input_ids=tokens, pixel_values=seen).logits_per_image
        torch.testing.assert_close(ours(images, tokens), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_open_clip(name):
    config = open_clip.get_model_config(NAMES[name])
    with torch.device("meta"):
        theirs = open_clip.model.CLIP(**config)
        ours = clip.CLIP(official.OFFICIAL[name].config)
    want = {k: v.shape for k, v in theirs.state_dict().items() if k != "attn_mask"}
    assert {k: v.shape for k, v in ours.state_dict().items()} == want
    assert bool(config.get("quick_gelu")) == official.OFFICIAL[name].config.quick_gelu


def test_the_activation_matters(tmp_path, monkeypatch):
    theirs = reference(TINY["vit"])
    torch.save(theirs.state_dict(), tmp_path / "w.bin")
    give(monkeypatch, TINY["plain"])
    ours, _, _, _ = official.load("tiny", tmp_path / "w.bin")
    with pytest.raises(AssertionError):
        compare(ours, theirs, 3)


@pytest.mark.parametrize("shape", [(640, 427), (300, 301), (97, 500), (224, 224)])
@pytest.mark.parametrize("size", [64, 224, 336])
def test_preprocessing_is_that_of_open_clip(shape, size):
    g = torch.Generator().manual_seed(1)
    noise = torch.randint(256, (*shape, 3), generator=g, dtype=torch.uint8)
    picture = Image.fromarray(noise.numpy())
    theirs = open_clip.image_transform(
        size, is_train=False, mean=(0,) * 3, std=(1,) * 3
    )
    from torchvision.transforms.functional import to_tensor

    mine = to_tensor(resize_and_crop(picture, size))
    assert (mine - theirs(picture)).abs().max() <= 1 / 255


@pytest.fixture(scope="module")
def tokenizers():
    return official.tokenizer(), open_clip.get_tokenizer("ViT-B-32")


def check_ids(tokenizers, texts):
    mine, theirs = tokenizers
    texts = [t for t in texts if "<" not in t]  # open_clip spells its markers anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got, want = mine(texts), theirs(texts)
    bad = (got != want).any(1).nonzero()[:3, 0].tolist()
    assert not bad, f"ids differ for {[texts[i] for i in bad]!r}"


@pytest.mark.slow
def test_token_ids_on_real_texts(tokenizers):
    from helpers import corpus

    cards = corpus.load("unseen_artist", size=64, progress=False).cards
    cards = cards + corpus.load("photos", size=64, progress=False).cards
    texts = [c["name"] for c in cards] + [c.get("name_fa") or "" for c in cards]
    texts += [
        f"a photo of {corpus.article(c['name'])}, {n}!" for n, c in enumerate(cards)
    ]
    texts += [
        "&lt;b&gt; caf&eacute; &amp;amp;",
        "a\x00b\x07\t\n c",
        "😀🇮🇷👩‍🚀",
        "ǅ ﬁ ½ ²",
    ]
    texts += ["word " * 80, "x" * 400, "سلام‌ علیکم " * 40, "don't we'LL they'Ve"]
    assert len(texts) > 5000
    check_ids(tokenizers, texts)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_token_ids_on_any_text(tokenizers, texts):
    check_ids(tokenizers, texts)


@pytest.mark.parametrize("name", ["missing.pt", "cut.safetensors", "text.pt"])
def test_bad_files_get_one_sentence(tmp_path, monkeypatch, name):
    give(monkeypatch, TINY["vit"])
    path = tmp_path / name
    if name == "cut.safetensors":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:500])
    elif name == "text.pt":
        path.write_text("<html>not found</html>")
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        official.load("tiny", path)


def test_weights_of_another_model_are_refused(tmp_path, monkeypatch):
    torch.save(reference(TINY["resnet"]).state_dict(), tmp_path / "rn.bin")
    give(monkeypatch, TINY["vit"])
    with pytest.raises(ValueError, match="does not fit"):
        official.load("tiny", tmp_path / "rn.bin")


@pytest.mark.parametrize("shape", [None, (3, 2), (), (4,)])
def test_half_a_checkpoint_of_transformers_is_one_sentence(shape):
    # weights_faults.md 10: a KeyError out of the renaming of weights that are not whole
    start = "vision_model.encoder.layers.0.self_attn"
    theirs = {f"{start}.{p}_proj.weight": torch.zeros(2, 2) for p in "qv"}
    if shape is not None:
        theirs[f"{start}.k_proj.weight"] = torch.zeros(shape)
    with pytest.raises(ValueError, match="q_proj.weight has no keys") as caught:
        official.from_transformers(theirs)
    assert "\n" not in str(caught.value)
