"""``skclipad score``: images in, a table of scores out; a report, maps if asked."""

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from skclipad._embedder import load_clip
from skclipad._storage.files import file_stamp
from skclipad._storage.journal import Journal
from skclipad._storage.stopped import Work
from skclipad.cli._console import ALL_SCORED, NOTHING_SCORED, SOME_FAILED, echo
from skclipad.cli._detectors import warn_of_bundled
from skclipad.cli._files import checked_table, checked_target, open_table
from skclipad.cli._pictures import find_images
from skclipad.cli._references import detector_to_score
from skclipad.cli._results import (
    MapFolder,
    agreement_with_folders,
    most_anomalous_maps,
    report_scores,
)
from skclipad.scoring._cluster import open_client
from skclipad.scoring._rows import detector_identity, label_of, row_columns
from skclipad.scoring._run import ScoringRun

MOST_FAILURES = 5  # that are named on the terminal


def run(args):
    """Score the images that the arguments name."""
    _check(args)
    target = None if args.output is None else checked_table(args.output)
    report = None if args.report is None else checked_target(args.report, (".html",))
    paths = find_images(args.pictures, leave_out=args.maps)
    if not paths:
        echo(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED

    detector = detector_to_score(args, paths)
    detector.set_params(embedder__on_error="nan", embedder__verbose=False)
    warn_of_bundled(detector)

    # One empty picture: here it shows if the model is not the one that `fit` used.
    components = detector.score_components(np.zeros((1, 8, 8, 3)))
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)
    elif args.fpr is not None:
        detector.set_params(threshold=_normal_threshold(detector, args))

    columns = row_columns(components)
    with Work() as work:
        rows, maps = _score(args, target, detector, columns, paths, work)
        work.begin(f"{'the table' if target is None else target} is whole")
        return _sum_up(args, report, detector, paths, rows, maps)


def _sum_up(args, report, detector, paths, rows, maps):
    """Say what came of the scores, write the report, and return the exit code."""
    scored = [row for row in rows if "score" in row]
    _echo_failures([row for row in rows if "score" not in row])
    if args.labels_from_folders:
        echo(agreement_with_folders(scored, args.good))
    if report is not None:
        n_maps = 100 if args.heat_maps is None else args.heat_maps
        maps = maps or most_anomalous_maps(detector, paths, rows, n_maps)
        report_scores(report, detector, paths, rows, maps, args)

    if not scored:
        return NOTHING_SCORED
    return ALL_SCORED if len(scored) == len(rows) else SOME_FAILED


def _check(args):
    """Refuse options that need others."""
    if (args.fpr is None) != (args.normal_dir is None):
        raise ValueError(
            "--fpr and --normal-dir go together: a share of false alarms, and the "
            "normal pictures that would be falsely alarmed at."
        )
    if args.resume and args.output is None:
        raise ValueError("--resume needs --output FILE, the table to go on with.")
    if args.heat_maps is not None and args.report is None:
        raise ValueError("--heat-maps needs --report FILE, the page to show them on.")


def _score(args, target, detector, columns, paths, work):
    """Write the table, and maps if asked; return its rows and the report's maps."""
    start, rows, maps = time.perf_counter(), [], None
    stamps = {path: file_stamp(path) for path in paths}
    identity = _identity(detector)
    if args.maps is not None:
        shown = args.report is not None
        maps = MapFolder(args.maps, stamps, identity, shown=shown)

    kept = None if target is None else target.with_name(target.name + ".journal")
    with Journal(kept, identity, resume=args.resume) as journal:
        run = ScoringRun(detector, paths, stamps, journal, maps)
        with ExitStack() as stack:
            write = stack.enter_context(open_table(target, columns))
            if args.resume:
                _echo_known(target, run, len(paths))
            client = _client(args.dask, stack) if run.missing else None
            stack.callback(_echo_speed, rows, len(paths), start)

            # From here on errors are not of the arguments, and some rows are kept.
            work.begin(partial(_what_is_kept, target, run))
            for block in run.rows(client, stack.enter_context(_bar(run, "Scoring"))):
                write(block)
                rows += block
        journal.remove()

    if target is not None:
        echo(f"{target}: {len(rows):,} rows")
    if maps is None:
        return rows, []
    echo(f"{maps.folder}: {len(maps.done):,} maps")
    return rows, maps.small_maps(paths)


def _bar(run, what):
    """Return a progress bar, which shows itself if somebody is looking."""
    return tqdm(total=run.n_missing, desc=what, unit="image", disable=None)


def _echo_known(target, run, n):
    if run.n_known == 0 and target.exists():
        echo(
            f"{target} is whole: the run that wrote it was not interrupted. --resume "
            f"goes on with runs that were, so all {n:,} pictures are scored"
        )
        return

    more = ""
    if run.n_without_map:
        more = f"; {run.n_without_map:,} of them have no map of this run"
    echo(f"{run.n_known:,} of {n:,} pictures were scored before{more}")


def _echo_speed(rows, n, start):
    seconds = time.perf_counter() - start
    n_scored = sum("score" in row for row in rows)
    # In all: an interrupted run has rows of its beginning alone.
    echo(f"{n_scored:,} of {n:,} pictures scored in {seconds:.1f} s")


def _what_is_kept(target, run):
    if target is None:
        return "what was scored is on standard output"
    rows = "1 row is" if run.n_kept == 1 else f"{run.n_kept:,} rows are"
    return f"{rows} kept; the same command with --resume goes on"


def _echo_failures(rows):
    """Name the first of the images that have no score, and the reason."""
    if not rows:
        return

    what = "1 picture has" if len(rows) == 1 else f"{len(rows):,} pictures have"
    echo(f"{what} no score:")
    for row in rows[:MOST_FAILURES]:
        echo(f"  {row['path']}: {row['error']}")
    if len(rows) > MOST_FAILURES:
        echo("  ... and so on: the column error has all reasons")


def _identity(detector):
    """Say what determines the scores; labels are made anew by the threshold."""
    numbers = str(load_clip(detector.embedder).dtype)
    return detector_identity(detector, leave_out=("threshold",)) | {"numbers": numbers}


def _client(address, stack):
    """Return the cluster at an address, None if there is no address."""
    if address is None:
        return None
    client = stack.enter_context(open_client(address))
    echo(f"Dask: {len(client.nthreads())} workers")
    return client


def _normal_threshold(detector, args):
    """Return the threshold that the wanted share of normal images is above."""
    paths = find_images([args.normal_dir], leave_out=args.maps)
    run = ScoringRun(detector, paths, dict.fromkeys(paths), Journal(None, {}))
    with _bar(run, "Scoring normal pictures") as bar:
        rows = [row for block in run.rows(progress=bar) for row in block]

    scores = [row["score"] for row in rows if "score" in row]
    if not scores:
        raise ValueError(
            f"--normal-dir {args.normal_dir} holds no picture that can be scored, but "
            "--fpr needs normal ones to choose the threshold by."
        )

    # As many above it as the share allows, and never more, however few they are.
    n_above = int(args.fpr * len(scores) + 1e-9)
    threshold = [*sorted(scores, reverse=True), 0.0][n_above]
    above = sum(label_of(score, threshold) for score in scores)

    # All digits: it is meant to be typed again.
    echo(f"threshold {threshold!r}: {above} of {len(scores)} normal pictures above it")
    _echo_failures([row for row in rows if "score" not in row])

    if len(scores) * args.fpr < 1:
        echo(
            f"(a share of {args.fpr:g} takes {np.ceil(1 / max(args.fpr, 1e-9)):.0f} "
            "normal pictures or more to be measured; this is the highest of their "
            "scores)"
        )
    return threshold
