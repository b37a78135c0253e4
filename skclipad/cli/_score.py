"""``skclipad score``: images in, a table of scores out; a report, maps if asked."""

import os
import time
from contextlib import ExitStack
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from skclipad._images.video import file_of
from skclipad._storage.files import file_stamp
from skclipad._storage.journal import Journal
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad._storage.stopped import Work
from skclipad.cli._boxes import box_images, largest_box
from skclipad.cli._console import (
    ALL_SCORED,
    NOTHING_SCORED,
    SOME_FAILED,
    duration,
    echo,
)
from skclipad.cli._detectors import ready_to_score, run_identity
from skclipad.cli._files import checked_table, checked_target, open_table
from skclipad.cli._growing import (
    GrowingTable,
    growing_columns,
    is_there,
)
from skclipad.cli._left_over import left_over_images
from skclipad.cli._outcome import tell_outcome
from skclipad.cli._pictures import find_images
from skclipad.cli._plan import tell_plan
from skclipad.cli._references import detector_to_score
from skclipad.cli._results import (
    MapFolder,
    agreement_with_folders,
    report_scores,
    small_maps_of_some,
)
from skclipad.cli._tables import read_scores
from skclipad.scoring._cluster import open_client
from skclipad.scoring._rows import label_of, row_columns
from skclipad.scoring._run import ScoringRun
from skclipad.scoring._tiles import check_tiles
from skclipad.statistics import compare_scores
from skclipad.thresholds import conformal_p_values, conformal_threshold

MOST_FAILURES = 5  # that are named on the terminal


def run(args):
    """Score the images that the arguments name."""
    _check(args)
    target = None if args.output is None else checked_table(args.output)
    report = None if args.report is None else checked_target(args.report, (".html",))
    coco = None if args.boxes is None else checked_target(args.boxes, (".json",))
    if args.reference is not None:
        args.reference = list(read_scores(args.reference).values())
    paths = find_images(args.pictures, leave_out=args.maps, every=args.every)
    grows = args.update and ledger_path(target).exists()
    if not paths and not grows:
        echo(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED

    detector = detector_to_score(args, paths)
    components = ready_to_score(detector)
    if args.map_tiles is not None:
        check_tiles(detector)
    if args.plan:
        return tell_plan(args, target, detector, paths)

    columns = row_columns(components)
    args.normal_scores = None
    if args.normal_dir is not None or (args.fpr is not None and args.references):
        args.normal_scores = _normal_scores(detector, args)
        columns |= {} if args.update else {"p_value": float}
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)
    elif args.fpr is not None:
        detector.set_params(threshold=_normal_threshold(args))

    with Work() as work:
        make = _update if args.update else _score
        paths, rows, maps = make(args, target, detector, columns, paths, work)
        work.begin(f"{'the table' if target is None else target} is whole")
        boxes = None
        if coco is not None:
            boxes = box_images(coco, detector, paths, rows, maps, args)
            _add_column(target, columns, rows, "box", map(largest_box, boxes.of_rows))
        return _sum_up(args, report, detector, paths, rows, maps, boxes)


def _add_column(target, columns, rows, name, values):
    """Write a table once more, with another column of text."""
    with open_table(target, columns | {name: str}) as write:
        write([row | {name: v} for row, v in zip(rows, values, strict=True)])


def _sum_up(args, report, detector, paths, rows, maps, boxes):
    """Say what came of the scores, write the report, and return the exit code."""
    scored = [row for row in rows if "score" in row]
    _echo_failures([row for row in rows if "score" not in row])
    tell_outcome(rows, detector.threshold, args)
    if args.labels_from_folders:
        echo(agreement_with_folders(scored, args.good))
    if args.reference is not None and scored:
        echo(compare_scores(args.reference, [row["score"] for row in scored]))
    if report is not None:
        n_maps = 100 if args.heat_maps is None else args.heat_maps
        if maps is None:
            shown = small_maps_of_some(detector, paths, rows, n_maps)
        else:
            shown = maps.small_maps(paths)
        report_scores(report, detector, paths, rows, shown, boxes, args)

    if not scored:
        return NOTHING_SCORED
    return ALL_SCORED if len(scored) == len(rows) else SOME_FAILED


def _check(args):
    """Refuse options that need others."""
    if args.fpr is not None and args.normal_dir is None and args.references is None:
        raise ValueError(
            "--fpr needs --normal-dir DIR, or --references DIR of which some are left "
            "over: normal pictures, of which no larger share is to be alarmed at."
        )
    if args.update and args.output is None:
        raise ValueError("--update needs --output FILE, the table to go on with.")
    if args.update and args.unlabelled:
        raise ValueError(
            "--update does not go with --unlabelled: references would change as the "
            "folder grows, and old scores would not compare with new ones. Fit once, "
            "with `skclipad fit --unlabelled`, and pass the file as --detector."
        )
    if args.drop_gone and not args.update:
        raise ValueError("--drop-gone needs --update, which finds what is gone.")
    if args.resume and args.output is None:
        raise ValueError("--resume needs --output FILE, the table to go on with.")
    if args.boxes is None and not (args.box_area is args.box_level is None):
        raise ValueError("--box-area and --box-level need --boxes FILE.")
    if args.boxes is not None and args.output is None:
        raise ValueError("--boxes needs --output FILE, the table that gets a column.")
    if args.boxes is not None and args.update:
        raise ValueError(
            "--boxes does not go with --update: what is gone cannot be boxed. Leave "
            "one of the two out."
        )
    if args.map_tiles is not None and args.maps is None:
        raise ValueError("--map-tiles needs --maps DIR, the folder to write maps to.")
    if args.heat_maps is not None and args.report is None:
        raise ValueError("--heat-maps needs --report FILE, the page to show them on.")


def _map_folder(args, stamps, identity):
    """Return the folder of maps that the arguments ask for, or None."""
    if args.maps is None:
        return None
    shown, tiles = args.report is not None, args.map_tiles
    return MapFolder(args.maps, stamps, identity, shown=shown, tiles=tiles)


def _score(args, target, detector, columns, paths, work):
    """Write the table, and maps if asked; return images, rows, the folder of maps."""
    start, rows = time.perf_counter(), []
    stamps = {path: file_stamp(file_of(path)) for path in paths}
    identity = run_identity(detector)
    maps = _map_folder(args, stamps, identity)

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
            for block in _timed_blocks(run, client, stack):
                if args.normal_scores is not None:
                    block = _with_p_values(block, args.normal_scores)
                write(block)
                rows += block
        journal.remove()

    if target is not None:
        echo(f"{target}: {len(rows):,} rows")
    _echo_maps(maps)
    return paths, rows, maps


def _update(args, target, detector, columns, paths, work):
    """Score what is new or has changed since the table was written, and write it anew.

    Returns the images of the whole table, its rows, and the folder of maps.
    """
    start, identity = time.perf_counter(), run_identity(detector)
    _echo_without_ledger(target, len(paths))

    with Ledger(ledger_path(target), identity) as ledger, ExitStack() as stack:
        stamps = {path: file_stamp(file_of(path)) for path in paths}
        # What is known and gone keeps its row, even if it is named.
        stamps = {
            p: s for p, s in stamps.items() if s is not None or not ledger.knows(p)
        }
        maps = _map_folder(args, stamps, identity)
        run = ScoringRun(detector, list(stamps), stamps, ledger, maps)
        table = GrowingTable(
            target, growing_columns(columns), ledger, detector.threshold
        )
        echo(
            f"{run.n_missing:,} of {len(stamps):,} pictures are to be scored: new, "
            "changed, or without a score"
        )

        client = _client(args.dask, stack) if run.missing else None
        work.begin(partial(_what_is_kept, target, run, "the same command goes on"))
        for _ in _timed_blocks(run, client, stack):
            pass  # each row is in the ledger when its block is given

        _mark_gone(ledger, drop=args.drop_gone)
        table.write()
        paths, rows = ledger.paths(), list(table.rows())

    seconds = time.perf_counter() - start
    echo(f"{target}: {len(rows):,} rows, {run.n_done:,} made now, in {seconds:.1f} s")
    _echo_maps(maps)
    named = {os.path.abspath(path): path for path in stamps}
    return [named.get(path, path) for path in paths], rows, maps


def _echo_without_ledger(target, n):
    if target.exists() and not ledger_path(target).exists():
        echo(
            f"{target} was written without --update, so that nothing is known of its "
            f"rows: all {n:,} pictures are scored, and the table is written anew"
        )


def _mark_gone(ledger, drop):
    """Mark the rows of images that are there no more, or drop these rows; say so."""
    ledger.mark_gone(is_there)
    n_gone = ledger.n_gone
    if n_gone == 0:
        return

    if drop:
        ledger.drop_gone()
    rows = "1 row of a picture" if n_gone == 1 else f"{n_gone:,} rows of pictures"
    what = "dropped" if drop else "marked in the column gone"
    echo(f"{rows} no longer there: {what}")


def _echo_maps(maps):
    if maps is not None:
        echo(f"{maps.folder}: {len(maps.done):,} maps")


def _timed_blocks(run, client, stack):
    """Yield the blocks of a run, and say after the first one how long it will take."""
    begun, is_said = time.perf_counter(), False
    for block in run.rows(client, stack.enter_context(_bar(run, "Scoring"))):
        yield block

        left = run.n_missing - run.n_done
        if run.n_done and left and not is_said:
            is_said = True
            pace = (time.perf_counter() - begun) / run.n_done
            echo(
                f"{run.n_done:,} of {run.n_missing:,} pictures scored, {1 / pace:.1f} "
                f"a second: about {duration(pace * left)} to go"
            )


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


def _what_is_kept(target, run, how="the same command with --resume goes on"):
    if target is None:
        return "what was scored is on standard output"
    rows = "1 row is" if run.n_kept == 1 else f"{run.n_kept:,} rows are"
    return f"{rows} kept; {how}"


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


def _client(address, stack):
    """Return the cluster at an address, None if there is no address."""
    if address is None:
        return None
    client = stack.enter_context(open_client(address))
    echo(f"Dask: {len(client.nthreads())} workers")
    return client


def _normal_scores(detector, args):
    """Return the scores of the images in the folder of normal ones."""
    folder = args.normal_dir
    if folder is None:
        folder, paths = args.references, left_over_images(detector, args)
    else:
        paths = find_images([folder], leave_out=args.maps)
    run = ScoringRun(detector, paths, dict.fromkeys(paths), Journal(None, {}))
    with _bar(run, "Scoring normal pictures") as bar:
        rows = [row for block in run.rows(progress=bar) for row in block]

    _echo_failures([row for row in rows if "score" not in row])
    scores = [row["score"] for row in rows if "score" in row]
    if not scores:
        raise ValueError(
            f"{folder} holds no picture that can be scored, but normal ones are needed "
            "to compare others with."
        )
    echo(
        f"p_value: how rarely a good picture scores so high, by {len(scores):,} in "
        f"{folder}: of further ones, 1 in 100 at most has 0.01 or less, and so on"
    )
    return scores


def _normal_threshold(args):
    """Return the threshold that no larger share of normal images is above."""
    scores = args.normal_scores
    try:
        threshold = conformal_threshold(scores, args.fpr)
    except ValueError as error:
        raise ValueError(str(error).replace("fpr=", "--fpr ")) from error

    # All digits: it is meant to be typed again.
    above = sum(label_of(score, threshold) for score in scores)
    echo(
        f"threshold {threshold!r}: {above} of {len(scores)} normal pictures above it; "
        f"one more such picture is with a chance of at most {args.fpr:g}"
    )
    return threshold


def _with_p_values(rows, normal_scores):
    scores = [row.get("score", np.nan) for row in rows]
    values = conformal_p_values(scores, normal_scores).tolist()
    return [
        row | {"p_value": value} if "score" in row else row
        for row, value in zip(rows, values, strict=True)
    ]
