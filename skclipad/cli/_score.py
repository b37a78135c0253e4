"""``skclipad score``: pictures in, a table of scores out; a report, maps if asked."""

import time

import numpy as np
from tqdm.auto import tqdm

from skclipad._rows import detector_identity, row_columns, score_rows
from skclipad.cli._detectors import (
    DETECTOR_HELP,
    DETECTOR_OPTIONS,
    RUNNING_OPTIONS,
    add_parameters,
    load_detector,
    new_detector,
)
from skclipad.cli._files import ENDINGS, checked_table, checked_target
from skclipad.cli._pictures import PICTURES_HELP, find_pictures
from skclipad.cli._results import (
    MapFolder,
    agreement_with_folders,
    most_anomalous_maps,
    report_scores,
)
from skclipad.cli._resume import open_run
from skclipad.cli._talk import (
    ALL_SCORED,
    NOTHING_SCORED,
    SOME_FAILED,
    say,
    share,
    whole_number,
)
from skclipad.distributed import open_client, stream_rows

# Pictures scored before their rows are written, to begin with. One batch by default:
# then batches hold the same pictures, and round alike, wherever a run resumes.
BLOCK = 32
BLOCK_SECONDS = 2.0  # blocks grow until they take this long
LARGEST_BLOCK = 1024

EPILOG = """\
examples:
  skclipad score photos/ -d detector.joblib -o scores.csv --report report.html
  skclipad score 'day-*/**/*.jpg' -d detector.joblib -o scores.parquet
  find . -name '*.png' -mtime -1 | skclipad score - -d detector.joblib > scores.csv
  skclipad score new/ -d detector.joblib --fpr 0.01 --normal-dir good/ -o scores.csv

Columns: path, score (0 normal to 1 anomalous, the mean of the scores in use), label
(1 above the threshold), s_pr (prompts), s_fnn (network), s_img (references, of a
detector that has some), error (why a picture has no score).

exit codes: 0 everything scored; 1 not started; 2 nothing scored; 3 some pictures
            failed; 130 interrupted, and what was scored is in FILE.partial: the same
            command with --resume goes on from there"""
RESUME_HELP = """\
go on where a run with the same --output died: pictures that it scored, and that have
not changed since, are not scored again"""
DASK_HELP = """\
score on a cluster of Dask: the address of its scheduler, such as tcp://10.0.0.1:8786,
or local:4 for 4 processes on this machine (maps are made by this process)"""
THRESHOLD_HELP = "score above which a picture is labelled 1 (the detector's, 0.5)"
FPR_HELP = """\
choose the threshold so that this share of the pictures in --normal-dir is above it, say
0.01"""
NORMAL_HELP = "with --fpr, a folder of pictures known to be normal"
REPORT_HELP = "a page to look through in a browser: histogram, pictures, heat maps"
MAPS_HELP = """\
folder for anomaly maps of all pictures: grey PNG of 16 bits, 65535 for a score of 1
(takes several times as long as scores)"""
HEAT_HELP = """\
with --report, how many of the most anomalous pictures get a heat map (100); with --maps
all do"""
FOLDERS_HELP = """\
take the name of each picture's folder as its true label, and say how well the scores
agree with it"""
GOOD_HELP = "with --labels-from-folders, the folder of normal pictures (good)"


def add_arguments(parser):
    """Add the arguments of ``skclipad score``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURES", help=PICTURES_HELP)
    add("-d", "--detector", metavar="FILE", help=f"{DETECTOR_HELP} (default: fit one)")
    output = f"table to write, {', '.join(ENDINGS)} (CSV on standard output)"
    add("-o", "--output", metavar="FILE", help=output)
    add("--resume", action="store_true", help=RESUME_HELP)
    add("--report", metavar="FILE", help=REPORT_HELP)
    add("--heat-maps", type=whole_number(0), default=100, metavar="N", help=HEAT_HELP)
    add("--maps", metavar="DIR", help=MAPS_HELP)
    either = parser.add_mutually_exclusive_group().add_argument
    either("--threshold", type=share, metavar="T", help=THRESHOLD_HELP)
    either("--fpr", type=share, metavar="SHARE", help=FPR_HELP)
    add("--normal-dir", metavar="DIR", help=NORMAL_HELP)
    add("--labels-from-folders", action="store_true", help=FOLDERS_HELP)
    add("--good", default="good", metavar="NAME", help=GOOD_HELP)
    group = parser.add_argument_group("where it runs")
    add_parameters(group.add_argument, RUNNING_OPTIONS)
    group.add_argument("--dask", metavar="ADDRESS", help=DASK_HELP)
    group = parser.add_argument_group("settings, without --detector")
    add_parameters(group.add_argument, DETECTOR_OPTIONS)


def run(args):
    """Score the pictures that the arguments name.

    Raises
    ------
    ValueError
        If arguments contradict each other, or a target cannot be written.
    """
    if (args.fpr is None) != (args.normal_dir is None):
        raise ValueError(
            "--fpr and --normal-dir go together: a share of false alarms, and the "
            "normal pictures that would be falsely alarmed at."
        )
    if args.resume and args.output is None:
        raise ValueError("--resume needs --output FILE, the table to go on with.")
    target = None if args.output is None else checked_table(args.output)
    report = None if args.report is None else checked_target(args.report, (".html",))
    paths = find_pictures(args.pictures)
    if not paths:
        say(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED
    detector = load_detector(args) if args.detector else new_detector(args).fit()
    detector.set_params(embedder__on_error="nan", embedder__verbose=False)
    # One empty picture: here it shows if the model is not the one that `fit` used.
    components = detector.score_components(np.zeros((1, 8, 8, 3)))
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)
    elif args.fpr is not None:
        detector.set_params(threshold=_normal_threshold(detector, args))

    start = time.perf_counter()
    folder = None if args.maps is None else MapFolder(args.maps, paths)
    rows, maps = [], []
    begun = open_run(
        target,
        row_columns(components),
        paths,
        identity=_identity(detector),
        threshold=detector.threshold,
        resume=args.resume,
        usable=None if folder is None else folder.has,
    )
    try:
        with begun as table:
            if folder is not None:
                folder.keep(table.known)
            for block in table.rows(_blocks_of(args.dask, detector, table.todo)):
                rows += block
                if folder is not None:
                    maps += folder.write(detector, block)
    finally:
        seconds = time.perf_counter() - start
        scored = [row for row in rows if "score" in row]
        if rows:
            say(f"{len(scored)} of {len(rows)} pictures scored in {seconds:.1f} s")
    if args.labels_from_folders:
        say(agreement_with_folders(scored, args.good))
    if report is not None:
        maps = maps or most_anomalous_maps(detector, paths, rows, args.heat_maps)
        report_scores(report, detector, paths, rows, maps, args)
    if not scored:
        return NOTHING_SCORED
    return ALL_SCORED if len(scored) == len(rows) else SOME_FAILED


def _identity(detector):
    """Say what determines the scores; labels are made anew by the threshold."""
    numbers = str(detector.embedder._load().dtype)
    return detector_identity(detector, leave_out=("threshold",)) | {"numbers": numbers}


# Scoring


def _blocks_of(address, detector, paths):
    """Yield rows block by block, made here or on the cluster at an address."""
    if address is None or not paths:
        yield from _scored_blocks(detector, paths, "Scoring")
        return
    bar = tqdm(total=len(paths), desc="Scoring", unit="image", disable=None)
    with open_client(address) as client, bar as progress:
        say(f"Dask: {len(client.nthreads())} workers")
        for block in stream_rows(client, detector, paths):
            yield block
            progress.update(len(block))


def _scored_blocks(detector, paths, what):
    """Yield rows block by block, under a progress bar if somebody is looking."""
    size, first = BLOCK, 0
    with tqdm(total=len(paths), desc=what, unit="image", disable=None) as progress:
        while first < len(paths):
            start = time.perf_counter()
            block = score_rows(detector, paths[first : first + size])
            yield block
            progress.update(len(block))
            first += len(block)
            # Small blocks show and keep what is done, large ones keep a GPU busy.
            if time.perf_counter() - start < BLOCK_SECONDS / 2:
                size = min(2 * size, LARGEST_BLOCK)


def _normal_threshold(detector, args):
    """Return the threshold that the wanted share of normal pictures is above."""
    paths = find_pictures([args.normal_dir])
    blocks = _scored_blocks(detector, paths, "Scoring normal pictures")
    scores = [row["score"] for block in blocks for row in block if "score" in row]
    if not scores:
        raise ValueError(
            f"--normal-dir {args.normal_dir} holds no picture that can be scored, but "
            "--fpr needs normal ones to choose the threshold by."
        )
    # As many above it as the share allows, and never more, however few they are.
    n_above = int(args.fpr * len(scores) + 1e-9)
    threshold = [*sorted(scores, reverse=True), 0.0][n_above]
    above = sum(score > threshold for score in scores)
    say(f"threshold {threshold:.4f}: {above} of {len(scores)} normal pictures above it")
    if len(scores) * args.fpr < 1:
        say(
            f"(a share of {args.fpr:g} takes {np.ceil(1 / max(args.fpr, 1e-9)):.0f} "
            "normal pictures or more to be measured; this is the highest of their "
            "scores)"
        )
    return threshold
