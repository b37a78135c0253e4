"""``skclipad score``: pictures in, a table of scores out; a report, maps if asked."""

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from skclipad._embedder import load_clip
from skclipad._storage.stopped import Work
from skclipad.cli._detectors import load_detector, new_detector, warn_of_tiny
from skclipad.cli._files import checked_table, checked_target
from skclipad.cli._pictures import find_pictures
from skclipad.cli._results import (
    MapFolder,
    agreement_with_folders,
    most_anomalous_maps,
    report_scores,
)
from skclipad.cli._resume import FileStamps, open_run
from skclipad.cli._talk import ALL_SCORED, NOTHING_SCORED, SOME_FAILED, say
from skclipad.scoring._cluster import open_client, stream_rows
from skclipad.scoring._rows import detector_identity, label_of, row_columns, score_rows

BLOCK = None  # pictures before rows are written, at first; None: one batch
BLOCK_SECONDS = 2.0  # blocks grow until they take this long
LARGEST_BLOCK = 1024
MOST_FAILURES = 5  # that are named on the terminal


def run(args):
    """Score the pictures that the arguments name.

    Raises
    ------
    ValueError
        If arguments contradict each other, or a target cannot be written.
    OSError
        If no picture is there of all that are named.
    """
    _check(args)
    target = None if args.output is None else checked_table(args.output)
    report = None if args.report is None else checked_target(args.report, (".html",))
    paths = find_pictures(args.pictures, leave_out=args.maps)
    if not paths:
        say(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED
    detector = load_detector(args) if args.detector else new_detector(args).fit()
    detector.set_params(embedder__on_error="nan", embedder__verbose=False)
    warn_of_tiny(detector)
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
    _say_failures([row for row in rows if "score" not in row])
    if args.labels_from_folders:
        say(agreement_with_folders(scored, args.good))
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
    start = time.perf_counter()
    stamps, identity = FileStamps(paths), _identity(detector)
    folder, rows = None, []
    if args.maps is not None:
        folder = MapFolder(args.maps, stamps, identity, shown=args.report is not None)
    with ExitStack() as stack:
        table = stack.enter_context(
            open_run(
                target,
                columns,
                stamps,
                identity=identity,
                threshold=detector.threshold,
                resume=args.resume,
                usable=None if folder is None else folder.has,
            )
        )
        client = _client(args.dask, stack) if table.todo else None
        stack.callback(_say_progress, rows, len(paths), start)

        # From here on errors are not of the arguments, and some rows are kept.
        work.begin(partial(_what_is_kept, target, table))
        blocks = _blocks_of(client, detector, table.todo, table.places)
        if folder is not None:
            blocks = folder.map_blocks(detector, table.todo, blocks)
        for block in table.rows(blocks):
            rows += block
    if target is not None:
        say(f"{target}: {len(rows):,} rows")
    if folder is None:
        return rows, []
    say(f"{folder.folder}: {len(folder.done):,} maps")
    return rows, folder.small_maps()


def _say_progress(rows, n, start):
    seconds = time.perf_counter() - start
    n_scored = sum("score" in row for row in rows)
    # In all: an interrupted run has rows of its beginning alone.
    say(f"{n_scored:,} of {n:,} pictures scored in {seconds:.1f} s")


def _what_is_kept(target, table):
    if target is None:
        return "what was scored is on standard output"
    rows = "1 row is" if table.n_kept == 1 else f"{table.n_kept:,} rows are"
    return f"{rows} kept; the same command with --resume goes on"


def _say_failures(rows):
    """Name the first of the pictures that have no score, and the reason."""
    if not rows:
        return
    what = "1 picture has" if len(rows) == 1 else f"{len(rows):,} pictures have"
    say(f"{what} no score:")
    for row in rows[:MOST_FAILURES]:
        say(f"  {row['path']}: {row['error']}")
    if len(rows) > MOST_FAILURES:
        say("  ... and so on: the column error has all reasons")


def _identity(detector):
    """Say what determines the scores; labels are made anew by the threshold."""
    numbers = str(load_clip(detector.embedder).dtype)
    return detector_identity(detector, leave_out=("threshold",)) | {"numbers": numbers}


# Scoring


def _client(address, stack):
    """Return the cluster at an address, None if there is no address."""
    if address is None:
        return None
    client = stack.enter_context(open_client(address))
    say(f"Dask: {len(client.nthreads())} workers")
    return client


def _blocks_of(client, detector, paths, places):
    """Yield rows block by block, made here or on a cluster."""
    if client is None:
        yield from _scored_blocks(detector, paths, places, "Scoring")
        return
    with tqdm(total=len(paths), desc="Scoring", unit="image", disable=None) as progress:
        for block in stream_rows(client, detector, paths):
            yield block
            progress.update(len(block))


def _scored_blocks(detector, paths, places, what):
    """Yield rows block by block, under a progress bar if somebody is looking.

    Batches of which nothing was scored before stay as they are among all pictures:
    these have the same neighbours, and round alike, wherever a run goes on.
    """
    step, first = BLOCK or detector.embedder.batch_size, 0
    size = step
    with tqdm(total=len(paths), desc=what, unit="image", disable=None) as progress:
        while first < len(paths):
            start = time.perf_counter()
            last = first + _n_together(places, first, size, step)
            block = score_rows(detector, paths[first:last])
            yield block
            progress.update(len(block))
            first += len(block)
            # Small blocks show and keep what is done, large ones keep a GPU busy.
            quick = time.perf_counter() - start < BLOCK_SECONDS / 2
            if quick and 2 * size <= LARGEST_BLOCK:
                size *= 2


def _n_together(places, first, size, step):
    """How many pictures to score next: whole batches, or what is left of others."""
    n, whole = 0, _begins_batch(places, first, step)
    while n < size and first + n < len(places):
        if _begins_batch(places, first + n, step) != whole:
            break
        n += step if whole else 1
    return min(n, len(places) - first)


def _begins_batch(places, i, step):
    """Whether a batch of all pictures begins here of which none was scored before."""
    last = min(i + step, len(places)) - 1
    return places[i] % step == 0 and places[last] - places[i] == last - i


def _normal_threshold(detector, args):
    """Return the threshold that the wanted share of normal pictures is above."""
    paths = find_pictures([args.normal_dir], leave_out=args.maps)
    places = range(len(paths))
    blocks = _scored_blocks(detector, paths, places, "Scoring normal pictures")
    rows = [row for block in blocks for row in block]
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
    say(f"threshold {threshold!r}: {above} of {len(scores)} normal pictures above it")
    _say_failures([row for row in rows if "score" not in row])
    if len(scores) * args.fpr < 1:
        say(
            f"(a share of {args.fpr:g} takes {np.ceil(1 / max(args.fpr, 1e-9)):.0f} "
            "normal pictures or more to be measured; this is the highest of their "
            "scores)"
        )
    return threshold
