"""What a million images cost: hours, memory and network, from rates measured here.

JPEG files as a camera writes them are embedded by one process, then by several at once,
and the parts of it are timed alone: reading and decoding, the image tower, the scores,
what Dask adds to an image. The rest is arithmetic, printed with its numbers::

    python benchmarks/cost.py
    python benchmarks/cost.py --model lite --images 1000 --side 256 --processes
    python benchmarks/cost.py --price 0.05
    python benchmarks/cost.py --precision fp32 int8 --images 16 --processes --cpu-time

The last compares number formats, by CPU time of one thread, for a machine whose cores
other work keeps busy. The price is that of an hour of a core, in any currency. The
weights are random for every model but the bundled ones: speed does not depend on them.
With a GPU (``--device cuda``) hours are those of the GPU.
"""

import argparse
import os
import pickle
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _common import count_flop, describe_machine, print_table
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.precision import PRECISIONS
from skclipad._embedder import load_clip
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad.datasets import make_defect_images
from skclipad.distributed import score_distributed

MILLION = 1_000_000


def write_images(folder, n, side):
    """Paint 50 images and write them n times over, as JPEG files of `side` pixels."""
    images = make_defect_images(50, random_state=0).images
    paths = []
    for i in range(n):
        image = Image.fromarray(images[i % 50]).resize((side, side))
        paths.append(str(folder / f"{i:05d}.jpg"))
        image.save(paths[-1], quality=90)
    return paths


def fitted(args, precision):
    """Return a detector that computes in a number format."""
    how = {"device": args.device, "decode": args.decode, "precision": precision}
    embedder = CLIPImageEmbedder(args.model, None, **how)
    return RandomWordCLIPDetector(N_p=200, random_state=0, embedder=embedder).fit()


def rate(function, n, clock=time.perf_counter):
    """Return how many of n a second a call gets done."""
    start = clock()
    function()
    return n / (clock() - start)


def cost_of(detector, paths, price, clock):
    """Print what one process needs, part by part."""
    embedder = detector.embedder
    backbone = load_clip(embedder)
    some = paths[: min(len(paths), 64)]
    embedder.transform(some)  # warm
    pixels = torch.zeros(len(some), *backbone.image_size, 3, dtype=torch.uint8)
    images = [np.asarray(image) for image in pixels]
    X = np.random.default_rng(0).normal(size=(20_000, backbone.embed_dim))

    def read():
        for path in some:
            image = read_image(path)
            resize_image(image, (0, 0, *image.size), backbone.image_size)

    embed_files = partial(embedder.transform, paths)
    embed_images = partial(embedder.transform, images)
    score = partial(detector.predict_proba, X)
    rates = {
        "all of it, from files": rate(embed_files, len(paths), clock),
        "image tower alone": rate(embed_images, len(images), clock),
        "reading alone, on one core": rate(read, len(some), time.process_time),
        "scores of embeddings": rate(score, len(X), clock),
    }
    print_costs(rates, price, backbone.device.type, embedder.precision)


def sizes_of(detector, paths):
    """Print memory, and what a million images weigh: files, rows, embeddings."""
    backbone = load_clip(detector.embedder)
    flop = count_flop(lambda: detector.embedder.transform(paths[:1]))
    bytes_each = np.mean([os.path.getsize(path) for path in paths])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"path": paths[0], "score": 0.5, "label": 0, "s_pr": 0.5, "s_fnn": 0.5}
    print_table(
        ["", "size"],
        [
            ["arithmetic of an image, GFLOP", flop / 1e9],
            ["peak memory of the process, MB", peak],
            ["detector sent to a worker, kB", len(pickle.dumps(detector)) / 1e3],
            ["files of a million images, GB", bytes_each * MILLION / 1e9],
            ["rows of a million, over the network, GB", len(pickle.dumps(row)) / 1e3],
            ["embeddings of a million, GB", backbone.embed_dim * 4 / 1e3],
        ],
    )


def print_costs(rates, price, device, precision):
    """Print hours and core-hours of a million, and with a price what they cost."""
    unit = "core-hours" if device == "cpu" else "GPU-hours"
    names = [f"one process, {precision}", "images/s", "hours per million", unit]
    rows = []
    for name, done in rates.items():
        hours = MILLION / done / 3600
        is_one = device != "cpu" or "one core" in name
        paid = hours * (1 if is_one else torch.get_num_threads())
        rows.append([name, done, hours, paid])
        rows[-1] += [] if price is None else [f"{paid * price:.2f}"]
    print_table(names + ([] if price is None else [f"at {price:g} each"]), rows)


def cost_on_dask(detector, paths, processes, folder):
    """Print what 1, 2, 4 ... processes of a cluster get done."""
    from distributed import Client, LocalCluster

    rows, alone = [], None
    for n in processes:
        cluster = LocalCluster(
            n_workers=n, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        )

        with cluster, Client(cluster) as client:
            # Small blocks: every process loads the weights before the clock runs, and
            # none is idle for long at the end, as in a run of thousands of blocks.
            score = partial(score_distributed, detector, client=client, block_size=8)
            score(paths[: 16 * n], out=folder / f"warm-{n}")
            work = partial(score, paths, out=folder / f"out-{n}")
            done = rate(work, len(paths))
        alone = alone or done / n
        rows.append([n, done, done / alone, MILLION / done / 3600])
    names = ["processes", "images/s", "times one", "hours per million"]
    print_table(names, rows)


def scheduler_limit(n_tasks=2000):
    """Print how many tasks a second the scheduler and this client can handle."""
    from distributed import Client

    with Client(
        processes=False, n_workers=1, dashboard_address="127.0.0.1:0"
    ) as client:
        done = rate(lambda: client.gather(client.map(abs, range(n_tasks))), n_tasks)
    print(
        f"The scheduler handles {done:.0f} tasks a second here: with blocks of 256, it "
        f"is busy at {done * 256:,.0f} images a second.\n"
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-plus-240")
    parser.add_argument("--images", type=int, default=304)
    parser.add_argument("--side", type=int, default=1024, help="pixels of an image")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--decode", choices=["full", "reduced"], default="full")
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=PRECISIONS)
    parser.add_argument("--cpu-time", action="store_true", help="of one thread")
    parser.add_argument("--price", type=float, help="of an hour of a core")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4])
    args = parser.parse_args()

    clock = time.perf_counter
    if args.cpu_time:
        torch.set_num_threads(1)
        clock = time.process_time
    describe_machine()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        paths = write_images(folder / "photos", args.images, args.side)
        print(f"{args.model}, {args.images} JPEG files of {args.side} pixels a side\n")
        first, *others = args.precision
        detector = fitted(args, first)
        cost_of(detector, paths, args.price, clock)
        sizes_of(detector, paths)
        for precision in others:
            cost_of(fitted(args, precision), paths, args.price, clock)
        if args.processes:
            cost_on_dask(detector, paths, args.processes, folder)
            scheduler_limit()


if __name__ == "__main__":
    main()
