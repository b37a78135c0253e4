"""``skclipad export``: a detector as an ONNX graph."""

import json
import os
import sys

from skclipad.cli._detectors import DETECTOR_HELP, load_detector
from skclipad.cli._files import checked_target
from skclipad.cli._pictures import find_pictures
from skclipad.cli._talk import ALL_SCORED, say
from skclipad.export import export_onnx

EPILOG = """\
examples:
  skclipad export -d detector.joblib -o detector.onnx
  skclipad export -d detector.joblib -o small.onnx --int8 --pictures photos/

Beside the graph stands a file such as detector.preprocess.json: how a picture becomes
its input. examples/score_with_onnxruntime.py reads both."""
INT8_HELP = "keep the weights in 8 bits: a quarter of the size, and other scores"
PICTURES_HELP = """\
pictures to measure the graph's agreement with the detector on (default: noise, which
says little about --int8)"""


def add_arguments(parser):
    """Add the arguments of ``skclipad export``."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("-d", "--detector", required=True, metavar="FILE", help=DETECTOR_HELP)
    add("-o", "--output", required=True, metavar="FILE", help="say detector.onnx")
    add("--int8", action="store_true", help=INT8_HELP)
    add("--pictures", nargs="+", metavar="PICTURES", help=PICTURES_HELP)


def run(args):
    """Export a detector and say how well the graph agrees with it.

    Raises
    ------
    ValueError
        If the target cannot be written, there are no pictures where there should be,
        or the detector cannot be exported.
    """
    target = checked_target(args.output, (".onnx",))
    pictures = None
    if args.pictures:
        pictures = find_pictures(args.pictures)
        if not pictures:
            raise ValueError(f"no pictures found in {', '.join(args.pictures)}.")
    result = export_onnx(load_detector(args), target, int8=args.int8, images=pictures)
    say(f"{result.path}: {os.path.getsize(result.path) / 1e6:.1f} MB")
    say(f"{result.preprocess_path}: how pictures become its input")
    json.dump(dict(result.agreement), sys.stdout, indent=2)
    print()
    return ALL_SCORED
