"""``fit`` again in a new process, with ``memory``, against the first ``fit``.

Each ``fit`` is a process of its own on the same folder. Loading the model is timed
apart, since it is the same whatever ``fit`` finds::

    python benchmarks/fit_memory.py
    python benchmarks/fit_memory.py --pairs 1000

The default takes some minutes: the first ``fit`` encodes 20,000 prompts. Weights are
random unless the model is "tiny".
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from time import perf_counter

from _common import describe_machine, print_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._embedder import load_clip


def fit(args):
    """Load the model and fit; print the seconds of both."""
    warnings.filterwarnings("ignore", message=".*random weights")
    embedder = CLIPImageEmbedder(args.model, None)
    start = perf_counter()
    load_clip(embedder)
    loaded = perf_counter()
    RandomWordCLIPDetector(
        N_p=args.pairs, embedder=embedder, memory=args.folder, random_state=0
    ).fit()
    done = perf_counter()
    print(json.dumps({"load": loaded - start, "fit": done - loaded}))


def in_new_process(args, folder):
    """Run `fit` in a new process; return its seconds, all of its life among them."""
    command = [sys.executable, __file__, "--folder", folder]
    command += ["--model", args.model, "--pairs", str(args.pairs)]
    start = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout), "process": perf_counter() - start}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3, help="of the later fits")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        fit(args)
        return
    describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        runs = {"first": in_new_process(args, folder)}
        for i in range(args.repeats):
            runs[f"again ({i + 1})"] = in_new_process(args, folder)
    first = runs["first"]
    print(f"{args.model}, N_p = {args.pairs}")
    print_table(
        ["fit", "seconds", "of the first", "loading", "whole process", "of the first"],
        [
            [
                name,
                run["fit"],
                f"{run['fit'] / first['fit']:.1%}",
                run["load"],
                run["process"],
                f"{run['process'] / first['process']:.1%}",
            ]
            for name, run in runs.items()
        ],
    )


if __name__ == "__main__":
    main()
