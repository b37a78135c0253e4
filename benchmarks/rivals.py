"""The same images through the packages that do the same.

The rivals need an environment of their own, because anomalib's WinClip wants an older
open_clip than this package::

    python -m venv rivals
    rivals/bin/pip install "anomalib[clip]" imgad
    python benchmarks/rivals.py --python rivals/bin/python

Accuracy is measured with the bundled model where a rival can take it (WinClip, imgad);
PatchCore and PaDiM stand on a ResNet of ImageNet, whose weights are used if they are on
this machine (``--resnet-weights``) and are random otherwise: their values then say
nothing about them. Speed and memory are measured with the paper's backbone and random
weights. Seconds include fitting to references, divided by the images scored.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, tiny
from skclipad.datasets import OBJECTS, SURFACES, make_defect_images
from skclipad.metrics import auroc

WORKER = Path(__file__).with_name("rivals_worker.py")
OURS = ("skclipad", "skclipad anomaly_map")
CLIP_RIVALS = ("anomalib WinClip", "imgad zero_shot")
RESNET_RIVALS = ("anomalib PatchCore", "anomalib PaDiM")


def painted(args):
    """Return references, images and labels of each category."""
    names = np.random.default_rng(0).permutation(sorted({*SURFACES, *OBJECTS}))
    groups = []
    for number, name in enumerate(names[: args.categories]):
        kind = {"categories": [str(name)]}
        seed = args.first_seed + number
        normal = make_defect_images(4, anomaly_fraction=0, random_state=seed, **kind)
        photos = make_defect_images(args.images, random_state=seed + 500, **kind)
        groups.append((normal.images, photos.images, photos.target))
    return groups


def noise(args):
    """Return one group of images whose content does not matter."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4 + args.speed_images, 480, 480, 3), dtype=np.uint8)
    return [(images[:4], images[4:], None)]


def ours(task, arrays):
    """Score all groups with this package; return what a worker would."""
    warnings.simplefilter("ignore", UserWarning)  # random weights are meant here
    embedder = CLIPImageEmbedder(task["backbone"], pretrained=None, device="cpu")
    detector = RandomWordCLIPDetector(
        N_p=task["pairs"], n_shots=task["n_shots"], random_state=0, embedder=embedder
    )
    detector.fit(arrays["references_0"])  # the network is trained once, before

    scores, seconds, cpu = [], 0.0, 0.0
    for number in range(task["n_groups"]):
        images = arrays[f"images_{number}"]
        start, start_cpu = perf_counter(), process_time()
        detector.fit(arrays[f"references_{number}"])
        if task["name"] == "skclipad":
            scores.append(detector.predict_proba(images)[:, 1].tolist())
        else:
            maps = detector.anomaly_map(images)
            scores.append([float(one.max()) for one in maps])

        seconds += perf_counter() - start
        cpu += process_time() - start_cpu

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"scores": scores, "seconds": seconds, "cpu": cpu, "peak_mb": peak}


def run(args, name, n_shots, backbone, groups):
    """Run one contender in a process of its own and return its answer."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        task = {
            "name": name,
            "n_shots": n_shots,
            "backbone": backbone,
            "tiny": str(tiny.FOLDER),
            "pairs": args.pairs,
            "resnet_weights": args.resnet_weights,
            "n_groups": len(groups),
        }
        (folder / "task.json").write_text(json.dumps(task))

        arrays = {}
        for number, (references, images, _) in enumerate(groups):
            arrays[f"references_{number}"] = references
            arrays[f"images_{number}"] = images
        np.savez(folder / "task.npz", **arrays)

        if name in OURS:
            command = [sys.executable, __file__, "--task", str(folder)]
        else:
            command = [args.python, str(WORKER), str(folder)]

        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
        return json.loads((folder / "answer.json").read_text())


def work(folder):
    """Be the process of one of our own entries."""
    task = json.loads((folder / "task.json").read_text())
    answer = ours(task, np.load(folder / "task.npz"))
    (folder / "answer.json").write_text(json.dumps(answer))


def print_row(name, n_shots, answer, groups):
    """Print one line of the table."""
    n_images = sum(len(images) for _, images, _ in groups)
    area = "    -"
    if groups[0][2] is not None:
        pairs = zip(groups, answer["scores"], strict=True)
        area = f"{np.mean([auroc(y, scores) for (_, _, y), scores in pairs]):.3f}"
    print(
        f"{name:22s} {n_shots:5d}  {area}  {answer['seconds'] / n_images:9.3f}  "
        f"{answer['cpu'] / n_images:9.3f}  {answer['peak_mb']:7.0f}",
        flush=True,
    )


def main():
    """Parse arguments, run every contender, print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="of the rivals' environment; none: ours alone")
    parser.add_argument("--resnet-weights", action="store_true")
    parser.add_argument("--backbone", default="ViT-B-16-plus-240", help="for speed")
    parser.add_argument("--speed-images", type=int, default=4)
    parser.add_argument("--categories", type=int, default=8)
    parser.add_argument("--images", type=int, default=30, help="for each category")
    parser.add_argument("--first-seed", type=int, default=2_000_000_000)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.task:
        return work(args.task)

    rivals = (CLIP_RIVALS, RESNET_RIVALS) if args.python else ((), ())
    header = "                       shots  AUROC  s / image  CPU s / im  peak MB"
    resnets = "ImageNet's" if args.resnet_weights else "random"

    groups = painted(args)
    print(
        f"painted images, {args.categories} categories of {args.images}; the bundled "
        f"model, ResNets with {resnets} weights\n{header}"
    )
    for name in (OURS[0], *rivals[0]):
        for n_shots in (0, 4):
            answer = run(args, name, n_shots, "tiny", groups)
            print_row(name, n_shots, answer, groups)
    for name in rivals[1]:
        print_row(name, 4, run(args, name, 4, "", groups), groups)

    groups = noise(args)
    print(
        f"\n{args.speed_images} images of 480 x 480; {args.backbone} and the rivals' "
        f"ResNets, all with random weights\n{header}"
    )

    args.pairs, args.resnet_weights = 100, False
    for name in (*OURS, *rivals[0]):
        print_row(name, 0, run(args, name, 0, args.backbone, groups), groups)
    for name in rivals[1]:
        print_row(name, 4, run(args, name, 4, "", groups), groups)


if __name__ == "__main__":
    main()
