"""Which network to train on random words: what the paper leaves open, measured.

Hidden sizes, dropout, decay of the learning rate after the first epoch, and whether the
network sees embeddings of unit length. AUROC of the network alone on painted images
that the bundled model's training never saw, of its categories and of held-out ones,
over several seeds and two numbers of prompt pairs::

    python benchmarks/choose_fnn.py

Settings are ranked by their mean over all of these. A detector's file on the bundled
model must stay under 100 kB, which (256, 128, 64) is not. Each factor is varied around
the best setting of the one before it, so that the list stays short.
"""

import argparse
import tempfile

import numpy as np
from tiny_accuracy import painted_pools

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.metrics import auroc

FACTORS = {
    "hidden_layer_sizes": [
        (32, 16, 8),
        (64, 32, 16),
        (64, 64, 64),
        (128, 16, 8),
        (128, 32, 16),
        (128, 64, 32),
        (256, 128, 64),
    ],
    "dropout": [0.0, 0.1, 0.3, 0.5, 0.7],
    "normalize": [True, False],
    "lr_decay": [1.0, 0.3, 0.1, 0.03],
}
START = {
    "hidden_layer_sizes": (128, 32, 16),
    "dropout": 0.5,
    "normalize": True,
    "lr_decay": 0.1,
}


def measure(setting, pools, embedder, memory, sizes, seeds):
    """Return AUROC of shape (n_sizes, n_pools, n_seeds) for a setting."""
    aurocs = np.empty((len(sizes), len(pools), len(seeds)))
    for i, n_pairs in enumerate(sizes):
        for k, seed in enumerate(seeds):
            detector = RandomWordCLIPDetector(
                N_p=n_pairs,
                embedder=embedder,
                memory=memory,
                random_state=seed,
                **setting,
            ).fit()

            for j, (embeddings, targets) in enumerate(pools.values()):
                scores = detector.score_components(embeddings).s_fnn
                aurocs[i, j, k] = auroc(targets, scores)
    return aurocs


def main():
    """Read the arguments, go through the factors, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="images in a pool")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10000])
    # Not the images of the model's card: these choose, those measure.
    parser.add_argument("--picture-seed", type=int, default=600)
    args = parser.parse_args()

    embedder = CLIPImageEmbedder(model_name="tiny", device="cpu", batch_size=128)
    pools = painted_pools(args.samples, args.picture_seed)
    del pools["held-out kinds"]
    pools = {
        name: (embedder.transform(images), targets)
        for name, (images, targets) in pools.items()
    }
    columns = [f"{name}, N_p={n:,}" for n in args.pairs for name in pools]
    print(" " * 36 + "".join(f"{c:>30}" for c in columns) + f"{'mean':>8}")

    best, seeds = dict(START), range(args.seeds)
    with tempfile.TemporaryDirectory() as memory:
        for factor, values in FACTORS.items():
            means = []

            for value in values:
                setting = {**best, factor: value}
                aurocs = measure(setting, pools, embedder, memory, args.pairs, seeds)
                cells = [
                    f"{c.mean():.3f} +- {c.std():.3f}"
                    for c in aurocs.reshape(-1, len(seeds))
                ]
                means.append(aurocs.mean())
                print(
                    f"{factor + ' = ' + str(value):<36}"
                    + "".join(f"{c:>30}" for c in cells)
                    + f"{means[-1]:>8.3f}",
                    flush=True,
                )

            best[factor] = values[int(np.argmax(means))]
    print("\nbest, factor by factor:", best)


if __name__ == "__main__":
    main()
