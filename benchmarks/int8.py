"""Images and texts in 8 bits on a CPU, beside single precision, bfloat16 and others.

By turns, the same painted images and the same training prompts are embedded with
``precision="fp32"``, ``"bf16"`` and ``"int8"``; then each runs once more, in a process
of its own, for its memory. With ``--others`` the images are embedded by other libraries
too, as far as they are installed (``pip install onnx onnxruntime torchao openvino
nncf``); to bring the tower to 8 bits takes these some minutes. Texts are not: of these
the package computes less than the towers that the others run (``text_encoder.py``)::

    python benchmarks/int8.py
    python benchmarks/int8.py --others
    python benchmarks/int8.py --others OpenVINO    # those whose names hold the word
    python benchmarks/int8.py --model ViT-B-32 --images 128 --texts 512
    python benchmarks/int8.py --model PE-Core-B-16 --texts 0
    python benchmarks/int8.py --cpu-time    # where other work keeps the cores busy
    python benchmarks/int8.py --model tiny --painted 600

With ``--painted`` it prints what number formats do to AUROC and to the order of scores
instead, on painted images; ``photos.py --question precision`` does on photographs.

Weights are random unless the model is "tiny": speed does not depend on them, but
cosines do. Those of trained weights are what ``skclipad info --check-precision int8
photos/`` prints, on your own images.
"""

import argparse
import json
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from _common import describe_machine, median_ratio, print_table, take_turns
from _int8_others import other_towers, painted
from scipy.stats import spearmanr
from text_encoder import training_prompts

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.backbone import load_backbone
from skclipad._clip.precision import cpu_units
from skclipad._clip.text import encode_texts
from skclipad._clip.vision import encode_pixels
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc

OURS = ("fp32", "bf16", "int8")


def embed(encode, pixels, batch_size):
    """Embed images batch by batch, as an array."""
    return np.concatenate([np.asarray(encode(x)) for x in pixels.split(batch_size)])


def own_memory(args, precision):
    """Return megabytes after loading, and at most while embedding, in a new process."""
    command = [sys.executable, __file__, "--memory-of", precision]
    for name in ("model", "images", "texts", "batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def print_memory(args):
    """Print the memory of this process, as `own_memory` reads it."""
    backbone = load_backbone(args.model, None, device="cpu", precision=args.memory_of)
    loaded = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used
    pixels = torch.zeros(args.images, *backbone.image_size, 3, dtype=torch.uint8)
    embed(partial(encode_pixels, backbone), pixels, args.batch_size)
    if args.texts:
        encode_texts(backbone, training_prompts(args.texts))
    print(json.dumps([loaded, status("VmHWM")]))


def status(name):
    """Return a size from Linux's account of this process, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return int(line.split()[1]) / 1000


def lowest_cosine(A, B):
    """Return the lowest cosine between rows of two arrays."""
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    return ((A.astype(float) * B).sum(axis=1) / norms).min()


def print_turns(what, n, contenders, args):
    """Time contenders by turns, and print how they compare with the first."""
    found = {name: function() for name, function in contenders.items()}  # warm, too
    clock = process_time if args.cpu_time else perf_counter
    taken = take_turns(contenders, args.repeats, clock)
    first = next(iter(contenders))
    print_table(
        [what, "seconds", "a second", f"times {first}", f"lowest cosine to {first}"],
        [
            [
                name,
                median(taken[name]),
                f"{n / median(taken[name]):.1f}",
                f"{median_ratio(taken[first], taken[name]):.2f}",
                f"{lowest_cosine(found[first], found[name]):.5f}",
            ]
            for name in contenders
        ],
    )


def print_images(ours, args):
    """Time image towers, ours and, with `--others`, theirs."""
    pixels = painted(ours["fp32"], args.images)
    encoders = {name: partial(encode_pixels, clip) for name, clip in ours.items()}
    if args.others is not None:
        encoders.update(other_towers(ours["fp32"], args.others))
    contenders = {
        name: partial(embed, encode, pixels, args.batch_size)
        for name, encode in encoders.items()
    }
    print_turns("images", args.images, contenders, args)


def print_texts(ours, args):
    """Time text towers."""
    texts = training_prompts(args.texts)
    contenders = {
        name: partial(encode_texts, clip, texts) for name, clip in ours.items()
    }
    if texts:
        print_turns("texts", args.texts, contenders, args)


def print_accuracy(args):
    """Print AUROC on painted images, and how much the order of scores changes."""
    bunch = make_defect_images(args.painted, random_state=7)
    rows, exact = [], {}
    for name in OURS:
        embedder = CLIPImageEmbedder(args.model, None, device="cpu", precision=name)
        detector = RandomWordCLIPDetector(embedder=embedder, random_state=0).fit()
        scores = detector.score_components(bunch.images)
        scores = {**scores, "score": detector.combine_components(scores)}
        exact = exact or scores
        for method, found in scores.items():
            order = spearmanr(found, exact[method])[0]
            rows.append(
                [name, method, f"{auroc(bunch.target, found):.4f}", f"{order:.4f}"]
            )
    print_table(["", "score", "AUROC", "rank correlation to fp32"], rows)


def parse():
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--others", nargs="?", const="", metavar="WORD")
    parser.add_argument("--cpu-time", action="store_true", help="of one thread")
    parser.add_argument("--painted", type=int, metavar="N", help="images")
    parser.add_argument("--memory-of", choices=OURS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Print the tables."""
    args = parse()
    warnings.filterwarnings("ignore", message=".*random weights")
    if args.memory_of:
        print_memory(args)
        return

    if args.cpu_time:
        torch.set_num_threads(1)
    describe_machine()
    if args.painted:
        print_accuracy(args)
        return
    print(f"units for fewer bits: {', '.join(cpu_units() or ()) or 'none, or unknown'}")
    kind = "seconds of CPU time" if args.cpu_time else "seconds"
    print(f"{args.model}, {kind}, medians of {args.repeats} turns\n")
    ours = {
        name: load_backbone(args.model, None, device="cpu", precision=name)
        for name in OURS
    }
    print_images(ours, args)
    print_texts(ours, args)
    if Path("/proc/self/clear_refs").exists():
        print_table(
            ["MB", "weights", "after loading", "peak while embedding"],
            [
                [name, f"{backbone.n_bytes / 1e6:.0f}"]
                + [f"{size:.0f}" for size in own_memory(args, name)]
                for name, backbone in ours.items()
            ],
        )


if __name__ == "__main__":
    main()
