"""How fast are pictures: ``python -m helpers.workshop.bench vqgan|dream``.

Medians beside the peers on the same random weights in one run: the modules of Taming
Transformers, and a VQGAN+CLIP step as the published notebooks write it (a loop over
cuts, kornia's augmentations, full precision).
"""

import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

from ... import clip, dream, vqgan
from ...clip import fast, official
from ...dalle import dalle1
from ...dream import Settings
from ...vqgan.published import IMAGENET
from .timing import beside, median_time

SIZE = 256


def taming(config) -> torch.nn.ModuleDict:
    """The reference encoder and decoder of the same sizes."""
    from taming.modules.diffusionmodules.model import Decoder, Encoder

    sizes = dict(
        ch=config.ch,
        out_ch=3,
        ch_mult=config.ch_mult,
        num_res_blocks=config.num_res_blocks,
        attn_resolutions=config.attn_resolutions,
        in_channels=3,
        resolution=config.resolution,
        z_channels=config.z_channels,
        double_z=False,
    )
    return torch.nn.ModuleDict(
        {"encoder": Encoder(**sizes), "decoder": Decoder(**sizes)}
    )


@torch.no_grad()
def bench_vqgan() -> None:
    """Encode and decode, ours beside the reference; then the shipped models."""
    ours = vqgan.VQGAN(IMAGENET).eval()
    theirs = taming(IMAGENET).eval()
    for part in ("encoder", "decoder"):
        state = getattr(ours, part).state_dict()
        theirs[part].load_state_dict(state)
    x = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    h = ours.encoder(x)
    for name, given in (("encoder", x), ("decoder", h)):
        rows = {
            "ours": lambda n=name, v=given: getattr(ours, n)(v),
            "taming": lambda n=name, v=given: theirs[n](v),
        }
        times = beside(rows, 5)
        off = (rows["ours"]() - rows["taming"]()).abs().max().item()
        print(
            f"f16-16384 {name}, {SIZE} px: ours {1 / times['ours']:.2f} pictures/s, "
            f"taming {1 / times['taming']:.2f}, largest difference {off:.1e}"
        )
    pocket = vqgan.load("pocket", "cpu")
    x = torch.rand(16, 3, 128, 128) * 2 - 1
    codes = pocket.to_codes(x)
    print(
        f"pocket encodes {16 / median_time(lambda: pocket.to_codes(x), 5):.0f}", end=""
    )
    print(
        f", decodes {16 / median_time(lambda: pocket.from_codes(codes), 5):.0f}", end=""
    )
    print(" pictures/s at 128 px")
    dalle = dalle1.load(device="cpu")
    spent = median_time(lambda: dalle.draw(["a red apple"] * 16), 3)
    print(f"DALL-E 1: 16 pictures in {spent:.1f} s")


def usual_step(z, codes, guide, goal, optimiser, augment, cuts: int) -> None:
    """One step as the published notebooks write it."""
    q = codes.quantize(z)[0]
    picture = ((codes.decode(q) + 1) / 2).clamp(0, 1)
    pooled = []
    for _ in range(cuts):
        average = F.adaptive_avg_pool2d(picture, 224)
        pooled.append((average + F.adaptive_max_pool2d(picture, 224)) / 2)
    batch = augment(torch.cat(pooled))
    batch = batch + torch.rand(cuts, 1, 1, 1) * 0.1 * torch.randn_like(batch)
    seen = guide.model.encode_image(batch)
    loss = ((seen - goal).norm(dim=-1) / 2).arcsin().pow(2).mul(2).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    book = codes.quantize.codebook
    with torch.no_grad():
        z.copy_(
            z.maximum(book.amin(0)[:, None, None]).minimum(book.amax(0)[:, None, None])
        )


def one_side(kind: str, cuts: int = 32, steps: int = 3) -> None:
    """Run one side alone, so that its peak memory is its own; prints two numbers."""
    torch.manual_seed(0)
    guide = clip.Embedder(
        "random",
        fast.speed_up(clip.CLIP(official.OFFICIAL["ViT-B/32"].config).eval()),
        official.tokenizer(),
        {},
        torch.device("cpu"),
    )
    codes = vqgan.VQGAN(IMAGENET).eval()
    torch.nn.init.normal_(codes.quantize.embedding.weight)
    for part in (guide.model, codes):
        part.requires_grad_(False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    if kind == "usual":
        import kornia.augmentation as K

        augment = torch.nn.Sequential(
            K.RandomAffine(15, (0.1, 0.1), shear=5, p=0.7),
            K.RandomPerspective(0.7, p=0.7),
            K.ColorJitter(0.1, 0.1, 0.1, 0.1, p=0.7),
            K.RandomErasing((0.1, 0.4), (0.3, 1 / 0.3), same_on_batch=True, p=0.7),
        )
        goal = guide.embed_texts(["a red fox"])[0]
        z = torch.randn(1, 256, SIZE // 16, SIZE // 16, requires_grad=True)
        optimiser = torch.optim.Adam([z], lr=0.1)
        for _ in range(steps):
            began = time.perf_counter()
            usual_step(z, codes, guide, goal, optimiser, augment, cuts)
            times.append(time.perf_counter() - began)
    else:
        settings = Settings(
            prompt="a red fox", width=SIZE, height=SIZE, cuts=cuts, steps=steps,
            every=10**6, bf16=kind == "ours-bf16", canvases=(), start="noise",
        )  # fmt: skip
        run = dream.Dream(settings, [guide], codes)
        began = time.perf_counter()
        for _ in run.steps():
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(statistics.median(times), peak / 1024)


def bench_dream() -> None:
    """Seconds and megabytes of a step at official sizes, each side in its process."""
    found = {}
    for kind in ("usual", "ours", "ours-bf16"):
        command = [sys.executable, "-c"]
        command += [
            f"from helpers.workshop.bench.pictures import one_side; one_side('{kind}')"
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        found[kind] = [float(v) for v in ran.stdout.split()[-2:]]
        seconds, peak = found[kind]
        print(f"{kind:10s} {seconds:7.2f} s a step, {peak:7.0f} MB above the models")
    for kind in ("ours", "ours-bf16"):
        faster = found["usual"][0] / found[kind][0]
        memory = found[kind][1] / found["usual"][1]
        print(f"{kind}: {faster:.2f}x the speed, {memory:.2f}x the memory")
