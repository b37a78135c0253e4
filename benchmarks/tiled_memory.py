"""Memory of `skclipad score --maps` on large images, against what `--plan` says.

    python benchmarks/tiled_memory.py                       lite, tiles of 1,000 pixels
    python benchmarks/tiled_memory.py --model tiny --tiles 500

Images of 4,000 x 3,000 pixels are put together from the photos that come along. Each
run is a process of its own, of which the system tells the highest memory (Linux,
macOS): scores alone, maps in tiles, maps of images at once. The exit code is 1 if one
of them took more than its plan.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from skclipad.datasets import load_sample_photos

COLUMNS, ROWS = 8, 4  # of photos in an image


def put_together(folder, n, size):
    """Write `n` images of many photos each."""
    paths = load_sample_photos().paths
    width, height = size[0] // COLUMNS, size[1] // ROWS
    for i in range(n):
        image = Image.new("RGB", size)
        for k in range(COLUMNS * ROWS):
            with Image.open(paths[(i + k) % len(paths)]) as photo:
                place = (k % COLUMNS * width, k // COLUMNS * height)
                image.paste(photo.convert("RGB").resize((width, height)), place)
        image.save(folder / f"{i}.jpg", quality=90)


def peak_of(command):
    """Run a command; return its peak memory in bytes, and what it prints."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        said = output.read().decode()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), said


def planned(said):
    """Return the bytes of memory that a plan tells."""
    found = re.search(r"^memory +about ([\d.]+) (.B) at most", said, re.M)
    number, unit = found.groups()
    return float(number) * {"GB": 1e9, "MB": 1e6}[unit]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lite", choices=["lite", "tiny"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 3000))
    parser.add_argument("--tiles", type=int, default=1000)
    args = parser.parse_args()

    # No torch in this process: on Linux a child's peak is at least that of its parent.
    size = f"{args.size[0]} x {args.size[1]}"
    print(f"{args.model}, {args.images} images of {size} pixels", flush=True)
    is_over = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        put_together(folder / "photos", args.images, tuple(args.size))
        skclipad = [sys.executable, "-m", "skclipad"]
        detector = str(folder / "d.joblib")
        peak_of([*skclipad, "fit", "-o", detector, "--model", args.model])

        tiles = ["--map-tiles", str(args.tiles)]
        for what, options in {
            "scores alone": [],
            f"maps in tiles of {args.tiles}": ["--maps", str(folder / "tiled"), *tiles],
            "maps at once": ["--maps", str(folder / "whole")],
        }.items():
            score = [*skclipad, "score", str(folder / "photos"), "-d", detector]
            score += ["-o", str(folder / "scores.csv"), *options]
            plan = planned(peak_of([*score, "--plan"])[1])
            peak, _ = peak_of(score)
            is_over |= peak > plan
            print(
                f"{what:<24} {peak / 1e6:6,.0f} MB, planned {plan / 1e6:6,.0f} MB",
                flush=True,
            )
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
