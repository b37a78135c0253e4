"""``skclipad info``: what there is on this machine."""

import platform

from skclipad._clip.backbone import BUNDLED
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad.cli._console import ALL_SCORED
from skclipad.cli._detectors import load_detector
from skclipad.report import describe_run, package_versions


def run(args):
    """Print versions, device, the bundled models, and what a detector is."""
    detector = None if args.detector is None else load_detector(args)
    for name, version in package_versions(missing="not installed").items():
        print(f"{name:<16} {version}")
    print(f"{'platform':<16} {platform.platform()}")

    backbones = {n: load_clip(CLIPImageEmbedder(model_name=n)) for n in BUNDLED}
    print(f"{'device':<16} {backbones['tiny'].device}")
    for name, backbone in backbones.items():
        height, width = backbone.image_size
        parameters = sum(p.numel() for p in backbone.model.parameters()) / 1e6
        print(
            f"{'bundled ' + name:<16} {parameters:.1f} million parameters, reads "
            f"{width} x {height} pixels"
        )

    if detector is not None:
        sections = describe_run(detector)
        for name, value in (sections["Run"] | sections["Detector"]).items():
            if name != "date":
                print(f"{name:<16} {value}")
    return ALL_SCORED
