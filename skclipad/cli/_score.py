"""``skclipad score``: images in, a table of scores out; a report, maps if asked."""

from pathlib import Path
from typing import NamedTuple

from skclipad._storage.ledger import ledger_path
from skclipad._storage.stopped import Work
from skclipad.cli._agreement import agreement_with_folders
from skclipad.cli._boxes import box_images, largest_box
from skclipad.cli._console import ALL_SCORED, NOTHING_SCORED, SOME_FAILED, echo
from skclipad.cli._decoding import tell_decoding
from skclipad.cli._detectors import ready_to_score
from skclipad.cli._files import checked_table, checked_target, open_table
from skclipad.cli._left_over import left_over_images
from skclipad.cli._normal import NormalImages
from skclipad.cli._outcome import tell_next, tell_outcome
from skclipad.cli._pictures import find_images
from skclipad.cli._plan import tell_plan
from skclipad.cli._references import detector_to_score
from skclipad.cli._score_report import report_scores
from skclipad.cli._scored import echo_failures
from skclipad.cli._table_run import TableRun
from skclipad.cli._tables import read_scores
from skclipad.scoring._rows import row_columns
from skclipad.scoring._tiles import check_tiles
from skclipad.statistics import compare_scores

# What an option needs, and what to say without it.
NEEDS = {
    "update": ("output", "--update needs --output FILE, the table to go on with."),
    "drop_gone": ("update", "--drop-gone needs --update, which finds what is gone."),
    "resume": ("output", "--resume needs --output FILE, the table to go on with."),
    "box_area": ("boxes", "--box-area and --box-level need --boxes FILE."),
    "box_level": ("boxes", "--box-area and --box-level need --boxes FILE."),
    "boxes": (
        "output",
        "--boxes needs --output FILE, the table that gets a column.",
    ),
    "map_tiles": (
        "maps",
        "--map-tiles needs --maps DIR, the folder to write maps to.",
    ),
    "heat_maps": (
        "report",
        "--heat-maps needs --report FILE, the page to show them on.",
    ),
}


class Targets(NamedTuple):
    """The files that a run is to write, None for those that are not asked for."""

    table: Path | None
    report: Path | None
    boxes: Path | None

    @classmethod
    def of(cls, args):
        """Look at what the arguments name, before the work is done, not after."""

        def checked(name, ending):
            return None if name is None else checked_target(name, (ending,))

        table = None if args.output is None else checked_table(args.output)
        return cls(table, checked(args.report, ".html"), checked(args.boxes, ".json"))


def run(args):
    """Score the images that the arguments name."""
    _check(args)
    targets, reference = Targets.of(args), None
    if args.reference is not None:
        reference = list(read_scores(args.reference).values())
    paths = find_images(args.pictures, leave_out=args.maps, every=args.every)
    grows = args.update and ledger_path(targets.table).exists()
    if not paths and not grows:
        echo(f"skclipad score: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED

    detector = detector_to_score(args, paths)
    tell_decoding(detector)
    columns = row_columns(ready_to_score(detector))
    if args.map_tiles is not None:
        check_tiles(detector)
    if args.plan:
        return tell_plan(args, targets.table, detector, paths)

    normal = _normal_images(args, detector)
    if normal is not None and not args.update:
        columns["p_value"] = float
    _set_threshold(args, detector, normal)

    with Work() as work:
        table = TableRun(args, targets.table, columns, detector, normal, work)
        scored = table.update(paths) if args.update else table.write(paths)
        work.begin(f"{targets.table or 'the table'} is whole")
        boxes = _box(targets, columns, scored, args)
        _sum_up(scored, reference, args)
        if targets.report is not None:
            report_scores(targets.report, scored, boxes, reference, args)
        tell_next(scored, args)
    return _exit_code(scored)


def _check(args):
    """Refuse options that need others, or do not go together."""

    def is_given(name):
        value = getattr(args, name)
        return value is not None and value is not False  # but 0 is given

    for name, (needed, reason) in NEEDS.items():
        if is_given(name) and not is_given(needed):
            raise ValueError(reason)

    if args.fpr is not None and args.normal_dir is None and args.references is None:
        raise ValueError(
            "--fpr needs --normal-dir DIR, or --references DIR of which some are left "
            "over: normal pictures, of which no larger share is to be alarmed at."
        )
    if args.update and args.unlabelled:
        raise ValueError(
            "--update does not go with --unlabelled: references would change as the "
            "folder grows, and old scores would not compare with new ones. Fit once, "
            "with `skclipad fit --unlabelled`, and pass the file as --detector."
        )
    if args.update and args.resume:
        raise ValueError(
            "--resume does not go with --update, which goes on by itself where it was "
            "interrupted. Leave --resume out."
        )
    if args.update and args.boxes is not None:
        raise ValueError(
            "--boxes does not go with --update: what is gone cannot be boxed. Leave "
            "one of the two out."
        )


def _normal_images(args, detector):
    """Return what --normal-dir names or --references leave over, scored, or None."""
    folder = args.normal_dir
    if folder is not None:
        paths = find_images([folder], leave_out=args.maps)
    elif args.fpr is not None:
        folder, paths = args.references, left_over_images(detector, args)
    else:
        return None
    return NormalImages.scored(paths, detector, folder)


def _set_threshold(args, detector, normal):
    """Set the threshold that was asked for, if any was."""
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)
    elif args.fpr is not None:
        detector.set_params(threshold=normal.threshold(args.fpr))


def _box(targets, columns, scored, args):
    """Write boxes, and the table once more with a column of them; None if not asked."""
    if targets.boxes is None:
        return None
    boxes = box_images(targets.boxes, scored, args)
    largest = map(largest_box, boxes.of_rows)
    with open_table(targets.table, columns | {"box": str}) as write:
        write([r | {"box": b} for r, b in zip(scored.rows, largest, strict=True)])
    return boxes


def _sum_up(scored, reference, args):
    """Say what came of the scores."""
    echo_failures(scored.rows)
    tell_outcome(scored.rows, scored.detector.threshold)
    rows = [scored.rows[i] for i in scored.with_score]
    if args.labels_from_folders:
        echo(agreement_with_folders(rows, args.good))
    if reference is not None and rows:
        echo(compare_scores(reference, [row["score"] for row in rows]))


def _exit_code(scored):
    n_scored = len(scored.with_score)
    if n_scored == 0:
        return NOTHING_SCORED
    return ALL_SCORED if n_scored == len(scored.rows) else SOME_FAILED
