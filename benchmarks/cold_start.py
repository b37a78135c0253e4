"""From nothing to the score of one image, in a new process, with its parts.

A detector on the bundled model is fitted and dumped first; then each turn starts a
process that imports the package, loads the detector, loads the model and scores one
JPEG file; and the commands ``skclipad --help`` and ``skclipad score``, of ten files::

    python benchmarks/cold_start.py

Beside the seconds by the clock stand those that a process computes, which other work on
the machine changes less. pandas is imported by scikit-learn, where it is installed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import time

import joblib
import numpy as np
from _common import describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images

COLD = """
import sys
from time import process_time, time
times = [(float(sys.argv[3]), 0.0)]
def note():
    times.append((time(), process_time()))
note()
import sklearn.base
note()
import torch
note()
import skclipad._detector
note()
from skclipad._clip.importing import import_open_clip
import_open_clip()
note()
import joblib
detector = joblib.load(sys.argv[1])
note()
from skclipad._embedder import load_clip
load_clip(detector.embedder)
note()
detector.predict_proba([sys.argv[2]])
note()
detector.predict_proba([sys.argv[2]])
note()
import json
pairs = zip(times, times[1:])
print(json.dumps([[b - a for a, b in zip(*pair)] for pair in pairs]))
"""
PARTS = (
    "start python",
    "import scikit-learn",
    "import torch",
    "import skclipad",
    "import open_clip",
    "load the detector",
    "load the model",
    "score an image",
)
# What the command does as `python -m skclipad`, and when it had done it.
COMMAND = """
import sys
from time import time
from skclipad.cli import main
code = main()
print(time(), file=sys.stderr)
sys.exit(code)
"""
N_SCORED = 10


def ran(code, *arguments):
    """Run Python code; return what it says last, and the seconds by two clocks."""
    before, start = os.times(), time()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, after = time() - start, os.times()
    computed = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    said = done.stdout if code is COLD else done.stderr
    return said.splitlines()[-1], seconds, computed


def first_image(dumped, image):
    """Return the seconds of each part, of all, and of a second score, by two clocks."""
    said, _, _ = ran(COLD, dumped, image, time())
    *parts, again = json.loads(said)
    return [*parts, np.sum(parts, axis=0), again]


def command(*arguments):
    """Return the seconds of a command, and of its leaving Python, by two clocks."""
    start = time()
    said, seconds, computed = ran(COMMAND, *arguments)
    return [(seconds, computed), (start + seconds - float(said), np.nan)]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    describe_machine()

    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder, dumped = Path(name), Path(name) / "detector"
        paths = [folder / f"{i}.jpg" for i in range(N_SCORED)]
        images = make_defect_images(N_SCORED, random_state=0).images
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        embedder = CLIPImageEmbedder("tiny")
        detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0)
        joblib.dump(detector.fit(), dumped)

        score = ("score", *paths, "-d", dumped, "-o", folder / "scores.csv")
        for _ in range(args.repeats):
            helped = command("--help")
            turns.append([*first_image(dumped, paths[0]), helped[0], *command(*score)])

    names = [*PARTS, "all of it", "(score it again)"]
    names += ["skclipad --help", f"skclipad score, {N_SCORED} files", "(leave python)"]
    columns = np.median(turns, axis=0)  # (names, clocks)
    whole = columns[len(PARTS)]

    print(f"medians of {args.repeats} turns")
    print_table(
        ["", "seconds", "of all", "computing"],
        [
            [name, f"{clock:.2f}", f"{clock / whole[0]:.0%}", f"{cpu:.2f}"]
            for name, (clock, cpu) in zip(names, columns, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
