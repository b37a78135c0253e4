"""``skclipad export``: a detector as an ONNX graph."""

import os

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

    detector = load_detector(args)
    what = f"{len(images):,} pictures" if images else "noise"
    echo(f"writing the graph, and comparing it with the detector on {what} ...")
    result = export_onnx(
        detector,
        target,
        int8=args.int8,
        images=images,
        maps=False if args.no_maps else None,
        dynamo=args.dynamo or None,
    )
    echo(f"{result.path}: {os.path.getsize(result.path) / 1e6:.1f} MB")
    echo(f"{result.preprocess_path}: how pictures become its input")
    if not args.no_maps and "map" not in result.agreement["max_difference"]:
        name = detector.embedder.model_name
        echo(f"no maps in the graph: the image tower of {name} is no plain ViT")
    print(f"agrees with the detector on {what}: {_agreement(result.agreement)}")
    return ALL_SCORED


def _agreement(measured):
    """Say how far a graph is from its detector."""
    differences = dict(measured["max_difference"])
    of_map = differences.pop("map", None)
    told = [f"scores to {max(differences.values()):.1g}"]
    if of_map is not None:
        told.append(f"maps to {of_map:.1g}")

    same = measured["same_label"]
    told.append("all labels" if same == 1 else f"{100 * same:.1f} % of labels")
    ranks = measured["rank_correlation"]
    if same < 1 and ranks is not None:
        told.append(f"rank correlation {ranks:.4f}")
    return ", ".join(told)
