"""Scoring many images from disk: memory and time against a tenth of them.

Painted images are written as JPEG files. A process of its own scores the tenth, and
another one all of them, by turns; each reports its peak memory and how long scoring
took::

    python benchmarks/scoring_scale.py
    python benchmarks/scoring_scale.py --images 5000 --repeats 1

The model is the bundled one, so that what is measured is all around the model.

With ``--command`` the command ``skclipad score`` is measured instead, with journal
and table: whether it is as fast in the end as in the beginning, by the clock and by the
time that its process computes, which other work changes less; its memory; and
``--update``, when ten images have come. Files after the first thousand are links to
these::

    python benchmarks/scoring_scale.py --command --images 100000
    python benchmarks/scoring_scale.py --command --no-model --images 100000

With ``--no-model`` scores are drawn by chance: what is left is all around the model.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import joblib
import numpy as np
from _common import describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._storage.journal import read_journal
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad.datasets import make_defect_images

N_PAINTED = 250
N_FILES = 1000  # of `--command`, of which the others are links
N_NEW = 10  # images that come before an update
NO_MODEL = """
import sys
from random import random
from skclipad.cli import main
from skclipad.scoring import _run
from skclipad.scoring._rows import printable

def score_block(detector, block):
    names = ("score", "s_pr", "s_fnn")
    return [
        {"path": printable(path), "label": 0} | {name: random() for name in names}
        for path in block.paths
    ]

_run.score_block = score_block
sys.exit(main())
"""
TICKS = os.sysconf("SC_CLK_TCK")  # of computing a second, in /proc


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


# The command


def link_images(folder, n_images, side):
    """Paint images, write a thousand files, and link the others to these."""
    first = [folder / f"{i:06}.jpg" for i in range(min(n_images, N_FILES))]
    images = make_defect_images(N_PAINTED, image_size=side, random_state=0).images
    for i, path in enumerate(first):
        Image.fromarray(images[i % N_PAINTED]).save(path, quality=70 + i % 25)
    for i in range(len(first), n_images):
        os.link(first[i % len(first)], folder / f"{i:06}.jpg")


def start(folder, program, *options):
    """Start ``skclipad score`` in a folder with ``photos`` and a detector."""
    command = [sys.executable, *program, "score", "photos", "-d", "detector"]
    return subprocess.Popen(
        [*command, "-o", "scores.csv", *options], cwd=folder, stderr=subprocess.PIPE
    )


def watch(process, journal):
    """Yield (bytes of the journal, seconds by the clock, seconds of computing)."""
    while process.poll() is None:
        try:
            size = journal.stat().st_size
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
        except OSError:  # not there yet, or no more
            pass
        else:
            computed = sum(map(int, stat.split()[11:13])) / TICKS
            yield size, perf_counter(), computed
        sleep(0.2)


def print_pace(samples, n_images):
    """Print how fast a run was in its beginning, its middle and its end."""
    sizes, clock, computed = np.transpose(samples)
    rows = []
    for first in (0.1, 0.3, 0.5, 0.7, 0.9):
        ends = np.multiply([first, first + 0.1], sizes[-1])
        seconds, cpu = (
            np.diff(np.interp(ends, sizes, t))[0] for t in (clock, computed)
        )
        each = n_images / 10
        rows.append([f"from {first:.0%}", each / seconds, 1000 * cpu / each])
    print_table(["a tenth of them", "images/s", "computing, ms an image"], rows)


def command(folder, n_images, side, program):
    """Score images by the command, and say how long it took.

    Returns what `watch` saw, the peak of memory in MB, and the journal.
    """
    (folder / "photos").mkdir()
    link_images(folder / "photos", n_images, side)
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0)
    joblib.dump(detector.fit(), folder / "detector")

    begun, kept = perf_counter(), folder / "kept.journal"
    process, journal = start(folder, program), folder / "scores.csv.journal"
    samples = []
    for sample in watch(process, journal):
        if not samples:
            os.link(journal, kept)  # a run that has ended removes it
        if not samples or sample[0] > samples[-1][0]:
            samples.append(sample)
    seconds = perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6

    print(
        f"{n_images:,} images of {side} pixels: {seconds:.1f} s, {peak:.0f} MB at peak"
    )
    return samples, peak, kept


def update(folder, n_images, kept, program):
    """Let a ledger know what was scored, add images, and time ``--update``."""
    identity, results, _ = read_journal(kept)
    with Ledger(ledger_path(folder / "scores.csv"), identity) as ledger:
        known = [(str(folder / p), stamp, row) for p, (stamp, row) in results.items()]
        ledger.put_many(known)
    new = make_defect_images(N_NEW, image_size=256, random_state=1).images
    for i, image in enumerate(new):
        Image.fromarray(image).save(folder / "photos" / f"new-{i}.jpg")

    begun, before = perf_counter(), os.times()
    _, said = start(folder, program, "--update").communicate()
    seconds, after = perf_counter() - begun, os.times()
    computed = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    with open(folder / "scores.csv", encoding="utf-8") as table:
        n_rows = sum(1 for line in table) - 1
    assert n_rows == n_images + N_NEW, said.decode()
    print(f"--update, {N_NEW} new of {n_rows:,}, the whole process: {seconds:.1f} s")
    print(f"of which it computes {computed:.1f}")
    print(said.decode())


def measure_command(n_images, side, program):
    """Print what the command takes for a tenth of the images and for all of them."""
    peaks = []
    for n in (n_images // 10, n_images):
        with tempfile.TemporaryDirectory() as name:
            samples, peak, kept = command(Path(name), n, side, program)
            peaks.append(peak)
            if n == n_images:
                print_pace(samples, n)
                update(Path(name), n, kept, program)
    print(f"peak memory: {peaks[1] - peaks[0]:+.0f} MB for 10 x the images")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--command", action="store_true", help="skclipad score")
    parser.add_argument("--no-model", action="store_true", help="scores by chance")
    parser.add_argument("--side", type=int, default=256, help="pixels, with --command")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.folder:
        score(args.folder, args.images)
        return

    describe_machine()
    if args.command:
        program = ["-c", NO_MODEL] if args.no_model else ["-m", "skclipad"]
        measure_command(args.images, args.side, program)
        return

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
