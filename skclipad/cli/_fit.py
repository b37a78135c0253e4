"""``skclipad fit``: train a detector on random words and keep it in a file."""

import joblib

from skclipad.cli._detectors import (
    DETECTOR_OPTIONS,
    RUNNING_OPTIONS,
    add_parameters,
    new_detector,
)
from skclipad.cli._files import checked_target, whole
from skclipad.cli._pictures import find_pictures
from skclipad.cli._talk import ALL_SCORED, say, whole_number

EPILOG = """\
examples:
  skclipad fit -o detector.joblib
  skclipad fit -o bottles.joblib --object bottle --anomaly "a broken"
  skclipad fit -o bottles.joblib --n-shots 4 --normal-dir good-bottles/
  skclipad fit -o tiny.joblib --model tiny       the small bundled model, for a try"""
SHOTS_HELP = "how many pictures of --normal-dir to keep as references (0)"
NORMAL_HELP = "with --n-shots, a folder of pictures known to be normal"


def add_arguments(parser):
    """Add the arguments of ``skclipad fit``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help="say detector.joblib")
    add("--n-shots", type=whole_number(1), metavar="K", help=SHOTS_HELP)
    add("--normal-dir", metavar="DIR", help=NORMAL_HELP)
    add_parameters(add, DETECTOR_OPTIONS | RUNNING_OPTIONS)


def run(args):
    """Fit a detector and write it.

    Raises
    ------
    ValueError
        If arguments contradict each other or do not fit, or the target cannot be
        written.
    """
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
        pictures = find_pictures([args.normal_dir])
        if len(pictures) < args.n_shots:
            raise ValueError(
                f"--normal-dir {args.normal_dir} holds {len(pictures)} pictures, but "
                f"--n-shots {args.n_shots} needs as many."
            )
        detector.set_params(n_shots=args.n_shots).fit(pictures)
    with whole(target) as path:
        joblib.dump(detector, path)
    size = target.stat().st_size / 1000
    say(f"{target}: {size:.0f} kB, fitted in {detector.fit_time_:.1f} s")
    return ALL_SCORED
