"""``skclipad export``: a detector as an ONNX graph."""

import json
import os
import sys

from skclipad.cli._detectors import load_detector
from skclipad.cli._files import checked_target
from skclipad.cli._pictures import find_pictures
from skclipad.cli._talk import ALL_SCORED, say
from skclipad.export import export_onnx


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
    what = f"{len(pictures):,} pictures" if pictures else "noise"
    say(f"agreement with the detector on {what}, as JSON:")
    json.dump(dict(result.agreement), sys.stdout, indent=2)
    print()
    return ALL_SCORED
