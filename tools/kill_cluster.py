"""Score on a cluster while its processes are killed; no row may be lost or changed.

    python tools/kill_cluster.py                 5,000 painted images, 4 workers
    python tools/kill_cluster.py --pictures 400 --workers 2

Three faults, each against the scores of one process: a worker ended with SIGKILL when a
third of the parts are written; the client ended likewise and the call made again; and a
image over which every process that reads it dies. Scores must agree to 1e-6, all rows
be there and in order. (Rounding depends on how many images are computed at once. In
the last fault that depends on who died when: a score must be that of the image among
all, in its piece of a block, or alone.) The exit code is 1 if anything differs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from distributed import WorkerPlugin
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.distributed import score_distributed
from skclipad.scoring._cluster import PIECES, open_client

CLIENT = """
import sys, joblib
from skclipad.distributed import score_distributed
from skclipad.scoring._cluster import open_client
if __name__ == "__main__":
    detector, paths = joblib.load(sys.argv[1])
    with open_client(sys.argv[4]) as client:
        score_distributed(
            detector, paths, client, out=sys.argv[2], block_size=int(sys.argv[3])
        )
"""


class Deadly(WorkerPlugin):
    """A plugin of Dask's workers: reading a certain image ends the process."""

    name = "deadly"
    idempotent = True

    def __init__(self, path):
        self.path = path

    def setup(self, worker):
        from skclipad.scoring import _rows

        score_rows, path = _rows.score_rows, self.path

        def read(detector, X):
            if path in X:
                os.kill(os.getpid(), signal.SIGKILL)
            return score_rows(detector, X)

        _rows.score_rows = read


def paint(folder, n):
    """Write n painted images; return their paths."""
    paths = []
    for first in range(0, n, 500):
        bunch = make_defect_images(min(500, n - first), random_state=first)
        for i, image in enumerate(bunch.images, start=first):
            paths.append(str(folder / f"{i:06d}.png"))
            Image.fromarray(image).save(paths[-1])
    return paths


def n_parts(out):
    """Count the parts that are written."""
    return len(list(out.with_name(out.name + ".partial").glob("part-*.parquet")))


def compare(what, out, paths, expected, without=()):
    """Print how a result compares with that of one process; return whether it holds."""
    table = pd.read_parquet(out)
    complete = table.path.tolist() == paths
    complete &= table.row.tolist() == list(range(len(paths)))

    kept = np.setdiff1d(np.arange(len(paths)), without)
    farthest = np.abs(table.score.to_numpy() - expected)[kept].max()
    n_lost = len(paths) - table.score.notna().sum() - len(without)
    good = complete and farthest <= 1e-6 and n_lost == 0
    good &= table.error[list(without)].notna().all()

    print(
        f"{what}: {len(table)} rows, {n_lost} lost, farthest score {farthest:.1e}: "
        f"{'equal' if good else 'DIFFERENT'}",
        flush=True,
    )
    return bool(good)


def kill_a_worker(args, detector, paths, expected, folder):
    """Have a third of the parts written, then kill one worker."""
    out = folder / "worker-killed"
    with open_client(f"local:{args.workers}") as client:
        pids = list(client.run(os.getpid).values())

        def watch():
            while n_parts(out) < len(paths) / args.block_size / 3:
                time.sleep(0.02)
            os.kill(pids[0], signal.SIGKILL)

        watcher = threading.Thread(target=watch)
        watcher.start()
        begun = time.perf_counter()
        run = score_distributed(
            detector, paths, client, out=out, block_size=args.block_size
        )
        seconds = time.perf_counter() - begun
        watcher.join()
        killed = set(pids) - set(client.run(os.getpid).values())
    print(f"{run.n_blocks} parts in {seconds:.1f} s, {len(killed)} worker(s) killed")
    return compare("worker killed", out, paths, expected) and len(killed) == 1


def kill_the_client(args, detector, paths, expected, folder):
    """Have a third of the parts written, kill the client, and call again."""
    out, inputs = folder / "client-killed", folder / "inputs.joblib"
    joblib.dump((detector, paths), inputs)
    program = folder / "client.py"
    program.write_text(CLIENT)
    command = [sys.executable, program, inputs, out, args.block_size]
    command = [*map(str, command), f"local:{args.workers}"]

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while n_parts(out) < len(paths) / args.block_size / 3 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(2)  # its workers see that it is gone

    before = n_parts(out)
    if out.exists():
        print("the client was done before it could be killed")
        return False

    with open_client(f"local:{args.workers}") as client:
        run = score_distributed(
            detector, paths, client, out=out, block_size=args.block_size
        )
    print(f"{before} parts were there, {run.n_blocks_before} of {run.n_blocks} taken")
    same = compare("client killed", out, paths, expected)
    return same and run.n_blocks_before == before > 0


def read_a_deadly_picture(args, detector, paths, expected, folder):
    """Score blocks with an image that ends every process that reads it."""
    out, chosen = folder / "deadly", paths[: 2 * args.block_size]
    with open_client(f"local:{args.workers}") as client:
        client.register_plugin(Deadly(chosen[3]))
        score_distributed(detector, chosen, client, out=out, block_size=args.block_size)
    found = pd.read_parquet(out).score.to_numpy()
    ways = [expected[: len(chosen)]]
    for n in (-(-args.block_size // PIECES), 1):
        parts = [chosen[i : i + n] for i in range(0, len(chosen), n)]
        ways.append(np.concatenate([detector.predict_proba(p)[:, 1] for p in parts]))
    nearest = np.argmin(np.abs(np.stack(ways) - np.nan_to_num(found)), axis=0)
    expected = np.choose(nearest, ways)
    return compare("deadly image", out, chosen, expected, [3])


def main():
    """Run the three and say what held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--block-size", type=int, default=64)
    parser.add_argument("--skip-deadly", action="store_true", help="a minute less")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        paths = paint(folder / "photos", args.pictures)
        detector = RandomWordCLIPDetector(
            N_p=500, random_state=0, embedder=CLIPImageEmbedder("tiny")
        ).fit()

        begun = time.perf_counter()
        expected = detector.predict_proba(paths)[:, 1]
        seconds = time.perf_counter() - begun
        print(f"one process: {len(paths)} images in {seconds:.1f} s", flush=True)

        faults = [kill_a_worker, kill_the_client]
        if not args.skip_deadly:
            faults.append(read_a_deadly_picture)

        held = [fault(args, detector, paths, expected, folder) for fault in faults]
    print(f"{sum(held)} of {len(held)} faults survived")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
