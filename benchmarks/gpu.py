"""The same on a GPU: fit, text encoding and image encoding against open_clip's own.

Says so and ends where there is no CUDA device::

    python benchmarks/gpu.py

Both sides compute in the precision that ``precision="auto"`` picks on CUDA. Weights
are random: speed does not depend on them.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _common import describe_machine, median_ratio, print_table, seconds, take_turns
from image_encoder import decoded, open_clip_loop, write_images
from text_encoder import training_prompts

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.backbone import load_backbone
from skclipad._clip.features import stream_features
from skclipad._clip.preparation import ImageOptions
from skclipad._clip.text import encode_texts, tokenize
from skclipad._clip.vision import normalized
from skclipad._method import training as training_module
from skclipad._method.prompt_embeddings import clear_prompt_cache


def lowest_cosine(A, B):
    """Return the lowest cosine of two arrays' rows."""
    A, B = A.astype(float), B.astype(float)
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    return ((A * B).sum(axis=1) / norms).min()


def measure_fit(args):
    """Time whole fits after loading."""
    embedder = CLIPImageEmbedder(args.model, None, device="cuda")
    detector = RandomWordCLIPDetector(N_p=args.pairs, embedder=embedder, random_state=0)

    def fit():
        clear_prompt_cache()
        training_module._fits.clear()
        detector.fit()

    fit()
    print(f"fit with N_p = {args.pairs} after loading")
    turns = take_turns({"fit": fit}, args.repeats)["fit"]
    print_table(["", "seconds"], [["skclipad", median(turns)]])


def open_clip_texts(backbone, tokens, batch_size):
    """Encode padded tokens in batches."""
    with torch.inference_mode():
        batches = tokens.split(batch_size)
        encoded = [backbone.model.encode_text(b.to("cuda")) for b in batches]
        return torch.cat(encoded).float().cpu().numpy()


def measure_texts(args, backbone):
    """Compare text encoding, tokenization on our side included."""
    texts = training_prompts(args.prompts)
    tokens = tokenize(backbone, texts)
    contenders = {
        f"open_clip, padded, batch {size}": lambda size=size: open_clip_texts(
            backbone, tokens, size
        )
        for size in (64, 1024)
    }
    contenders["skclipad"] = lambda: encode_texts(backbone, texts)

    print_comparison(contenders, len(texts), "prompts/s", args.repeats)
    tokenizing = seconds(lambda: tokenize(backbone, texts))
    cosine = lowest_cosine(
        open_clip_texts(backbone, tokens, 64), encode_texts(backbone, texts)
    )
    print(f"of it tokenization: {tokenizing:.2f} s; lowest cosine {cosine:.6f}\n")


def measure_images(args, backbone):
    """Compare image encoding from files with tensors that already lie on the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), args.images, args.size)
        pixels = torch.from_numpy(np.stack([decoded(backbone, p) for p in paths]))
        tensors = normalized(backbone, pixels).contiguous()
        contenders = {
            "open_clip, tensors on the GPU": lambda: open_clip_loop(
                backbone, tensors, 256
            ),
            "skclipad, JPEG files": lambda: list(
                stream_features(backbone, paths, ImageOptions(batch_size=256))
            ),
        }
        print_comparison(contenders, len(paths), "images/s", args.repeats)


def print_comparison(contenders, n_items, rate, repeats):
    """Time contenders by turns and print them against the first."""
    for function in contenders.values():
        function()
    taken = take_turns(contenders, repeats)

    baseline = next(iter(taken.values()))
    print_table(
        ["", "seconds", rate, "times the first"],
        [
            [
                name,
                median(turns),
                f"{n_items / median(turns):.0f}",
                f"{median_ratio(baseline, turns):.2f}",
            ]
            for name, turns in taken.items()
        ],
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=8192)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--size", type=int, default=700, help="of the files, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    warnings.filterwarnings("ignore", message=".*random weights")
    describe_machine()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing was measured.")
        return

    backbone = load_backbone(args.model, None, device="cuda")
    measure_texts(args, backbone)
    measure_images(args, backbone)
    measure_fit(args)


if __name__ == "__main__":
    main()
