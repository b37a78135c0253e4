"""Memory of `skclipad watch` while thousands of images come in.

    python benchmarks/watch_memory.py             20,000 images, 10 to 40 minutes
    python benchmarks/watch_memory.py --n 2000

A watch of the bundled model runs in a process of its own; images, links to a few
hundred painted ones, come in a hundred at a time, as fast as they are scored. The
memory of the process is read from /proc (Linux) after the first 500 rows and then after
every 2,000. The exit code is 1 if it grew by more than 50 MB from the first of these to
the highest, or if the table does not have one row for each image.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from skclipad.datasets import make_defect_images

FIRST, EVERY, LIMIT = 500, 2000, 50.0
TOGETHER = 100  # images that come at once


def memory_of(pid):
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise ProcessLookupError(f"process {pid} is gone")


def count_rows(ledger):
    """Return how many rows there are, without disturbing who writes them."""
    import sqlite3

    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=60)
    try:
        return connection.execute("SELECT count(*) FROM rows").fetchone()[0]
    finally:
        connection.close()


def begin(folder, *options):
    """Fit a detector and begin to watch a folder with it."""
    skclipad = [sys.executable, "-m", "skclipad"]
    detector, table = folder / "d.joblib", folder / "scores.csv"
    fit = ["fit", "-o", detector, "--model", "tiny", "--n-pairs", "200"]
    quiet = {"check": True, "stderr": subprocess.DEVNULL}
    subprocess.run([*skclipad, *map(str, fit)], **quiet)
    watch = ["watch", folder / "photos", "-d", detector, "-o", table, *options]
    return subprocess.Popen([*skclipad, *map(str, watch)], stderr=subprocess.DEVNULL)


def bring(folder, first, images):
    """Let images come in, as links."""
    for i, image in enumerate(images, first):
        os.link(image, folder / "photos" / f"{i:06d}.png")


def main():
    """Let images come in, look at the memory, and say how much it grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000, help="images (20000)")
    parser.add_argument("--kinds", type=int, default=300, help="different ones (300)")
    parser.add_argument("--poll", default=None, help="poll every so many seconds")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        (folder / "painted").mkdir()
        originals = []
        for i, image in enumerate(
            make_defect_images(args.kinds, random_state=0).images
        ):
            originals.append(folder / "painted" / f"{i}.png")
            Image.fromarray(image).save(originals[-1])

        options = ["--settle", "0.2"]
        options += [] if args.poll is None else ["--poll", args.poll]
        process = begin(folder, *options)
        seen = follow(process, folder, originals, args.n)
        process.terminate()
        process.wait()
        with open(folder / "scores.csv", newline="") as file:
            paths = [row["path"] for row in csv.DictReader(file) if row["score"]]

    growth = max(seen) - seen[0]
    is_whole = len(paths) == len(set(paths)) == args.n
    print(f"{args.n:,} images: from {seen[0]:.0f} MB, at most {growth:.1f} MB more")
    print(f"{len(paths):,} rows, {len(set(paths)):,} of different images")
    return 0 if growth <= LIMIT and is_whole else 1


def follow(process, folder, originals, n):
    """Feed the watch with images; return its memory at the first rows and later."""
    ledger, come, seen, due = folder / "scores.csv.rows", 0, [], min(FIRST, n)
    while True:
        n_rows = count_rows(ledger) if (folder / "scores.csv").exists() else 0
        if n_rows >= due:
            seen.append(memory_of(process.pid))
            print(f"{n_rows:7,} rows: {seen[-1]:7.1f} MB", flush=True)
            if n_rows == n:
                return seen
            due = min(n, n_rows + EVERY)

        if process.poll() is not None:
            sys.exit(f"the watch ended with {process.returncode}")
        if come < n and come - n_rows < 5 * TOGETHER:
            more = min(TOGETHER, n - come)
            bring(
                folder,
                come,
                [originals[i % len(originals)] for i in range(come, come + more)],
            )
            come += more
        else:
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
