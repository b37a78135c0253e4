"""``skclipad export``: a detector as an ONNX graph."""

import json
import os
import sys

from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._detectors import load_detector
from skclipad.cli._files import checked_target
from skclipad.cli._pictures import find_images
from skclipad.export import export_onnx


def run(args):
    """Export a detector and say how well the graph agrees with it."""
    target = checked_target(args.output, (".onnx",))
    images = None
    if args.pictures:
        images = find_images(args.pictures)
        if not images:
            raise ValueError(f"no pictures found in {', '.join(args.pictures)}.")

    result = export_onnx(
        load_detector(args),
        target,
        int8=args.int8,
        images=images,
        maps=False if args.no_maps else None,
        dynamo=args.dynamo or None,
    )
    echo(f"{result.path}: {os.path.getsize(result.path) / 1e6:.1f} MB")
    echo(f"{result.preprocess_path}: how pictures become its input")
    what = f"{len(images):,} pictures" if images else "noise"
    echo(f"agreement with the detector on {what}, as JSON:")
    json.dump(dict(result.agreement), sys.stdout, indent=2)
    print()
    return ALL_SCORED
