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
from time import time

import joblib
from _common import describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images

COLD = """
import sys
from time import time
times = [float(sys.argv[3]), time()]
import torch
times.append(time())
import skclipad
times.append(time())
import open_clip
times.append(time())
import joblib
detector = joblib.load(sys.argv[1])
times.append(time())
from skclipad._embedder import load_clip
load_clip(detector.embedder)
times.append(time())
detector.predict_proba([sys.argv[2]])
times.append(time())
detector.predict_proba([sys.argv[2]])
times.append(time())
import json
print(json.dumps([b - a for a, b in zip(times, times[1:])]))
"""
PARTS = (
    "start python",
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
            start = time()
            done = subprocess.run(
                [sys.executable, "-c", COLD, dumped, picture, str(start)],
                capture_output=True,
                text=True,
                check=True,
            )
            *parts, again = json.loads(done.stdout)
            left = time() - start - sum(parts) - again
            turns.append([*parts, sum(parts), again, left])
    names = [*PARTS, "all of it", "(score it again)", "(leave python)"]
    columns = [median(column) for column in zip(*turns, strict=True)]
    whole = columns[len(PARTS)]
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
