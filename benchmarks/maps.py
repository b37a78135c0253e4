"""How well maps find the damage, and what one of a large picture costs.

Accuracy on painted pictures with the bundled model, over several seeds; then seconds
and arithmetic of one 900 x 900 picture with the paper's backbone (random weights)::

    python benchmarks/maps.py
"""

import argparse
import warnings
from time import perf_counter, process_time

import numpy as np
import torch
from _common import count_flop

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._embedder import load_clip
from skclipad.datasets import make_defect_images
from skclipad.metrics import aupro, pixel_auroc, pixel_f1_max

METRICS = {"pixel AUROC": pixel_auroc, "AUPRO 0.3": aupro, "pixel F1": pixel_f1_max}


def accuracy(args):
    """Print pixel metrics of each set of scores, on average over the seeds."""
    found = {}
    for seed in range(args.seeds):
        photos = make_defect_images(
            args.images,
            image_size=args.size,
            defect_size=args.defects,
            random_state=args.first_seed + seed,
        )
        detector = RandomWordCLIPDetector(
            N_p=args.pairs, random_state=seed, embedder=CLIPImageEmbedder(args.model)
        ).fit()
        for scores in (("prompt",), ("fnn",), ("prompt", "fnn")):
            # Which scores are combined is asked after training.
            maps = detector.set_params(scores=scores).anomaly_map(photos.images)
            damaged = photos.target == 1
            on_damaged = [m for m, d in zip(maps, damaged, strict=True) if d]
            for metric, measure in METRICS.items():
                found.setdefault(("all pictures", scores, metric), []).append(
                    measure(photos.masks, maps)
                )
                found.setdefault(("damaged ones", scores, metric), []).append(
                    measure(photos.masks[damaged], on_damaged)
                )
    print(
        f"{args.model}, {args.seeds} seeds of {args.images} pictures, {args.size} "
        f"pixels, defects {args.defects or 'as painted'}, zero-shot\n"
    )
    for (pictures, scores, metric), values in found.items():
        print(
            f"{pictures:12s}  {' + '.join(scores):12s}  {metric:11s}  "
            f"{np.mean(values):.3f}   {np.round(values, 3)}"
        )


def product_rate(width, rows=4096, n=6):
    """Return operations in a second of CPU time of the tower's own products."""
    tokens, weights = torch.randn(rows, width), torch.randn(width, 4 * width)
    tokens @ weights
    start = process_time()
    for _ in range(n):
        tokens @ weights
    return n * 2 * rows * width * 4 * width / (process_time() - start)


def needed(visual):
    """Return the operations of the matrix products that a map cannot do without.

    Of each window its tokens through all blocks, of the last block keys and values of
    them all and the rest of the class token alone; of the whole picture the same.
    """
    width, n_blocks = visual.conv1.out_channels, len(visual.transformer.resblocks)
    rows, columns = visual.grid_size
    patch = 2 * visual.conv1.weight.numel() * rows * columns
    total = patch
    for side in (None, 2, 3):
        n = 1 if side is None else (rows - side + 1) * (columns - side + 1)
        tokens = 1 + (rows * columns if side is None else side * side)
        token = 24 * width**2  # 3 + 1 products of the attention, 8 of the MLP, times 2
        attention = 4 * tokens**2 * width
        blocks = (n_blocks - 1) * (tokens * token + attention)
        last = tokens * 4 * width**2 + 20 * width**2 + 4 * tokens * width
        total += n * (blocks + last + 2 * width * visual.output_dim)
    return total


def cost(args):
    """Print seconds and arithmetic of one map of a large picture."""
    warnings.simplefilter("ignore", UserWarning)  # random weights are meant here
    embedder = CLIPImageEmbedder(args.backbone, pretrained=None, device="cpu")
    detector = RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()
    picture = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    visual = load_clip(embedder).model.visual
    detector.anomaly_map([picture])
    done = count_flop(lambda: detector.anomaly_map([picture]))
    least = needed(visual)
    print(
        f"\none map of 900 x 900 pixels, {args.backbone}, random weights, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"arithmetic {done / 1e9:.0f} Gflop, needed {least / 1e9:.0f}", end="")
    print(f": {done / least:.3f} times")
    for _ in range(args.repeats):
        rate = product_rate(visual.conv1.out_channels)
        start, start_cpu = perf_counter(), process_time()
        detector.anomaly_map([picture])
        seconds, cpu = perf_counter() - start, process_time() - start_cpu
        rate = (rate + product_rate(visual.conv1.out_channels)) / 2
        print(
            f"{seconds:.2f} s, {cpu:.2f} s of CPU time, {done / cpu / 1e9:.0f} Gflop/s "
            f"of it: {100 * done / cpu / rate:.0f} % of the rate of one large product"
        )


def main():
    """Parse arguments and run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=2_000_000_000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--defects", type=float, nargs=2, default=None)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--backbone", default="ViT-B-16-plus-240")
    parser.add_argument("--repeats", type=int, default=3, help="of the cost; 0 is none")
    args = parser.parse_args()
    if args.seeds:
        accuracy(args)
    if args.repeats:
        cost(args)


if __name__ == "__main__":
    main()
