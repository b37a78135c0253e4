"""Plant faults in the package, one at a time, and see whether the tests notice.

    python tools/mutants.py             all plants; exit code 1 if too many survive
    python tools/mutants.py store cli   those whose name has one of these words

A plant is a mistake that somebody could make: a wrong sign, a key that lacks a part, an
order that is swapped. It is made in a copy of the tree in a temporary folder, and the
tests beside it are run there; it dies if one of them fails. First these tests must pass
without any plant.

A plant is found by its old text wherever in the package that stands, and however it is
broken into lines. One whose old text does not occur exactly once ends this script at
once: the table has to follow the code.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("skclipad", "tests", "conftest.py", "pyproject.toml", "setup.cfg")
MOST_SURVIVORS = 2
PATIENCE = 900  # seconds for the tests of one plant or one file; to hang is to die
FAILED = 1  # exit code of pytest when tests ran and some failed


class Plant(NamedTuple):
    """One fault: `old` becomes `new`, and `tests` should notice."""

    name: str
    old: str
    new: str
    tests: tuple


DETECTOR = ("tests/test_detector.py",)
REFERENCES = ("tests/method/test_references.py", "tests/test_detector.py")
TRAINING = ("tests/method/test_training.py", "tests/test_detector.py")
STORE = ("tests/storage/test_store.py", "tests/storage/test_store_damage.py")
RESUME = ("tests/cli/test_cli_resume.py",)
MUTUAL = ("tests/method/test_mutual.py",)
ROWS = ("tests/scoring/test_rows.py",)
DISTRIBUTED = ("tests/scoring/test_distributed.py",)

PLANTS = [
    # What a detector says
    Plant(
        "detector: the sign of the decision",
        "(self.score_components(X)) - self.threshold",
        "(self.score_components(X)) * -1 + self.threshold",
        DETECTOR,
    ),
    Plant(
        "detector: columns of predict_proba swapped",
        "np.stack([1 - scores, scores], axis=1)",
        "np.stack([scores, 1 - scores], axis=1)",
        DETECTOR,
    ),
    Plant(
        "detector: a score at the threshold is anomalous",
        "self.classes_[(decision > 0).astype(int)]",
        "self.classes_[(decision >= 0).astype(int)]",
        DETECTOR,
    ),
    Plant(
        "detector: lengths are normalised when they should not be",
        'seen = unit(embeddings) if detector.fit_params_["normalize"] else embeddings',
        'seen = embeddings if detector.fit_params_["normalize"] else unit(embeddings)',
        DETECTOR,
    ),
    Plant(
        "detector: references of an earlier fit stay",
        "keep_references(self.reference_method, clip, features)",
        "keep_references(self.reference_method, clip, features) or getattr("
        'self, "references_", None)',
        REFERENCES,
    ),
    Plant(
        "detector: prompts of objects in another order than the rows",
        "np.stack(prompts, axis=1)[:, rows]",
        "np.stack(prompts, axis=1)[:, np.sort(rows)]",
        DETECTOR,
    ),
    # What training is remembered by
    Plant(
        "training: the key lacks the seed",
        "*sorted(asdict(settings).items())",
        '*sorted((n, v) for n, v in asdict(settings).items() if n != "seed")',
        TRAINING,
    ),
    Plant(
        "training: the key lacks normalize",
        "*sorted(asdict(settings).items())",
        '*sorted((n, v) for n, v in asdict(settings).items() if n != "normalize")',
        TRAINING,
    ),
    Plant(
        "training: equal values of other settings are the same",
        "*sorted(asdict(settings).items())",
        "*sorted(map(str, asdict(settings).values()))",
        TRAINING,
    ),
    # What a store keeps
    Plant(
        "store: the checksum does not cover the key",
        'head = b"%d:%b%b" % (len(key), key, repr(shape).encode())',
        "head = repr(shape).encode()",
        STORE,
    ),
    Plant(
        "store: parts of a key run into each other",
        'return b"%b%d:%b" % (tag, len(content), content)',
        'return b"%b%b" % (tag, content)',
        STORE,
    ),
    Plant(
        "store: the first array of a key stays",
        "INSERT OR REPLACE INTO embeddings",
        "INSERT OR IGNORE INTO embeddings",
        STORE,
    ),
    Plant(
        "store: the last key of a chunk is left out",
        "unique[start : start + _CHUNK]",
        "unique[start : start + _CHUNK - 1]",
        STORE,
    ),
    # The command line
    Plant(
        "cli: --resume takes rows of images that have changed",
        "return found[1] if found is not None and found[0] == stamp else None",
        "return found[1] if found is not None else None",
        RESUME,
    ),
    Plant(
        "cli: --resume keeps labels of another threshold",
        'return row if row.get("label") == label else row | {"label": label}',
        "return row",
        RESUME,
    ),
    Plant(
        "cli: --fpr lets one image more above the threshold",
        "n_above = int(np.floor(fpr * (len(normal) + 1) + ROUNDING)) - 1",
        "n_above = int(np.floor(fpr * (len(normal) + 1) + ROUNDING))",
        ("tests/cli/test_cli_score_outcome.py",),
    ),
    # Thresholds, boxes and maps
    Plant(
        "thresholds: a p-value leaves out the image itself",
        "(1 + at_least) / (1 + len(normal))",
        "at_least / len(normal)",
        ("tests/test_thresholds.py",),
    ),
    Plant(
        "thresholds: a missed image costs what a false alarm should",
        'wishes["cost"] * (n_anomalous - found) + false_alarms',
        '(n_anomalous - found) + wishes["cost"] * false_alarms',
        ("tests/test_thresholds.py",),
    ),
    Plant(
        "boxes: rounded inwards in pixels of the image",
        "np.floor(span.start * scale + 1e-6), np.ceil(span.stop * scale - 1e-6)",
        "np.ceil(span.start * scale + 1e-6), np.floor(span.stop * scale - 1e-6)",
        ("tests/test_boxes.py",),
    ),
    Plant(
        "maps: pixels are taken at their corner",
        "(np.arange(n_pixels) + 0.5) * length",
        "np.arange(n_pixels) * length",
        ("tests/method/test_maps.py",),
    ),
    # Many references
    Plant(
        "mutual: an image is compared with itself",
        "(self.digests != features.digest).any(axis=1)",
        "np.ones(len(self.digests), bool)",
        MUTUAL,
    ),
    Plant(
        "mutual: the order of references changes the last bits",
        "parts[np.lexsort(digests.T)]",
        "parts",
        MUTUAL,
    ),
    Plant(
        "mutual: words hide what references show",
        "np.clip(of_words, 0, MOST_OF_WORDS)",
        "np.minimum(of_words, MOST_OF_WORDS)",
        MUTUAL,
    ),
    # Images
    Plant(
        "images: a turned video is turned the other way",
        "math.degrees(math.atan2(down, across))",
        "-math.degrees(math.atan2(down, across))",
        ("tests/images/test_video.py",),
    ),
    Plant(
        "images: the end of a long image is not seen",
        "dict.fromkeys([*starts, last])",
        "dict.fromkeys(starts or [last])",
        ("tests/images/test_crops.py",),
    ),
    # Folders that are watched
    Plant(
        "watch: a file that was written to while it was read keeps its row",
        "if now is not None and now != before:",
        "if now is None:",
        ("tests/scoring/test_watch.py",),
    ),
    Plant(
        "watch: a file that grows is complete",
        "elif waits is None or waits.stamp != stamp:",
        "elif waits is None:",
        ("tests/scoring/test_arrivals.py",),
    ),
    Plant(
        "watch: a move goes over a file that is there",
        "while os.path.lexists(place) or is_taken(place):",
        "while is_taken(place):",
        ("tests/cli/test_tasks.py",),
    ),
    Plant(
        "watch: what is to be done is forgotten",
        "_ANYTHING_TO_DO if path in due else None",
        "None",
        ("tests/storage/test_ledger.py",),
    ),
    Plant(
        "cli: a run of another temperature is gone on with",
        '"combine_views", "temperature", "threshold"',
        '"combine_views", "threshold"',
        ROWS,
    ),
    Plant(
        "cli: a run that decoded images small is gone on with",
        'identity["embedder__decode"] = repr(detector.embedder.decode)',
        "pass",
        ROWS,
    ),
    Plant(
        "cli: maps of tiles have seams",
        "np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)",
        "np.ones(side)",
        ("tests/scoring/test_tiles.py",),
    ),
    # The cluster
    Plant(
        "distributed: the identity of a run lacks the references",
        '"prompt_embeddings_", "references_")',
        '"prompt_embeddings_")',
        DISTRIBUTED,
    ),
    Plant(
        "distributed: images that have changed keep their rows",
        "all(parts[_part(out, b).name][0] == stamps[b.start] for b in blocks)",
        "all(_part(out, b).name in parts for b in blocks)",
        DISTRIBUTED,
    ),
    Plant(
        "distributed: runs of other blocks are mixed",
        '"block_size": int(block_size),',
        "",
        DISTRIBUTED,
    ),
    Plant(
        "distributed: runs of other objects are mixed",
        "digest.update(repr((name, column.to_pylist())).encode())",
        "digest.update(name.encode())",
        DISTRIBUTED,
    ),
]


def copy_tree(folder):
    """Copy what the tests need to a folder, and check that they will use it."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)
    code = "import skclipad; print(skclipad.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), stdout=-1
    ).stdout.decode()
    if Path(found.strip()).parent != folder / "skclipad":
        sys.exit(f"Got the package {found.strip()!r}, but expected the copy {folder}.")


def environment(folder):
    # No byte code: two writings of one size within a second would be taken for one.
    return os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def run_tests(folder, tests):
    """Return pytest's exit code, FAILED if it comes to no end, and what was printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"They were ended after {PATIENCE} s."
    return done.returncode, done.stdout.decode(errors="replace")


def check_soundness(folder, plants):
    """End the script if a test fails without any plant."""
    for test in dict.fromkeys(test for plant in plants for test in plant.tests):
        code, printed = run_tests(folder, [test])
        if code != 0:
            sys.exit(f"{printed[-3000:]}\nThe tests of {test} fail without any plant.")


def pattern_of(code):
    """Match code whatever its line breaks and indentation are."""
    tokens = re.findall(r"\w+|[^\w\s]", code)
    pattern = re.escape(tokens[0])
    for before, token in pairwise(tokens):
        both_words = re.match(r"\w", before) and re.match(r"\w", token)
        pattern += (r"\s+" if both_words else r"\s*") + re.escape(token)
    return re.compile(pattern)


def find(folder, plant):
    """Return the only (path, match) of a plant's old text, or end the script."""
    found = [
        (path, match)
        for path in sorted((folder / "skclipad").rglob("*.py"))
        for match in pattern_of(plant.old).finditer(path.read_text(encoding="utf-8"))
    ]
    if len(found) != 1:
        where = ", ".join(str(path.relative_to(folder)) for path, _ in found)
        sys.exit(
            f"The old text of {plant.name!r} occurs {len(found)} times in the package "
            f"({where or 'nowhere'}), but expected once; bring the table up to date."
        )
    return found[0]


def check_plants(plants):
    """End the script if the table does not fit the code."""
    for plant in plants:
        find(ROOT, plant)
        missing = [test for test in plant.tests if not (ROOT / test).exists()]
        if missing:
            sys.exit(f"{plant.name!r} names the tests {missing}, which do not exist.")


def dies(folder, plant):
    """Plant a fault, run its tests, and take it out again."""
    path, match = find(folder, plant)
    sound = match.string
    path.write_text(
        sound[: match.start()] + plant.new + sound[match.end() :], encoding="utf-8"
    )
    try:
        code, printed = run_tests(folder, plant.tests)
    finally:
        path.write_text(sound, encoding="utf-8")
    if code not in (0, FAILED):
        sys.exit(
            f"{printed[-3000:]}\n{plant.name!r} keeps pytest from running (exit code "
            f"{code})."
        )
    return code == FAILED


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="words of the plants' names")
    words = parser.parse_args().words
    plants = [p for p in PLANTS if not words or any(w in p.name for w in words)]
    check_plants(plants)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        copy_tree(folder)
        check_soundness(folder, plants)

        survivors = []
        for plant in plants:
            start = time.perf_counter()
            dead = dies(folder, plant)
            seconds = time.perf_counter() - start
            print(f"{'died' if dead else 'SURVIVED':8} {seconds:4.0f} s  {plant.name}")
            sys.stdout.flush()
            if not dead:
                survivors.append(plant)

    print(f"{len(plants) - len(survivors)} of {len(plants)} died")
    return len(survivors) > MOST_SURVIVORS


if __name__ == "__main__":
    sys.exit(main())
