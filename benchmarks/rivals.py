"""The same images through the packages that do the same.

The rivals need an environment of their own, because anomalib's WinClip wants an older
open_clip than this package::

    python -m venv rivals
    rivals/bin/pip install "anomalib[clip]" imgad
    python benchmarks/rivals.py --python rivals/bin/python --photos FOLDER

Accuracy is measured on photographs, in the folders that ``photos.py`` takes: of each
set all good images and damaged ones for a tenth of all, squashed to squares of 256
pixels, the same arrays for everybody. Four good images are references and not scored;
or the folder is its own reference. WinClip and imgad read ViTs alone and get ``tiny``;
PatchCore and PaDiM get the tower of ``lite``, weights and all, at stages 2 and 4.

Speed and memory are measured with the paper's backbone and random weights, and by the
number of references, each row in a process of its own that is stopped after `--limit`
seconds. Seconds include reading references, divided by the images scored; a network is
trained once, before.
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
from typing import NamedTuple

import numpy as np
from _common import describe_machine, print_table
from _folders import folder_rows
from photos import find_sets
from PIL import Image

import skclipad
from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.metrics import auroc

WORKER = Path(__file__).with_name("rivals_worker.py")
BUNDLED = Path(skclipad.__file__).parent
SIDE = 256
N_GOOD = 4
OURS = "skclipad"


class Contender(NamedTuple):
    """Who scores, with which tower, after a look at which references."""

    name: str
    model: str
    references: str = "none"
    settings: dict = {}


MUTUAL = {"n_shots": "all", "reference_method": "mutual"}
WINCLIP = {"n_shots": "all", "reference_method": "winclip", "scores": "auto"}
ON_PHOTOS = (
    Contender(OURS, "tiny"),
    Contender("anomalib WinClip", "tiny"),
    Contender(f"{OURS}, winclip", "tiny", "4 good", WINCLIP),
    Contender("anomalib WinClip", "tiny", "4 good"),
    Contender("imgad zero_shot", "tiny", "4 good"),
    Contender(OURS, "tiny", "4 good", MUTUAL),
    Contender(OURS, "lite"),
    Contender(OURS, "lite", "4 good", MUTUAL),
    Contender("anomalib PatchCore", "lite", "4 good"),
    Contender("anomalib PaDiM", "lite", "4 good"),
    Contender(OURS, "lite", "folder", MUTUAL),
    Contender("anomalib PatchCore", "lite", "folder"),
    Contender("anomalib PaDiM", "lite", "folder"),
)


class Group(NamedTuple):
    """Images to score, and what may be looked at before.

    Attributes
    ----------
    references, images : ndarray of shape (n_images, height, width, 3), dtype uint8
        Good images, and those to score.
    target : ndarray of shape (n_images,) or None
        1 where one of those to score is damaged.
    """

    references: np.ndarray
    images: np.ndarray
    target: np.ndarray | None = None


def photographs(args):
    """Return a group of each set of photographs."""
    groups = []
    for photos in (found for folder in args.photos for found in find_sets(folder)):
        rows = folder_rows(photos.target, 0, args.good)
        images = np.stack([squashed(photos.paths[row]) for row in rows])
        target = photos.target[rows]
        rest = np.ones(len(rows), dtype=bool)
        drawn = np.random.default_rng(0).permutation(np.flatnonzero(target == 0))
        rest[drawn[:N_GOOD]] = False
        groups.append(Group(images[~rest], images[rest], target[rest]))
    return groups


def squashed(path):
    """Read an image as a square of RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.BICUBIC))


def noise(n_images, n_references):
    """Return a group of images whose content does not matter."""
    rng = np.random.default_rng(0)
    shape = n_references + n_images, 240, 240, 3
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    return [Group(images[:n_references], images[n_references:])]


# One contender, in a process of its own ----------------------------------------------


def seen(references):
    """Return what `fit` is given: None for no image."""
    return references if len(references) else None


def ours(task, arrays):
    """Score all groups with this package; return what a worker would."""
    warnings.simplefilter("ignore", UserWarning)  # random weights are meant here
    embedder = CLIPImageEmbedder(task["model"], pretrained=None, device="cpu")
    settings = {"N_p": task["pairs"], "random_state": 0, **task["settings"]}
    detector = RandomWordCLIPDetector(embedder=embedder, **settings)
    detector.fit(seen(arrays["references_0"]))  # the network is trained once, before

    scores, seconds, cpu = [], 0.0, 0.0
    for number in range(task["n_groups"]):
        images = arrays[f"images_{number}"]
        start, start_cpu = perf_counter(), process_time()
        detector.fit(seen(arrays[f"references_{number}"]))
        scores.append(detector.predict_proba(images)[:, 1].tolist())
        seconds += perf_counter() - start
        cpu += process_time() - start_cpu

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"scores": scores, "seconds": seconds, "cpu": cpu, "peak_mb": peak}


def work(folder):
    """Be the process of one of our own entries."""
    task = json.loads((folder / "task.json").read_text())
    answer = ours(task, np.load(folder / "task.npz"))
    (folder / "answer.json").write_text(json.dumps(answer))


def run(args, contender, groups, pairs=10_000):
    """Run one contender; return its answer, or None if it took too long."""
    task = {
        "name": contender.name,
        "model": contender.model,
        "settings": contender.settings,
        "bundled": str(BUNDLED),
        "pairs": pairs,
        "n_groups": len(groups),
    }
    arrays = {}
    for number, group in enumerate(groups):
        seen = {"4 good": group.references, "folder": group.images}
        arrays[f"images_{number}"] = group.images
        arrays[f"references_{number}"] = seen.get(
            contender.references, group.images[:0]
        )

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "task.json").write_text(json.dumps(task))
        np.savez(folder / "task.npz", **arrays)
        command = [args.python, str(WORKER), str(folder)]
        if contender.name.startswith(OURS):
            command = [sys.executable, __file__, "--task", str(folder)]
        print(f"{contender.name} ...", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=args.limit, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            raise RuntimeError(f"{contender.name} failed:\n{done.stderr[-2000:]}")
        return json.loads((folder / "answer.json").read_text())


# Tables ------------------------------------------------------------------------------


def cells(args, answer, groups):
    """Return seconds and memory of an answer, as they stand in a table."""
    if answer is None:
        return [f"> {args.limit} s in all", "", ""]
    n_images = sum(len(group.images) for group in groups)
    times = [f"{answer[name] / n_images:.3f}" for name in ("seconds", "cpu")]
    return [*times, f"{answer['peak_mb']:.0f}"]


def area(answer, groups):
    """Return the mean AUROC over groups, as it stands in a table."""
    if answer is None:
        return ""
    pairs = zip(groups, answer["scores"], strict=True)
    return f"{np.mean([auroc(group.target, scores) for group, scores in pairs]):.3f}"


COSTS = ["s / image", "CPU s / image", "peak MB"]


def compare_on_photographs(args, contenders):
    """Print AUROC, time and memory on photographs."""
    groups, rows = photographs(args), []
    for one in contenders:
        answer = run(args, one, groups)
        rows.append([one.name, one.model, one.references, area(answer, groups)])
        rows[-1] += cells(args, answer, groups)
    print(f"photographs, {len(groups)} sets, a tenth damaged\n")
    print_table(["", "model", "references", "AUROC", *COSTS], rows)


def compare_speed(args, names):
    """Print time and memory without references, with the paper's backbone."""
    groups, rows = noise(args.images, 0), []
    for name in names:
        answer = run(args, Contender(name, args.backbone), groups, pairs=100)
        rows.append([name, *cells(args, answer, groups)])
    print(
        f"\n{args.images} images, {args.backbone} with random weights, no reference\n"
    )
    print_table(["", *COSTS], rows)


def compare_references(args, contenders):
    """Print time and memory by the number of references."""
    rows = []
    for n_references in args.references:
        groups = noise(args.images, n_references)
        for one in contenders:
            answer = run(args, one, groups, pairs=100)
            rows.append([n_references, one.name, one.model])
            rows[-1] += cells(args, answer, groups)
    print(f"\n{args.images} images scored, by the number of references\n")
    print_table(["references", "", "model", *COSTS], rows)


def parse(arguments=None):
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="of the rivals' environment; none: ours alone")
    parser.add_argument("--photos", type=Path, nargs="*", default=(), metavar="FOLDER")
    parser.add_argument("--good", type=int, help="good images of a set; default: all")
    parser.add_argument("--backbone", default="ViT-B-16-plus-240", help="for speed")
    parser.add_argument("--images", type=int, default=8, help="for speed; 0: none")
    parser.add_argument("--references", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--limit", type=int, default=600, help="seconds for a row")
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main():
    """Parse arguments, run every contender, print the tables."""
    args = parse()
    if args.task:
        return work(args.task)

    def present(contenders):
        return [c for c in contenders if args.python or c.name.startswith(OURS)]

    describe_machine()
    if args.photos:
        compare_on_photographs(args, present(ON_PHOTOS))

    if not args.images:
        return None
    zero_shot = [Contender(name, "") for name in (OURS, "anomalib WinClip")]
    compare_speed(args, [one.name for one in present(zero_shot)])

    few = [
        Contender(OURS, "lite", "4 good", MUTUAL),
        Contender("anomalib PatchCore", "lite", "4 good"),
        Contender(OURS, args.backbone, "4 good", MUTUAL),
        Contender("anomalib WinClip", args.backbone, "4 good"),
    ]
    return compare_references(args, present(few))


if __name__ == "__main__":
    main()
