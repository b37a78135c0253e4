"""What a network gains that does not over-fit to random words: the levers, measured.

AUROC of the network alone ("ours") and of "CLIP + ours" on the bundled model, with 95 %
confidence intervals over seeds: the paper's settings, each lever by itself, and all
together, on new painted images, on held-out categories and kinds of defect, and on
real images where there are any. Then the AUROC along the paper's own schedule, and
the bars that the levers are judged by::

    python benchmarks/beyond.py
    python benchmarks/beyond.py --parts tried    # levers that got no parameter
    python benchmarks/beyond.py --parts prefix   # speed of paired prompts
    python benchmarks/beyond.py --memory FOLDER  # keeps texts between runs

Every text is encoded once for each choice of words; images once.
"""

import argparse
import tempfile
import warnings
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _common import describe_machine, median_ratio, take_turns
from scipy import stats
from sklearn.utils import check_random_state
from tiny_accuracy import painted_pools, real_pools

from skclipad import (
    ANOMALY_WORDS,
    NORMAL_WORDS,
    CLIPImageEmbedder,
    RandomWordCLIPDetector,
)
from skclipad._clip import text
from skclipad._clip.backbone import load_backbone
from skclipad._method.network import (
    CHECK_EVERY,
    fold_batch_norm,
    network_layers,
    train_network,
    training_steps,
)
from skclipad._method.prompt_embeddings import encode_pairs
from skclipad._method.prompts import training_block
from skclipad._method.scores import unit
from skclipad._storage.store import open_store
from skclipad.metrics import auroc

STATES = {"normal_word": NORMAL_WORDS, "anomaly_word": ANOMALY_WORDS}
LEVERS = {
    "words of state drawn": STATES,
    "early stopping": {"early_stopping": True},
    "paired words": {"paired_words": True},
    "input noise": {"input_noise": 1.0},
    "5 networks": {"n_networks": 5},
}
ALL = {name: value for lever in LEVERS.values() for name, value in lever.items()}
UNPAIRED = {name: value for name, value in ALL.items() if name != "paired_words"}
RECOMMENDED = {"input_noise": 1.0, "n_networks": 5}  # as in docs/beyond.rst
SETTINGS = {
    "paper": {},
    **LEVERS,
    "all together": ALL,
    "all but paired words": UNPAIRED,
    "recommended": RECOMMENDED,
}

WORDS = ("normal_word", "anomaly_word", "l_min", "l_max", "paired_words")
TRAINING = ("hidden_layer_sizes", "dropout", "n_epochs", "batch_size")
TRAINING += ("learning_rate", "weight_decay", "lr_decay")
PARTS = ("levers", "tried", "prefix")
NEW, HELD_OUT = "seen", "held-out categories"  # as painted_pools names them


def interval(values):
    """Return mean and half width of the 95 % confidence interval over seeds."""
    values = np.asarray(values)
    if len(values) < 2:
        return values.mean(), np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean(), half


def measure(parameters, pools, args, embedder):
    """Fit a detector for each seed: {(pool, method): one AUROC a seed}, {steps}."""
    aurocs = {(name, m): [] for name in pools for m in ("ours", "CLIP + ours")}
    steps = []
    for seed in range(args.seeds):
        detector = RandomWordCLIPDetector(
            N_p=args.pairs,
            embedder=embedder,
            memory=args.memory,
            random_state=seed,
            **parameters,
        ).fit()
        steps.append(detector.n_iter_)

        for name, (embeddings, targets) in pools.items():
            scores = detector.score_components(embeddings)
            aurocs[name, "ours"].append(auroc(targets, scores.s_fnn))
            both = detector.predict_proba(embeddings)[:, 1]
            aurocs[name, "CLIP + ours"].append(auroc(targets, both))

    return aurocs, steps


def texts_of(seed, args, embedder, **parameters):
    """Return what a detector trains on: unit embeddings of its pairs, and its seed."""
    detector = RandomWordCLIPDetector(**parameters)
    seed = int(check_random_state(seed).randint(2**31 - 1))
    pairs = encode_pairs(
        embedder.encode_text,
        embedder._load().cache_name,
        args.pairs,
        seed=seed,
        store=open_store(args.memory),
        **{name: getattr(detector, name) for name in WORDS},
    )
    return tuple(map(unit, pairs)), seed


def training_parameters():
    """Return the detector's defaults for the training of its network."""
    detector = RandomWordCLIPDetector()
    return {name: getattr(detector, name) for name in TRAINING}


def schedule(pools, args, embedder):
    """Follow the paper's training: {step: {pool: one AUROC a seed}}."""
    curve = {}
    for seed in range(args.seeds):
        texts, seed = texts_of(seed, args, embedder)
        training = training_steps(
            *map(torch.from_numpy, texts), seed=seed, **training_parameters()
        )
        for step, (network, _) in enumerate(training, 1):
            if step % CHECK_EVERY == 0:
                for name, value in judge(fold_batch_norm(network), pools).items():
                    curve.setdefault(step, {}).setdefault(name, []).append(value)
    return curve


def judge(network, pools):
    """Return the AUROC of a network on every pool."""
    return {
        name: auroc(targets, network_layers(unit(embeddings), *network)[-1][:, 0])
        for name, (embeddings, targets) in pools.items()
    }


def print_rows(title, rows, columns, first=22):
    """Print one line a row and one column a pool, mean and interval over seeds."""
    print(f"\n{title}\n")
    print(" " * first + "".join(f"{name:>22}" for name in columns))
    for row, cells in rows:
        shown = [f"{mean:.3f} +- {half:.3f}" for mean, half in map(interval, cells)]
        print(f"{row:<{first}}" + "".join(f"{cell:>22}" for cell in shown), flush=True)


def print_levers(pools, args, embedder):
    """Print the paper, each lever, all together; the schedule; the bars."""
    measured, steps = {}, {}
    for name, parameters in SETTINGS.items():
        measured[name], steps[name] = measure(parameters, pools, args, embedder)
        value, half = interval(measured[name][NEW, "ours"])
        print(f"{name}: ours {value:.3f} +- {half:.3f} on new images", flush=True)

    about = f"N_p = {args.pairs:,}, {args.seeds} seeds, mean and 95 % interval"
    for method in ("ours", "CLIP + ours"):
        rows = [
            (name, [aurocs[pool, method] for pool in pools])
            for name, aurocs in measured.items()
        ]
        print_rows(f"{method}: {about}", rows, pools)

    paper = measured["paper"]
    rows = [
        (name, [np.subtract(aurocs[p, "ours"], paper[p, "ours"]) for p in pools])
        for name, aurocs in measured.items()
        if name != "paper"
    ]
    print_rows("ours, minus the paper's with the same seed", rows, pools)

    print("\nStandard deviation over seeds, new images, and steps kept (median)\n")
    for name, aurocs in measured.items():
        spread = np.std(aurocs[NEW, "ours"], ddof=1)
        print(f"{name:<22}{spread:.4f}{np.median(steps[name]):>8.0f}")

    curve = schedule(pools, args, embedder)
    shown = sorted({min(curve, key=lambda s, at=at: abs(s - at)) for at in args.shown})
    rows = [(f"step {s}", [curve[s][name] for name in pools]) for s in shown]
    print_rows("ours, along the paper's schedule", rows, pools)

    best = max(curve, key=lambda s: np.mean(curve[s][NEW]))
    peak = np.mean(curve[best][NEW])
    print(f"\nBars\n\nbest step of the paper's schedule: {best}, {peak:.3f}")
    for name in ("all together", "recommended"):
        print(f"\n{name}")
        print_bars(paper, measured[name], peak)


def print_bars(paper, together, peak):
    """Print what is asked of the levers together, and whether it is met."""
    before, after = (np.mean(f[NEW, "ours"]) for f in (paper, together))
    gain, to_peak = after - before, peak - before
    bar = before + 0.95 * to_peak
    met = gain >= 0.05 or gain >= 0.95 * to_peak
    print(
        f"new images: {before:.3f} -> {after:.3f}, {gain:+.3f} (bar +0.050, or "
        f"{bar:.3f}, 0.95 of the way to the best step): {verdict(met)}"
    )

    held = [np.mean(f[HELD_OUT, "ours"]) for f in (paper, together)]
    print(
        f"held-out categories: {held[0]:.3f} -> {held[1]:.3f} (bar: not below): "
        f"{verdict(held[1] >= held[0])}"
    )

    spread = [np.std(f[NEW, "ours"], ddof=1) for f in (paper, together)]
    print(
        f"spread over seeds: {spread[0]:.4f} -> {spread[1]:.4f}, "
        f"{spread[1] / spread[0]:.2f} of the paper's (bar 0.50): "
        f"{verdict(spread[1] <= 0.5 * spread[0])}"
    )


def verdict(met):
    """Say whether a bar is met."""
    return "met" if met else "MISSED"


def smoothed(share):
    """Return a lever that swaps the labels of a share of the pairs.

    The loss is linear in the label, so this is label smoothing by `share`, drawn.
    """

    def change(texts, rng):
        swap = (rng.random(len(texts[0])) < share)[:, None]
        return np.where(swap, *texts[::-1]), np.where(swap, *texts)

    return change


# name: what it changes of the training, what it does to the texts, are they centred?
TRIED = {
    "paper": ({}, None, False),
    "hidden (64, 32, 16)": ({"hidden_layer_sizes": (64, 32, 16)}, None, False),
    "hidden (32, 16, 8)": ({"hidden_layer_sizes": (32, 16, 8)}, None, False),
    "hidden (32,)": ({"hidden_layer_sizes": (32,)}, None, False),
    "no hidden layer": ({"hidden_layer_sizes": ()}, None, False),
    "weight decay 0.01": ({"weight_decay": 0.01}, None, False),
    "weight decay 0.1": ({"weight_decay": 0.1}, None, False),
    "weight decay 1": ({"weight_decay": 1.0}, None, False),
    "labels smoothed 0.1": ({}, smoothed(0.1), False),
    "labels smoothed 0.3": ({}, smoothed(0.3), False),
    "noise of length 0.3": ({"input_noise": 0.3}, None, False),
    "noise of length 1": ({"input_noise": 1.0}, None, False),
    "noise of length 2": ({"input_noise": 2.0}, None, False),
    "noise of length 4": ({"input_noise": 4.0}, None, False),
    "centred": ({}, None, True),
    "3 networks": ({"n_networks": 3}, None, False),
    "10 networks": ({"n_networks": 10}, None, False),
}


def print_tried(pools, args, embedder):
    """Print what other levers do to the paper's training and to the recommended one.

    The networks are trained on the same texts; with the recommended words of state a
    lever must still help to be worth a parameter.
    """
    texts, _ = texts_of(0, args, embedder)
    center = np.mean(texts, axis=(0, 1))
    for name, (embeddings, _) in pools.items():
        images = unit(embeddings).mean(axis=0)
        gap = np.linalg.norm(images - center)
        print(f"modality gap, {name}: {gap:.2f} between the means of unit embeddings")

    for about, words in (("the paper's words", {}), ("words of state drawn", STATES)):
        aurocs = {name: [[] for _ in pools] for name in TRIED}

        for seed in range(args.seeds):
            texts, seed = texts_of(seed, args, embedder, **words)
            for name, (changes, lever, centred) in TRIED.items():
                given, judged = texts, pools
                if lever is not None:
                    given = lever(texts, np.random.default_rng(seed))
                if centred:
                    # Images are centred with the texts' mean: none is looked at.
                    center = np.mean(texts, axis=(0, 1))
                    given = [unit(X - center) for X in texts]
                    judged = {k: (unit(X) - center, y) for k, (X, y) in pools.items()}

                setting = training_parameters() | changes
                network = train_network(*given, seed=seed, **setting)
                found = judge((network.coefs, network.intercepts), judged)
                for cell, value in zip(aurocs[name], found.values(), strict=True):
                    cell.append(value)

        title = f"ours with other levers, {about}: N_p = {args.pairs:,}"
        print_rows(f"{title}, {args.seeds} seeds", aurocs.items(), pools)


def print_prefix(args):
    """Print what it gains to compute the beginning of paired prompts once."""
    describe_machine()
    fewest, never = text.FEWEST_SHARED, 10**6
    for model in args.models:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*random weights")
            backbone = load_backbone(model, None, device="cpu", precision="fp32")

        detector = RandomWordCLIPDetector(paired_words=True)
        words = {name: getattr(detector, name) for name in WORDS}
        blocks = (training_block(i, seed=0, **words) for i in range(args.blocks))
        prompts = sum(blocks, [])

        def encode(fewest_shared, prompts=prompts, backbone=backbone):
            text.FEWEST_SHARED = fewest_shared
            return text.encode_texts(backbone, prompts).astype(float)

        encode(fewest, prompts[:40])
        contenders = {"each by itself": never, "beginnings once": fewest}
        taken = take_turns(
            {name: partial(encode, n) for name, n in contenders.items()}, args.repeats
        )
        apart, shared = taken.values()

        cosines = np.sum(unit(encode(never)) * unit(encode(fewest)), axis=1)
        print(
            f"{model}, {len(prompts)} paired prompts: {median(apart):.2f} s each by "
            f"itself, {median(shared):.2f} s with beginnings computed once, "
            f"{median_ratio(apart, shared):.2f} times as fast (bar 1.4); lowest "
            f"cosine between them {cosines.min():.8f}",
            flush=True,
        )


def main():
    """Read the arguments, embed the images, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="images in a pool")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=10000, help="N_p")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["levers"])
    parser.add_argument("--picture-seed", type=int, default=500)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--memory", help="folder where embeddings are kept")
    parser.add_argument(
        "--models", nargs="+", default=["ViT-B-16-plus-240", "tiny"], help="of prefix"
    )
    parser.add_argument("--blocks", type=int, default=2, help="of 200 prompts, prefix")
    parser.add_argument("--repeats", type=int, default=5, help="turns, prefix")
    parser.add_argument(
        "--shown",
        type=int,
        nargs="+",
        default=(5, 15, 30, 60, 120, 200, 310),
        help="steps of the schedule to print",
    )
    args = parser.parse_args()

    if "prefix" in args.parts:
        print_prefix(args)
    if args.parts == ["prefix"]:
        return
    with tempfile.TemporaryDirectory() as folder:
        args.memory = args.memory or folder
        embedder = CLIPImageEmbedder(
            model_name="tiny", device="cpu", batch_size=128, memory=args.memory
        )
        pools = painted_pools(args.samples, args.picture_seed)
        if args.data.is_dir():
            pools |= real_pools(args.data)
        pools = {
            name: (embedder.transform(images), targets)
            for name, (images, targets) in pools.items()
        }

        if "levers" in args.parts:
            print_levers(pools, args, embedder)
        if "tried" in args.parts:
            print_tried(pools, args, embedder)


if __name__ == "__main__":
    main()
