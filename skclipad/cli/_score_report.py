"""The report of ``skclipad score``."""

import numpy as np

from skclipad._combination import SCORES
from skclipad._storage.files import atomic_write
from skclipad._system import shell_line
from skclipad.cli._agreement import folder_labels
from skclipad.cli._console import echo
from skclipad.cli._maps import small_maps_of_some
from skclipad.report import describe_run, write_report

N_HEAT_MAPS = 100  # unless the arguments say how many


def report_scores(target, scored, boxes, reference, args):
    """Write the report of `Scored` images.

    `boxes` are `BoxedImages` or None, `reference` the scores of a time when all was
    well, or None.
    """
    rows, detector = scored.rows, scored.detector

    def column(name, missing=np.nan):
        return [row.get(name, missing) for row in rows]

    names = [name for name in SCORES.values() if any(name in row for row in rows)]
    labels = folder_labels(rows, args.good) if args.labels_from_folders else None
    maps = _small_maps(scored, args)
    settings = describe_run(detector, command=shell_line(args.command_line))
    if boxes is not None:
        settings["Run"]["boxes where maps are above"] = boxes.level

    with atomic_write(target) as path:
        write_report(
            path,
            scored.paths,
            column("score"),
            names=column("path"),
            components={name: column(name) for name in names},
            labels=labels,
            maps=maps,
            boxes=None if boxes is None else boxes.of_rows,
            errors=column("error", None),
            reference=reference,
            region=detector.embedder.region,
            threshold=detector.threshold,
            settings=settings,
        )
    echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _small_maps(scored, args):
    """Return the heat maps that the report shows, None for images without one."""
    if scored.maps is not None:
        return scored.maps.small_maps(scored.paths)
    n_maps = N_HEAT_MAPS if args.heat_maps is None else args.heat_maps
    return small_maps_of_some(scored.detector, scored.paths, scored.rows, n_maps)
