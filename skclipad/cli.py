"""The command line: ``skclipad``, or ``python -m skclipad``."""

import argparse
import csv
import os
import platform
import sys
import time
import warnings
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

import skclipad
from skclipad._exceptions import ImageReadError
from skclipad._images import read_image
from skclipad._scores import combined_score
from skclipad.datasets import make_defect_images
from skclipad.metrics import aupr, auroc, f1_max
from skclipad.report import contact_sheet

__all__ = ["main"]

ALL_SCORED, NOT_STARTED, NOTHING_SCORED, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
IMAGE_SUFFIXES = frozenset(
    ".bmp .gif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
BLOCK = 256  # pictures scored before their rows are written
DEMO_SEED = 1_000_000_000  # far from every seed that the bundled model was trained on

DESCRIPTION = """\
Find damaged, broken or defective things in pictures without any training picture.

A detector is trained on random words in a few seconds or minutes ("fit"), kept in a
small file, and gives each picture a score from 0 (normal) to 1 (anomalous)."""
EXAMPLES = """\
examples:
  skclipad demo                            a first look, without network
  skclipad fit -o detector.joblib          train; no picture is needed
  skclipad fit -o bottles.joblib --object bottle --anomaly "a broken"
  skclipad score photos/ -d detector.joblib -o scores.csv
  skclipad score a.jpg b.jpg --model tiny  fit and score in one go
  skclipad info                            versions, device, bundled model

"skclipad COMMAND --help" lists the options of a command.

exit codes: 0 everything scored; 1 not started (wrong arguments, missing weights);
            2 nothing scored; 3 some pictures failed; 130 interrupted"""
DETECTOR_HELP = """\
what `skclipad fit` wrote (default: fit one now). Only open a file that you trust:
loading it runs what is in it"""
THRESHOLD_HELP = "score above which a picture is labelled 1, anomalous (0.5)"
FOLDERS_HELP = """\
take the name of each picture's folder as its true label, and say how well the scores
agree with it"""
GOOD_HELP = "with --labels-from-folders, the folder of normal pictures (good)"

# What makes a detector, and where it runs; each is a parameter of an estimator.
DETECTOR_OPTIONS = {
    "--normal": ("normal_word", str, "word for normal things (a)"),
    "--anomaly": ("anomaly_word", str, "words for anomalous things (a damaged)"),
    "--object": ("object_name", str, "what the pictures show, if known (object)"),
    "--l-min": ("l_min", int, "shortest random word (5)"),
    "--l-max": ("l_max", int, "longest random word (10)"),
    "--n-pairs": ("N_p", int, "pairs of prompts to train on (10000)"),
    "--seed": ("random_state", int, "seed of words and training (0)"),
    "--model": (
        "embedder__model_name",
        str,
        "a CLIP of open_clip, local-dir:FOLDER, hf-hub:NAME, or tiny, the small "
        "bundled one (ViT-B-16-plus-240)",
    ),
    "--pretrained": (
        "embedder__pretrained",
        str,
        "which weights: a tag of open_clip or a file (laion400m_e32)",
    ),
    "--crops": ("embedder__crops", str, "whole, multi or tiles (whole)"),
}
RUNNING_OPTIONS = {
    "--device": ("embedder__device", str, "auto, cpu, cuda, cuda:1 or mps (auto)"),
    "--batch-size": ("embedder__batch_size", int, "pictures at once (32)"),
}


def main(argv=None):
    """Run one command of the command line.

    Results go to files or standard output, all that is said about them to standard
    error.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments without the program's name; those of the process if None.

    Returns
    -------
    int
        Exit code: 0 everything scored, 1 not started (wrong arguments, missing
        weights), 2 nothing scored, 3 some pictures failed, 130 interrupted.

    See Also
    --------
    skclipad.RandomWordCLIPDetector : The same from Python.

    Examples
    --------
    >>> from skclipad.cli import main
    >>> main(["--version"])
    skclipad ...
    0
    """
    try:
        args = _build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse's own way out
        return stop.code
    try:
        return args.run(args)
    except KeyboardInterrupt:
        _say("skclipad: interrupted")
        return INTERRUPTED
    except (OSError, ValueError) as error:
        # The message says what to do; a traceback would bury it.
        _say(f"skclipad {args.command}: {error}")
        return NOT_STARTED


# Arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose errors exit with 1: here 2 means that nothing was scored."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(NOT_STARTED, f"{self.prog}: {message}\n")


def _build_parser():
    parser = _Parser(
        prog="skclipad",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"skclipad {skclipad.__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, summary):
        added = commands.add_parser(name, help=summary, description=f"{summary}.")
        added.set_defaults(run=run)
        return added.add_argument

    add = command("demo", _demo, "Fit, and score painted pictures, without network")
    add("--out", default="demo", metavar="DIR", help="folder to write to (demo)")
    add("--n-images", type=_positive, default=240, metavar="N", help="how many (240)")
    add("--seed", type=int, default=0, help="seed of words and pictures (0)")

    add = command("fit", _fit, "Train a detector on random words; no picture needed")
    add("-o", "--output", required=True, metavar="FILE", help="say detector.joblib")
    _add_parameters(add, DETECTOR_OPTIONS | RUNNING_OPTIONS)

    add = command("score", _score, "Score pictures, one row each, as CSV")
    add("pictures", nargs="+", metavar="PICTURES", help="files, or folders to search")
    add("-d", "--detector", metavar="FILE", help=DETECTOR_HELP)
    add("-o", "--output", metavar="FILE", help="CSV to write (standard output)")
    add("--threshold", type=float, metavar="T", help=THRESHOLD_HELP)
    add("--labels-from-folders", action="store_true", help=FOLDERS_HELP)
    add("--good", default="good", metavar="NAME", help=GOOD_HELP)
    _add_parameters(add, DETECTOR_OPTIONS | RUNNING_OPTIONS)

    command("info", _info, "Show versions, device and the bundled model")
    return parser


def _add_parameters(add, options):
    for option, (name, kind, text) in options.items():
        # Left out of the namespace unless given: the estimators know their defaults.
        metavar = option.lstrip("-").replace("-", "_").upper()
        suppress = argparse.SUPPRESS
        add(option, dest=name, type=kind, default=suppress, metavar=metavar, help=text)


def _given(args, options):
    """Return the parameters among `options` that were given, by name."""
    names = {name for name, *_ in options.values()}
    return {name: value for name, value in vars(args).items() if name in names}


def _positive(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)


# Commands


def _demo(args):
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    embedder = skclipad.CLIPImageEmbedder(model_name="tiny")
    detector = skclipad.RandomWordCLIPDetector(
        embedder=embedder, random_state=args.seed
    )
    _say(f"Training on {detector.N_p:,} pairs of prompts, on no picture ...")
    detector.fit()
    _say(f"... {detector.fit_time_:.1f} s. Painting {args.n_images} pictures ...")
    start = time.perf_counter()
    bunch = make_defect_images(args.n_images, random_state=DEMO_SEED + args.seed)
    painted = time.perf_counter()
    _say(f"... {painted - start:.1f} s. Scoring them ...")
    columns = _score_columns(detector, bunch.images)
    _say(f"... {time.perf_counter() - painted:.1f} s.")
    _write_demo(out, bunch, columns)

    methods = {"CLIP": "s_pr", "ours": "s_fnn", "CLIP + ours": "score"}
    print(
        f"\n{len(bunch.images)} painted pictures of {len(set(bunch.category))} "
        f"categories, {np.sum(bunch.target)} of them with a defect, all new to the "
        f"model:\n"
    )
    print(_table(bunch.target, {m: columns[name] for m, name in methods.items()}))
    print(
        "\nThis is the tiny model that comes with the package, on pictures painted by\n"
        "the package: it shows that the method works, not how well it does on yours.\n"
        "For real pictures take a real CLIP; README.md says how.\n"
    )
    print(f"{out / 'sheet.png'}   the most and the least anomalous, with scores")
    print(f"{out / 'scores.csv'}  all scores")
    return ALL_SCORED


def _write_demo(out, bunch, columns):
    sheet = contact_sheet(
        bunch.images,
        columns["score"],
        labels=bunch.target,
        captions=[
            category if defect == "none" else f"{category}: {defect}"
            for category, defect in zip(bunch.category, bunch.defect, strict=True)
        ],
        tile_size=136,  # two pixels of the sheet a pixel of the picture, and the frame
        title="skclipad demo: the bundled tiny model on painted pictures",
    )
    with _whole(out / "sheet.png") as path:
        sheet.save(path, format="PNG")
    known = {name: bunch[name] for name in ("category", "defect", "target")}
    table = {"picture": range(len(bunch.images)), **known, **columns}
    with _whole(out / "scores.csv") as path, _open_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def _fit(args):
    target = _checked_target(args.output)
    detector = _fitted_detector(args)
    with _whole(target) as path:
        joblib.dump(detector, path)
    size = target.stat().st_size / 1000
    _say(f"{target}: {size:.0f} kB, fitted in {detector.fit_time_:.1f} s")
    return ALL_SCORED


def _score(args):
    target = None if args.output is None else _checked_target(args.output)
    paths = _find_pictures(args.pictures)
    if not paths:
        _say(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED
    detector = _loaded_detector(args) if args.detector else _fitted_detector(args)
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)
    detector.set_params(embedder__on_error="nan", embedder__verbose=False)
    # One empty picture: here it shows if the model is not the one that `fit` used.
    components = detector.score_components(np.zeros((1, 8, 8, 3)))

    start = time.perf_counter()
    rows = []
    with ExitStack() as stack:
        file = sys.stdout
        if target is not None:
            file = stack.enter_context(_open_csv(stack.enter_context(_whole(target))))
        writer = csv.DictWriter(file, ["path", "score", "label", *components, "error"])
        writer.writeheader()
        progress = tqdm(total=len(paths), unit="image", disable=None)
        stack.enter_context(progress)
        for first in range(0, len(paths), BLOCK):
            block = _score_block(detector, paths[first : first + BLOCK], first)
            writer.writerows(block)
            rows += block
            progress.update(len(block))
    scored = [row for row in rows if "score" in row]
    seconds = time.perf_counter() - start
    _say(f"{len(scored)} of {len(rows)} pictures scored in {seconds:.1f} s")
    if args.labels_from_folders:
        _say(_agreement_with_folders(scored, [*components, "score"], args.good))
    if not scored:
        return NOTHING_SCORED
    return ALL_SCORED if len(scored) == len(rows) else SOME_FAILED


def _info(args):
    print(f"{'skclipad':<16} {skclipad.__version__}")
    for name in ("open_clip_torch", "torch", "scikit-learn", "numpy", "pillow"):
        try:
            print(f"{name:<16} {version(name)}")
        except PackageNotFoundError:
            print(f"{name:<16} not installed")
    print(f"{'python':<16} {platform.python_version()} on {platform.platform()}")
    backbone = skclipad.CLIPImageEmbedder(model_name="tiny")._load()
    print(f"{'device':<16} {backbone.device}")
    height, width = backbone.image_size
    parameters = sum(p.numel() for p in backbone.model.parameters()) / 1e6
    print(
        f"{'bundled model':<16} {parameters:.1f} million parameters, reads "
        f"{width} x {height} pixels"
    )
    return ALL_SCORED


# Steps


def _fitted_detector(args):
    options = {"random_state": 0} | _given(args, DETECTOR_OPTIONS | RUNNING_OPTIONS)
    embedder = skclipad.CLIPImageEmbedder(verbose=sys.stderr.isatty())
    detector = skclipad.RandomWordCLIPDetector(embedder=embedder)
    return detector.set_params(**options).fit()


def _loaded_detector(args):
    given = _given(args, DETECTOR_OPTIONS)
    if given:
        options = [o for o, (name, *_) in DETECTOR_OPTIONS.items() if name in given]
        raise ValueError(
            f"Got --detector and {', '.join(options)}, but the detector already has "
            "its settings. Leave these options out, or make another one with "
            "`skclipad fit`."
        )
    try:
        detector = joblib.load(args.detector)
    except OSError:
        raise
    except Exception as error:  # whatever unpickling a wrong file may raise
        raise ValueError(
            f"{args.detector} cannot be loaded ({type(error).__name__}: {error}). "
            "Expected a file that `skclipad fit` or joblib.dump wrote."
        ) from error
    if not isinstance(detector, skclipad.RandomWordCLIPDetector):
        raise ValueError(
            f"{args.detector} holds a {type(detector).__name__}, but expected a "
            "RandomWordCLIPDetector, as `skclipad fit` writes it."
        )
    if detector.embedder is None:
        detector.set_params(embedder=skclipad.CLIPImageEmbedder())
    return detector.set_params(**_given(args, RUNNING_OPTIONS))


def _find_pictures(arguments):
    """Return the files named and, sorted, the pictures in the folders named."""
    found = []
    for argument in arguments:
        if not os.path.isdir(argument):
            # Also a file that does not exist: it gets its row, with the reason.
            found.append(argument)
            continue
        for folder, subfolders, files in os.walk(argument, onerror=_raise):
            subfolders.sort()
            found += [
                os.path.join(folder, file)
                for file in sorted(files)
                if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES
            ]
    return found


def _raise(error):
    raise error


def _score_columns(detector, images):
    """Return the scores to show, by name; each is an array of shape (n_images,)."""
    components = detector.score_components(images)
    names = {"prompt": "s_pr", "fnn": "s_fnn"}
    chosen = [components[names[score]] for score in detector.scores]
    chosen += [components[name] for name in components if name == "s_img"]
    # What predict_proba combines too, but it would look at each picture once more.
    return {"score": combined_score(chosen), **components}


def _score_block(detector, paths, first):
    """Score some pictures and return their rows; `first` is the row of the first."""
    with warnings.catch_warnings():
        # Unreadable pictures are told about row by row.
        warnings.filterwarnings("ignore", ".* images could not be read")
        columns = _score_columns(detector, paths)
    labels = np.where(columns["score"] > detector.threshold, 1, 0)
    rows = []
    for i, path in enumerate(paths):
        # Names that are no UTF-8 are written with escapes: the table stays readable.
        row = {"path": os.fsencode(path).decode("utf-8", "backslashreplace")}
        if np.isnan(columns["score"][i]):
            rows.append(row | {"error": _why_not(path, first + i)})
        else:
            scores = {name: float(column[i]) for name, column in columns.items()}
            rows.append(row | scores | {"label": int(labels[i])})
    return rows


def _why_not(path, row):
    """Say why a picture has no score, by trying once more to read it."""
    try:
        read_image(path, row)
    except ImageReadError as error:
        # Row, path and the advice for Python's users say nothing new in a table.
        return str(error).partition(" cannot be read: ")[2].partition(". Replace")[0]
    return "not readable at first, but it is now"


def _agreement_with_folders(rows, names, good):
    y_true = [Path(row["path"]).parent.name != good for row in rows]
    if len(set(y_true)) < 2:
        return (
            f"No figures: of {len(rows)} scored pictures {sum(y_true)} lie outside "
            f"folders named {good!r}, and both kinds are needed."
        )
    columns = {name: [row[name] for row in rows] for name in names}
    return f"\n{_table(y_true, columns)}"


def _table(y_true, columns):
    """Return the three figures of each column of scores, ready to print."""
    lines = [f"{'':<12} {'AUROC':>7} {'AUPR':>7} {'F1-max':>7}"]
    for name, scores in columns.items():
        figures = [metric(y_true, scores) for metric in (auroc, aupr, f1_max)]
        lines.append(f"{name:<12} " + " ".join(f"{f:7.3f}" for f in figures))
    return "\n".join(lines)


# Files


def _checked_target(name):
    """Refuse a place that cannot be written to before the work is done, not after."""
    target = Path(name)
    if not target.parent.is_dir():
        raise ValueError(f"{target}: the folder {target.parent} does not exist.")
    if target.is_dir():
        raise ValueError(f"{target} is a folder, but expected the name of a file.")
    return target


@contextmanager
def _whole(target):
    """Give a path beside the target to write to, which takes its name at the end.

    What is left after an interruption has another name than a whole file.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        yield partial
    except KeyboardInterrupt:
        _say(f"what was done so far is in {partial}")
        raise
    os.replace(partial, target)


def _open_csv(path):
    return open(path, "w", newline="", encoding="utf-8")


def _say(message):
    print(message, file=sys.stderr, flush=True)
