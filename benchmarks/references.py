"""Seconds and memory of comparing images with references, by their number.

For each number of references: seconds that `fit` takes beyond the training of the
network, seconds an image to embed and to score, how many times the embedding the score
takes, the size of the pickle, and the peak memory of a process that does both::

    python benchmarks/references.py
    python benchmarks/references.py --model tiny --references 10 100 1000

Images are noise on gradients, each another one, and arrays, so that no time goes to
files. More references than `max_references` are drawn down to it. Each row runs in a
process of its own.
"""

import argparse
import json
import pickle
import resource
import subprocess
import sys
import warnings
from collections.abc import Sequence

import numpy as np
from _common import describe_machine, print_table, seconds

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector


class Pictures(Sequence):
    """So many images, each made when it is asked for.

    Parameters
    ----------
    n : int
        How many.
    side : int, default=240
        Their height and width.
    first : int, default=0
        Number of the first.
    """

    def __init__(self, n, side=240, first=0):
        self.n, self.side, self.first = n, side, first

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        rng = np.random.default_rng(self.first + i)
        ramp = np.linspace(0, 200, self.side)[:, None, None]
        noise = rng.integers(0, 56, (self.side, self.side, 3))
        return (ramp + noise).astype(np.uint8)


def measure(args, n_references):
    """Fit and score in this process; return the row as a dict."""
    embedder = CLIPImageEmbedder(args.model, args.pretrained)
    settings = {"N_p": 100, "random_state": 0, "embedder": embedder}
    new = Pictures(args.images, first=10**6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random weights
        without = RandomWordCLIPDetector(**settings).fit()
        without.predict_proba(new)  # warm
        embedding = seconds(lambda: without.predict_proba(new)) / len(new)

        detector = RandomWordCLIPDetector(
            n_shots="all",
            reference_method=args.method,
            max_references=args.max_references,
            **settings,
        )
        fitting = seconds(lambda: detector.fit(Pictures(n_references)))
        scoring = seconds(lambda: detector.predict_proba(new)) / len(new)

    return {
        "references": f"{len(detector.reference_rows_)} of {n_references:,}",
        "fit": fitting,
        "embed an image": embedding,
        "score an image": scoring,
        "times": scoring / embedding,
        "pickle, MB": len(pickle.dumps(detector)) / 1e6,
        "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def parse(arguments=None):
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240", help="as model_name")
    parser.add_argument("--pretrained", help="as pretrained; default: random weights")
    parser.add_argument("--method", choices=("mutual", "winclip"), default="mutual")
    parser.add_argument(
        "--references", type=int, nargs="+", default=[10, 100, 1000, 10_000]
    )
    parser.add_argument("--max-references", type=int, default=200)
    parser.add_argument("--images", type=int, default=16, help="to score")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Measure and print."""
    args = parse(arguments)
    if args.one is not None:
        print(json.dumps(measure(args, args.one)))
        return
    describe_machine()
    print(f"{args.model}, {args.method}, {args.images} images scored\n", flush=True)
    given = sys.argv[1:] if arguments is None else list(arguments)
    rows = []
    for n in args.references:
        command = [sys.executable, __file__, *given, "--one", str(n)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print_table(list(rows[0]), [list(map(_short, row.values())) for row in rows])


def _short(value):
    return value if isinstance(value, str) else f"{value:.3g}"


if __name__ == "__main__":
    main()
