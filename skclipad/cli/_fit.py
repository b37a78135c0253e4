"""``skclipad fit``: train a detector on random words and keep it in a file."""

import joblib

from skclipad._storage.files import atomic_write
from skclipad._storage.stopped import Work
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._detectors import new_detector, warn_of_bundled
from skclipad.cli._files import checked_target
from skclipad.cli._pictures import find_images


def run(args):
    """Fit a detector and write it."""
    target = checked_target(args.output)
    if (args.n_shots is None) != (args.normal_dir is None):
        raise ValueError(
            "--n-shots and --normal-dir go together: how many references, and the "
            "normal pictures to take them from."
        )

    detector = new_detector(args)
    if args.n_shots is None:
        detector.fit()
    else:
        images = find_images([args.normal_dir])
        if len(images) < args.n_shots:
            raise ValueError(
                f"--normal-dir {args.normal_dir} holds {len(images)} pictures, but "
                f"--n-shots {args.n_shots} needs as many."
            )
        detector.set_params(n_shots=args.n_shots).fit(images)

    with Work() as work, atomic_write(target) as path:
        work.begin()
        joblib.dump(detector, path)
    warn_of_bundled(detector)
    size = target.stat().st_size / 1000
    echo(f"{target}: {size:.0f} kB, fitted in {detector.fit_time_:.1f} s")
    return ALL_SCORED
