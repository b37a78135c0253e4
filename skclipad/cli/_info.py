"""``skclipad info``: what there is on this machine."""

import platform

from skclipad._clip.backbone import BUNDLED
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad.cli._console import ALL_SCORED
from skclipad.cli._detectors import load_detector
from skclipad.cli._models import print_models
from skclipad.cli._parameters import MODEL_OPTIONS, given
from skclipad.report import describe_run, package_versions


def run(args):
    """Print versions, device, models with the paths of their towers, a detector."""
    if args.models:
        print_models()
        return ALL_SCORED

    detector = None if args.detector is None else load_detector(args)
    for name, version in package_versions(missing="not installed").items():
        _tell(name, version)
    _tell("platform", platform.platform())

    settings = given(args, MODEL_OPTIONS)
    names = {name.removeprefix("embedder__"): value for name, value in settings.items()}
    asked = [names] if names else [{"model_name": name} for name in BUNDLED]
    backbones = [load_clip(CLIPImageEmbedder(**names)) for names in asked]
    _tell("device", backbones[0].device)
    for backbone in backbones:
        _tell_model(backbone)
    if detector is not None:
        _tell_detector(detector)
    return ALL_SCORED


def _tell_detector(detector):
    sections = describe_run(detector)
    for name, value in (sections["Run"] | sections["Detector"]).items():
        if name != "date":
            _tell(name, value)


def _tell_model(backbone):
    height, width = backbone.image_size
    parameters = sum(p.numel() for p in backbone.model.parameters()) / 1e6
    name = backbone.model_name
    _tell(
        f"bundled {name}" if name in BUNDLED else name,
        f"{parameters:.1f} million parameters, reads {width} x {height} pixels",
    )
    for tower in ("image", "text"):
        cost = backbone.slow_paths.get(tower)
        _tell(f"{tower} tower", "fast path" if cost is None else f"slow path: {cost}")


def _tell(name, value):
    print(f"{name:<16} {value}")
