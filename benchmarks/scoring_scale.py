"""Scoring many images from disk: memory and time against a tenth of them.

Painted images are written as JPEG files. A process of its own scores the tenth, and
another one all of them, by turns; each reports its peak memory and how long scoring
took::

    python benchmarks/scoring_scale.py
    python benchmarks/scoring_scale.py --images 5000 --repeats 1

The model is the bundled one, so that what is measured is all around the model.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from _common import describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images

N_PAINTED = 250


def write_images(folder, n_images):
    """Paint some images and write each as many files, to `n_images` in all."""
    images = make_defect_images(N_PAINTED, image_size=256, random_state=0).images
    for i in range(n_images):
        path = folder / f"{i:05}.jpg"
        if i < N_PAINTED:
            Image.fromarray(images[i]).save(path, quality=90)
        else:
            shutil.copyfile(folder / f"{i % N_PAINTED:05}.jpg", path)


def score(folder, n_images):
    """Score the first files of a folder; print seconds and the process's peak."""
    paths = sorted(Path(folder).iterdir())[:n_images]
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0)
    detector.fit().predict_proba(paths[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = perf_counter()
    scores = detector.predict_proba(paths)[:, 1]
    seconds = perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = 1e6 / (1 if sys.platform == "darwin" else 1024)
    result = {"images": len(scores), "seconds": seconds, "mean": float(scores.mean())}
    print(json.dumps({**result, "peak": after / megabytes, "fit": before / megabytes}))


def in_new_process(folder, n_images):
    """Run `score` in a new process."""
    command = [sys.executable, __file__, "--folder", folder, "--images", str(n_images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.folder:
        score(args.folder, args.images)
        return

    describe_machine()
    sizes = (args.images // 10, args.images)
    runs = {n: [] for n in sizes}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), args.images)
        for _ in range(args.repeats):
            for n in sizes:
                runs[n].append(in_new_process(folder, n))

    few, many = (runs[n] for n in sizes)
    print(f"tiny, JPEG files of 256 x 256 pixels, medians of {args.repeats} turns")

    print_table(
        ["images", "seconds", "images/s", "peak memory, MB", "of it before, MB"],
        [
            [
                n,
                median(run["seconds"] for run in turns),
                f"{n / median(run['seconds'] for run in turns):.0f}",
                f"{median(run['peak'] for run in turns):.0f}",
                f"{median(run['fit'] for run in turns):.0f}",
            ]
            for n, turns in runs.items()
        ],
    )
    turns = list(zip(many, few, strict=True))
    times = median(all_["seconds"] / tenth["seconds"] for all_, tenth in turns)
    more = median(all_["peak"] - tenth["peak"] for all_, tenth in turns)
    print(f"time: {times:.2f} x, peak memory: {more:+.0f} MB for 10 x the images")


if __name__ == "__main__":
    main()
