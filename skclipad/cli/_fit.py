"""``skclipad fit``: train a detector on random words and keep it in a file."""

import joblib

from skclipad._storage.files import atomic_write
from skclipad._storage.stopped import Work
from skclipad._system import shell_line
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._detectors import warn_of_bundled
from skclipad.cli._files import checked_target
from skclipad.cli._references import fitted_detector
from skclipad.cli._weights import check_weights


def run(args):
    """Fit a detector and write it."""
    target = checked_target(args.output)
    check_weights(args)
    detector = fitted_detector(args)

    with Work() as work, atomic_write(target) as path:
        work.begin()
        joblib.dump(detector, path)
    warn_of_bundled(detector)
    size = target.stat().st_size / 1000
    echo(f"{target}: {size:.0f} kB, fitted in {detector.fit_time_:.1f} s")
    name = shell_line([str(target)])
    echo(f"next: skclipad score PICTURES -d {name} -o scores.csv --report report.html")
    return ALL_SCORED
