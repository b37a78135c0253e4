"""How well the bundled model separates whole from damaged: the figures of its card.

Painted pictures that the training never saw, of its categories and of others, and real
ones where there are any; AUROC over several seeds of the detector for "CLIP" (the two
prompts), "ours" (the network trained on random words) and "CLIP + ours"::

    python benchmarks/tiny_accuracy.py

Pictures are embedded once. What was held out of training stands in the model's own
``open_clip_config.json``.
"""

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import DEFECTS, OBJECTS, SURFACES, make_defect_images
from skclipad.metrics import auroc
from skclipad.tiny import FOLDER

PAIRS = (100, 300, 1000, 3000, 10000, 30000)
LENGTHS = ((1, 3), (2, 5), (3, 6), (5, 10), (8, 12))
NORMAL_WORDS = ("a", "a normal", "a good", "a flawless")
ANOMALY_WORDS = ("a damaged", "a broken", "a defective", "an anomalous")
SETTINGS = {
    "default": {},
    "input noise 1": {"input_noise": 1.0},
    "5 networks": {"n_networks": 5},
    "recommended": {"input_noise": 1.0, "n_networks": 5},  # as in docs/beyond.rst
}
PARTS = ("sweep", "lengths", "words", "settings")
METHODS = ("CLIP", "ours", "CLIP + ours")


def painted_pools(n_samples, seed):
    """Paint pictures of what training saw and of what was held out of it.

    Parameters
    ----------
    n_samples : int
        Pictures in a pool.
    seed : int
        Seed of the first pool; training used seeds from 1000 on.

    Returns
    -------
    dict of str to (images, targets)
    """
    held = json.loads((FOLDER / "open_clip_config.json").read_text())["training"]
    categories, kinds = held["held_out_categories"], held["held_out_defects"]
    known = [name for name in (*SURFACES, *OBJECTS) if name not in categories]
    struck = make_defect_images(1, defects=kinds).category_names
    pools = {
        "seen": (known, [name for name in DEFECTS if name not in kinds]),
        "held-out categories": (categories, None),
        "held-out kinds": ([name for name in known if name in struck], kinds),
    }
    for i, (name, (shown, defects)) in enumerate(pools.items()):
        bunch = make_defect_images(
            n_samples, categories=shown, defects=defects, random_state=seed + i
        )
        pools[name] = bunch.images, bunch.target
    return pools


def real_pools(folder):
    """Find real pictures laid out as CATEGORY/test/good and CATEGORY/test/DEFECT."""
    pools = {}
    for test in sorted(folder.glob("*/test")):
        paths = sorted(path for path in test.glob("*/*") if path.is_file())
        targets = np.array([path.parent.name != "good" for path in paths], dtype=int)
        pools[test.parent.name] = paths, targets
    return pools


def measure(pools, embedder, seeds, memory, **parameters):
    """Fit detectors and judge every pool: {pool: {method: one AUROC a seed}}."""
    figures = {name: {method: [] for method in METHODS} for name in pools}
    for seed in seeds:
        detector = RandomWordCLIPDetector(
            embedder=embedder, memory=memory, random_state=seed, **parameters
        ).fit()
        for name, (embeddings, targets) in pools.items():
            scores = detector.score_components(embeddings)
            both = (scores.s_pr + scores.s_fnn) / 2
            for method, s in zip(
                METHODS, (scores.s_pr, scores.s_fnn, both), strict=True
            ):
                figures[name][method].append(auroc(targets, s))
    return figures


def print_table(title, rows, pools):
    """Print one line for each row and method, one column for each pool."""
    print(f"\n{title}\n")
    print(" " * 40 + "".join(f"{name:>22}" for name in pools))
    for row, figures in rows:
        for method in METHODS:
            cells = [figures[name][method] for name in pools]
            cells = [f"{np.mean(c):.3f} +- {np.std(c):.3f}" for c in cells]
            line = f"{row:<28}{method:<12}" + "".join(f"{c:>22}" for c in cells)
            print(line, flush=True)


def print_bars(rows):
    """Print the figures that the model is judged by."""
    sweep = dict(rows)
    at_default = sweep[f"N_p = {10000:,}"]
    print("\nBars\n")
    for name, clip, best, default in (
        ("seen", 0.92, 0.90, 0.85),
        ("held-out categories", 0.80, 0.78, None),
    ):
        ours = {row: np.mean(figures[name]["ours"]) for row, figures in rows}
        row = max(ours, key=ours.get)
        figure = np.mean(at_default[name]["CLIP"])
        print(f"{name}: CLIP {figure:.3f} (bar {clip:.2f})")
        print(f"{name}: ours {ours[row]:.3f} at its best {row} (bar {best:.2f})")
        if default is not None:
            figure = np.mean(at_default[name]["ours"])
            print(f"{name}: ours {figure:.3f} at the defaults (bar {default:.2f})")


def main():
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5000, help="pictures in a pool")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the sweep")
    parser.add_argument("--table-seeds", type=int, default=5, help="of the tables")
    parser.add_argument("--table-pairs", type=int, default=10000, help="N_p of those")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="tables to print"
    )
    parser.add_argument("--picture-seed", type=int, default=500)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()

    embedder = CLIPImageEmbedder(model_name="tiny", device="cpu", batch_size=128)
    pools = painted_pools(args.samples, args.picture_seed)
    if args.data.is_dir():
        pools |= real_pools(args.data)
    pools = {
        name: (embedder.transform(images), targets)
        for name, (images, targets) in pools.items()
    }
    for name, (_, targets) in pools.items():
        print(f"{name}: {(targets == 0).sum()} whole, {targets.sum()} damaged")

    with tempfile.TemporaryDirectory() as memory:
        seeds, few = range(args.seeds), range(args.table_seeds)
        table = {"N_p": args.table_pairs}
        about = f"N_p = {args.table_pairs:,}, {args.table_seeds} seeds"
        if "sweep" in args.parts:
            rows = [
                (f"N_p = {n:,}", measure(pools, embedder, seeds, memory, N_p=n))
                for n in PAIRS
            ]
            print_table(f"Pairs of prompts, {args.seeds} seeds", rows, pools)
            print_bars(rows)
        if "lengths" in args.parts:
            rows = []
            for low, high in LENGTHS:
                letters = {"l_min": low, "l_max": high}
                figures = measure(pools, embedder, few, memory, **letters, **table)
                rows.append((f"{low} to {high} letters", figures))
            print_table(f"Word lengths, {about}", rows, pools)
        if "words" in args.parts:
            rows = []
            for normal, anomaly in product(NORMAL_WORDS, ANOMALY_WORDS):
                words = {"normal_word": normal, "anomaly_word": anomaly}
                figures = measure(pools, embedder, few, memory, **words, **table)
                rows.append((f"{normal} / {anomaly}", figures))
            print_table(f"Word pairs, {about}", rows, pools)
        if "settings" in args.parts:
            rows = [
                (name, measure(pools, embedder, few, memory, **setting, **table))
                for name, setting in SETTINGS.items()
            ]
            print_table(f"Beyond the paper, {about}", rows, pools)


if __name__ == "__main__":
    main()
