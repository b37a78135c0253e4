"""What a few normal images add: AUROC with references against none.

For each seed and category, images of that category are painted, references are drawn
from some normal ones, and AUROC is taken over the others, on average over the
categories, as the field does it. Every image shows another thing, or, as under the
camera of an inspection line, all show the same one::

    python benchmarks/shots.py
    python benchmarks/shots.py --line
"""

import argparse
from time import perf_counter

import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import OBJECTS, SURFACES, make_defect_images
from skclipad.metrics import auroc

N_REFERENCES = 8  # normal images that references are drawn from


def run(args, seed, categories):
    """Return {(n_shots, scores): AUROC averaged over categories} of one seed."""
    found = {}
    embedder = CLIPImageEmbedder(args.model)
    for number, category in enumerate(categories):
        seed_of_images = args.first_seed + 1000 * seed + number
        photos = make_defect_images(
            args.images + 2 * N_REFERENCES,
            categories=[category],
            defect_size=args.defects,
            fixed_scenes=args.line,
            random_state=seed_of_images,
        )
        references = np.flatnonzero(photos.target == 0)[:N_REFERENCES]
        images = np.delete(photos.images, references, axis=0)
        target = np.delete(photos.target, references)

        for n_shots in (0, *args.shots):
            detector = RandomWordCLIPDetector(
                N_p=args.pairs,
                n_shots=n_shots,
                object_name=category if args.known else "object",
                random_state=seed,
                embedder=embedder,
            ).fit(photos.images[references])
            parts = detector.score_components(images)
            # The mean of the three scores is what predict_proba gives.
            combined = np.mean(list(parts.values()), axis=0)

            for name, scores in {**parts, "combined": combined}.items():
                key = (n_shots, name)
                found.setdefault(key, []).append(auroc(target, scores))
    return {key: np.mean(values) for key, values in found.items()}


def main():
    """Parse arguments, run all seeds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=2_000_000_000)
    parser.add_argument("--images", type=int, default=30, help="for each category")
    parser.add_argument("--categories", type=int, default=10, help="for each seed")
    parser.add_argument("--defects", type=float, nargs=2, default=None)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--line", action="store_true", help="one and the same thing for each category"
    )
    parser.add_argument("--known", action="store_true", help="name the category")
    args = parser.parse_args()

    start = perf_counter()
    everything = np.array(sorted({*SURFACES, *OBJECTS}))

    results = []
    for seed in range(args.seeds):
        chosen = np.random.default_rng(seed).permutation(everything)
        results.append(run(args, seed, chosen[: args.categories]))

    print(
        f"{args.model}, {args.seeds} seeds, {args.categories} categories of "
        f"{args.images} images each, defects {args.defects or 'as painted'}, "
        f"{'one thing' if args.line else 'another thing in every image'}\n"
    )

    print("shots  score     AUROC   seed by seed")
    for key in sorted(results[0]):
        values = np.array([result[key] for result in results])
        print(f"{key[0]:5d}  {key[1]:8s}  {values.mean():.3f}   {values.round(3)}")
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
