"""From nothing to the score of one picture, in a new process, with its parts.

A detector on the bundled model is fitted and dumped first; then each turn starts a
process that imports the package, loads the detector, loads the model and scores one
JPEG file::

    python benchmarks/cold_start.py
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import joblib
from _common import describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images

COLD = """
import json, sys
from time import perf_counter
times = [perf_counter()]
import torch
times.append(perf_counter())
import skclipad
times.append(perf_counter())
import open_clip
times.append(perf_counter())
import joblib
detector = joblib.load(sys.argv[1])
times.append(perf_counter())
detector.embedder._load()
times.append(perf_counter())
detector.predict_proba([sys.argv[2]])
times.append(perf_counter())
detector.predict_proba([sys.argv[2]])
times.append(perf_counter())
print(json.dumps([b - a for a, b in zip(times, times[1:])]))
"""
PARTS = (
    "import torch",
    "import skclipad",
    "import open_clip",
    "load the detector",
    "load the model",
    "score a picture",
)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    describe_machine()
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        dumped, picture = (str(Path(folder) / name) for name in ("detector", "1.jpg"))
        Image.fromarray(make_defect_images(1, random_state=0).images[0]).save(picture)
        embedder = CLIPImageEmbedder("tiny")
        detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0)
        joblib.dump(detector.fit(), dumped)
        for _ in range(args.repeats):
            start = perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", COLD, dumped, picture],
                capture_output=True,
                text=True,
                check=True,
            )
            *parts, again = json.loads(done.stdout)
            whole = perf_counter() - start
            turns.append([*parts, whole - sum(parts) - again, whole - again, again])
    names = [*PARTS, "the interpreter", "all of it", "(score it again)"]
    columns = [median(column) for column in zip(*turns, strict=True)]
    whole = columns[-2]
    print(f"medians of {args.repeats} turns")
    print_table(
        ["", "seconds", "of all"],
        [
            [name, f"{value:.2f}", f"{value / whole:.0%}"]
            for name, value in zip(names, columns, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
