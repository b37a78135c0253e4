"""End runs with SIGKILL at random moments; a rerun must give what a clean run gives.

    python tools/kill_runs.py score              20 kills of `skclipad score --resume`
    python tools/kill_runs.py update             20 kills of `skclipad score --update`
    python tools/kill_runs.py watch              20 kills of `skclipad watch --move`
    python tools/kill_runs.py fit                20 kills of `skclipad fit --cache`

A clean run is timed first. Then, each time in a folder of its own: a run is begun and
killed after a random part of that time, every other one after a random part of what is
left of it when something is kept. What it left is looked at (a file under its final
name must be complete), and a second run takes it from there to the end. Its result must
equal the clean one: rows and names exactly, scores to 1e-6; of `fit`, where `--cache`
is the estimator's `memory`, weights and prompts exactly. Of `watch` half of the images
come while it runs, those above the median score are moved, and each image must have one
row, which names the place where it lies. With `--fork` runs are forks of one process,
which begin sooner. The exit code is 1 if anything differed.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import joblib
import numpy as np
from PIL import Image

from skclipad.cli import _score, _watch  # noqa: F401  (for runs that are forked)
from skclipad.cli import main as main_of_skclipad
from skclipad.datasets import make_defect_images

SETTINGS = ["--model", "tiny", "--n-pairs", "500"]


class ScoreRuns:
    """Runs of ``skclipad score -o scores.csv --resume`` over painted images."""

    option, keeper = "--resume", "scores.csv.journal"

    def __init__(self, folder, n):
        self.photos, self.detector = folder / "photos", folder / "detector.joblib"
        self.photos.mkdir()
        for i, image in enumerate(make_defect_images(n, random_state=0).images):
            Image.fromarray(image).save(self.photos / f"{i:05d}.png")
        for place in (7, n // 2, n):  # broken images make smaller batches
            (self.photos / f"{place:05d}-broken.png").write_bytes(b"no image")
        finish(skclipad("fit", "-o", self.detector, *SETTINGS), codes=(0,))

    def begin(self, place):
        table = place / "scores.csv"
        options = ["-d", self.detector, "-o", table, self.option]
        return skclipad("score", self.photos, *options)

    def finish(self, process, place):
        finish(process, codes=(3,))  # some images are broken

    def result(self, place):
        with open(place / "scores.csv", newline="") as file:
            return list(csv.DictReader(file))

    def kept(self, place):
        keeper = place / self.keeper
        return keeper.stat().st_size if keeper.exists() else 0

    def left_is_sound(self, place, clean):
        return not (place / "scores.csv").exists() or self.equal(
            self.result(place), clean
        )

    def equal(self, one, other):
        if [row["path"] for row in one] != [row["path"] for row in other]:
            return False
        for mine, theirs in zip(one, other, strict=True):
            for name in ("score", "s_pr", "s_fnn"):
                pair = mine.pop(name), theirs[name]
                if "" in pair and len(set(pair)) == 2:
                    return False
                if "" not in pair and abs(float(pair[0]) - float(pair[1])) > 1e-6:
                    return False
            if any(theirs[name] != value for name, value in mine.items()):
                return False
        return True


class UpdateRuns(ScoreRuns):
    """Runs of ``skclipad score -o scores.csv --update``."""

    option, keeper = "--update", "scores.csv.rows"


class WatchRuns(ScoreRuns):
    """Runs of ``skclipad watch -o scores.csv --move bad`` while images come."""

    keeper = "scores.csv.rows"

    def __init__(self, folder, n):
        super().__init__(folder, n)
        table = folder / "all.csv"
        finish(skclipad("score", self.photos, "-d", self.detector, "-o", table), (3,))
        with open(table, newline="") as file:
            scores = [float(r["score"]) for r in csv.DictReader(file) if r["score"]]
        self.above, self.writers = float(np.median(scores)), {}

    def begin(self, place):
        if place not in self.writers:
            (place / "photos").mkdir()
            images = sorted(self.photos.iterdir())
            self._bring(place, images[::2], 0)
            writer = Thread(target=self._bring, args=(place, images[1::2], 0.01))
            writer.start()
            self.writers[place] = writer
        options = ["-d", self.detector, "-o", place / "scores.csv"]
        options += ["--above", self.above, "--move", place / "bad"]
        options += ["--settle", 0.2, "--patience", 1]
        self.begun = time.time()
        return skclipad("watch", place / "photos", *options)

    def _bring(self, place, images, pause):
        for image in images:
            os.link(image, place / "photos" / image.name)
            time.sleep(pause)

    def finish(self, process, place):
        n, table = len(list(self.photos.iterdir())), place / "scores.csv"
        self.writers[place].join()
        while process.poll() is None:
            # One that it has written itself: only then it hears signals.
            is_its_own = table.exists() and table.stat().st_mtime > self.begun
            if is_its_own and self._is_done(place, n):
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.2)
        finish(process, codes=(0,))

    def _is_done(self, place, n):
        rows = self._rows(place)
        bad = str(place / "bad")
        return len(rows) == n and all(
            row["path"].startswith(bad)
            for row in rows
            if row["score"] and float(row["score"]) > self.above
        )

    def _rows(self, place):
        return super().result(place)

    def result(self, place):
        """Return the rows by the names of their images, and whether these are there."""
        rows = self._rows(place)
        for row in rows:
            path = Path(row["path"])
            row["is there"] = path.exists()
            row["path"] = str(path.relative_to(place))
        return sorted(rows, key=lambda row: Path(row["path"]).name)

    def left_is_sound(self, place, clean):
        if not (place / "scores.csv").exists():
            return True
        paths = [row["path"] for row in self._rows(place)]
        return len(paths) == len(set(paths))

    def equal(self, one, other):
        # Half of the scores lie near the median: those that differ by rounding may fall
        # on either side of it.
        if not all(row["is there"] for row in one):
            return False
        return super().equal(
            *([_by_name(row) for row in rows] for rows in (one, other))
        )


def _by_name(row):
    return {
        "path": Path(row["path"]).name,
        **{name: row[name] for name in ("score", "s_pr", "s_fnn", "error", "gone")},
    }


class FitRuns:
    """Runs of ``skclipad fit -o detector.joblib --cache memory``."""

    def __init__(self, folder, n):
        self.options = ["--model", "tiny", "--n-pairs", n]

    def begin(self, place):
        target, memory = place / "detector.joblib", place / "memory"
        return skclipad("fit", "-o", target, "--cache", memory, *self.options)

    def finish(self, process, place):
        finish(process, codes=(0,))

    def result(self, place):
        detector = joblib.load(place / "detector.joblib")
        return [*detector.coefs_, *detector.intercepts_, detector.prompt_embeddings_]

    def kept(self, place):
        if not (place / "memory").exists():
            return 0
        return sum(file.stat().st_size for file in (place / "memory").iterdir())

    def left_is_sound(self, place, clean):
        return not (place / "detector.joblib").exists() or self.equal(
            self.result(place), clean
        )

    def equal(self, one, other):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def skclipad(*arguments):
    """Begin a command, in a process that is forked or started anew."""
    if Forked.wanted:
        return Forked([*map(str, arguments)])
    return start([sys.executable, "-m", "skclipad", *map(str, arguments)])


class Forked:
    """A command in a fork of this process, which has imported all: a quick start."""

    wanted = False

    def __init__(self, arguments):
        self._said, self.returncode = tempfile.TemporaryFile(), None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                for stream in (1, 2):
                    os.dup2(self._said.fileno(), stream)
                code = main_of_skclipad(arguments)
            finally:
                os._exit(code)

    def poll(self):
        """Return the exit code, or minus the signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self):
        while self.poll() is None:
            time.sleep(0.01)
        self._said.seek(0)
        return b"", self._said.read()


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process, codes):
    """Wait for a run; stop with what it said unless it exits with one of the codes."""
    _, said = process.communicate()
    if process.returncode not in codes:
        sys.exit(f"exit code {process.returncode}:\n{said.decode()}")
    return said.decode()


def kill_and_finish(runs, place, share, whole, waits, clean):
    """Kill a run and run again; return whether all held.

    It is killed after a share of its `whole` time; if it `waits`, of what is left of
    that when the run has kept something. One that ends before that is no test: then
    the seconds that it took are returned.
    """
    begun = time.perf_counter()
    process = runs.begin(place)
    while waits and not runs.kept(place) and process.poll() is None:
        time.sleep(0.01)
    now = time.perf_counter()
    end = now + share * max(0, whole - (now - begun))
    while time.perf_counter() < end and process.poll() is None:
        time.sleep(0.01)
    moment = time.perf_counter() - begun
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        return moment

    kept, sound = runs.kept(place), runs.left_is_sound(place, clean)
    begun = time.perf_counter()
    runs.finish(runs.begin(place), place)
    seconds = time.perf_counter() - begun

    equal = runs.equal(runs.result(place), clean)
    print(
        f"killed after {moment:6.1f} s, {kept / 1e3:8.0f} kB kept; "
        f"rerun {seconds:6.1f} s, {'equal' if equal else 'DIFFERENT'}"
        f"{'' if sound else ', HALF A RESULT UNDER ITS FINAL NAME'}",
        flush=True,
    )
    return sound and equal


KINDS = {
    "score": (ScoreRuns, 3000),
    "update": (UpdateRuns, 3000),
    "watch": (WatchRuns, 1000),
    "fit": (FitRuns, 40_000),
}


def main():
    """Kill, run again and compare, until enough runs were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*KINDS])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument(
        "--n", type=int, help="images (3000; of watch 1000) or pairs (40000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fork",
        action="store_true",
        help="fork runs, on a machine that is slow to start",
    )
    args = parser.parse_args()
    Forked.wanted = args.fork

    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind, n = KINDS[args.what]
        runs = kind(folder, args.n or n)

        (folder / "clean").mkdir()
        begun = time.perf_counter()
        runs.finish(runs.begin(folder / "clean"), folder / "clean")
        whole = time.perf_counter() - begun
        clean = runs.result(folder / "clean")
        print(f"clean run: {whole:.1f} s", flush=True)

        held = []
        while len(held) < args.times:
            place = Path(tempfile.mkdtemp(dir=folder))
            waits = len(held) % 2 == 0
            good = kill_and_finish(runs, place, rng.random(), whole, waits, clean)
            if isinstance(good, bool):
                held.append(good)
            else:  # the clean run was slower, as the first often is
                whole = min(whole, good)

    print(f"{args.what}: {len(held)} runs killed, {sum(held)} survived it")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
