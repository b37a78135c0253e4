"""Which crops, and how their views give one score: the choice behind "multi".

Images are painted at twice the size that the model reads, with small defects, so that
a crop shows what the whole view has lost. For each geometry and each way of putting the
views together, AUROC over several seeds::

    python benchmarks/crops.py

Views are cut out here by slicing; ``crops="multi"`` at the end is the package's own,
for each value of the detector's `combine_views`.
"""

import argparse
from time import perf_counter

import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc

# Name -> (crops along a side, side of a crop as a share of the image's), ...
GEOMETRIES = {
    "2 x 2 of 0.50": [(2, 0.5)],
    "2 x 2 of 0.60": [(2, 0.6)],
    "2 x 2 of 0.75": [(2, 0.75)],
    "2 x 2 of 0.85": [(2, 0.85)],
    "3 x 3 of 0.50": [(3, 0.5)],
    "3 x 3 of 0.75": [(3, 0.75)],
    "2 x 2 of 0.75 and 0.50": [(2, 0.75), (2, 0.5)],
}
SCORES = ("s_pr", "s_fnn", "mean")


def boxes(size, n, share):
    """Return the boxes of n x n evenly spread crops of a square image."""
    side = round(share * size)
    starts = np.linspace(0, size - side, n).round().astype(int)
    return [(left, top, left + side, top + side) for top in starts for left in starts]


def embed_views(embedder, images, views):
    """Embed parts of images: shape (n_views, n_images, C_e)."""
    return np.stack(
        [
            embedder.transform(images[:, top:bottom, left:right])
            for left, top, right, bottom in views
        ]
    )


def components(detector, embeddings):
    """Score embeddings of shape (..., C_e): dict of arrays of shape (...)."""
    scores = detector.score_components(embeddings.reshape(-1, embeddings.shape[-1]))
    scores = {name: s.reshape(embeddings.shape[:-1]) for name, s in scores.items()}
    return {**scores, "mean": (scores["s_pr"] + scores["s_fnn"]) / 2}


def unit(embeddings):
    """Scale embeddings to unit length."""
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def combinations(detector, views):
    """Yield (name, scores) of every way of putting views together."""
    yield "mean embedding", components(detector, views.mean(axis=0))
    yield "mean unit embedding", components(detector, unit(views).mean(axis=0))
    scores = components(detector, views)
    yield "mean score", {name: s.mean(axis=0) for name, s in scores.items()}
    yield "highest score", {name: s.max(axis=0) for name, s in scores.items()}


def run(args, seed):
    """Return {(geometry, combination): {score: AUROC}} of one seed."""
    photos = make_defect_images(
        args.images,
        image_size=args.size,
        defect_size=tuple(args.defects),
        random_state=args.first_seed + seed,
    )
    embedder = CLIPImageEmbedder(args.model)
    detector = RandomWordCLIPDetector(
        N_p=args.pairs, random_state=seed, embedder=embedder
    ).fit()

    size = args.size
    grids = {grid for geometry in GEOMETRIES.values() for grid in geometry}
    embedded = {
        grid: embed_views(embedder, photos.images, boxes(size, *grid)) for grid in grids
    }
    whole = embed_views(embedder, photos.images, [(0, 0, size, size)])
    found = {("whole", ""): components(detector, whole[0])}
    for geometry, parts in GEOMETRIES.items():
        crops = [embedded[part] for part in parts]
        for prefix, views in (("whole + ", [whole, *crops]), ("", crops)):
            for name, scores in combinations(detector, np.concatenate(views)):
                found[prefix + geometry, name] = scores

    for how in ("embeddings", "mean", "max"):
        detector.set_params(combine_views=how, embedder__crops="multi").fit()
        parts = detector.score_components(photos.images)
        combined = detector.predict_proba(photos.images)[:, 1]
        found['crops="multi"', how] = {**parts, "mean": combined}

    return {
        key: {name: auroc(photos.target, scores[name]) for name in SCORES}
        for key, scores in found.items()
    }


def main():
    """Parse arguments, run all seeds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=2_000_000_000)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--defects", type=float, nargs=2, default=(0.05, 0.15))
    parser.add_argument("--pairs", type=int, default=10_000)
    args = parser.parse_args()

    start = perf_counter()
    results = [run(args, seed) for seed in range(args.seeds)]

    print(
        f"{args.model}, {args.images} images of {args.size} pixels, defects of "
        f"{args.defects[0]} to {args.defects[1]} of the side, {args.seeds} seeds\n"
    )
    print(f"{'views':30s} {'one score from':20s}  " + "          ".join(SCORES))

    whole = np.array([[r["whole", ""][name] for name in SCORES] for r in results])
    for key in results[0]:
        values = np.array([[r[key][name] for name in SCORES] for r in results])
        gain = (values - whole).mean(axis=0)
        cells = [
            f"{mean:.3f} ({difference:+.3f})"
            for mean, difference in zip(values.mean(axis=0), gain, strict=True)
        ]
        print(f"{key[0]:30s} {key[1]:20s}  " + "  ".join(cells))

    package = np.array([r['crops="multi"', "max"]["mean"] for r in results])
    gains = package - whole[:, SCORES.index("mean")]
    print(
        f"\nthe package's default over one view: {gains.mean():+.3f}, seed by seed "
        f"{gains.round(3)}"
    )
    print(f"{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
