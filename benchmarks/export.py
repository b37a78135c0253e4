"""torch's two exporters: how long a graph takes to be written, and then to compute.

Weights are random, but those of the bundled models; graphs give scores and maps.
Seconds are those that the process computes, which other work on the machine changes
less::

    python benchmarks/export.py
    python benchmarks/export.py --models ViT-B-32 --threads 2
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import onnxruntime
import torch
from _common import describe_machine, print_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.export import export_onnx

N_IMAGES = 4


def measure(detector, path, *, dynamo, threads):
    """Return the cells of an exporter: seconds, megabytes, milliseconds an image."""
    start = process_time()
    done = export_onnx(detector, path, dynamo=dynamo)
    written = process_time() - start

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(done.path), options)
    (pixels,) = session.get_inputs()
    batch = np.zeros((N_IMAGES, *pixels.shape[1:]), np.float32)
    session.run(None, {pixels.name: batch})
    start = process_time()
    session.run(None, {pixels.name: batch})
    each = (process_time() - start) / N_IMAGES

    worst = max(done.agreement["max_difference"].values())
    megabytes = done.path.stat().st_size / 1e6
    cells = [written, megabytes, 1000 * each]
    return [*(f"{cell:.3g}" for cell in cells), f"{worst:.1g}"]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny", "lite", "ViT-B-32"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    describe_machine()
    torch.set_num_threads(args.threads)
    rows = []
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for model in args.models:
            embedder = CLIPImageEmbedder(model, None)
            detector = RandomWordCLIPDetector(N_p=64, embedder=embedder, random_state=0)
            detector.fit()
            for name, dynamo in (("tracing", False), ("torch.export", True)):
                path = Path(folder) / "graph.onnx"
                cells = measure(detector, path, dynamo=dynamo, threads=args.threads)
                rows.append([f"{model}, {name}", *cells])

    names = ["", "export, s", "MB", "ms an image", "off by"]
    print_table(names, rows)


if __name__ == "__main__":
    main()
