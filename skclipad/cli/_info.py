"""``skclipad info``: what there is on this machine."""

import platform

from skclipad._clip.precision import (
    FAST_BF16,
    FAST_INT8,
    cpu_name,
    cpu_units,
    resolve_precision,
)
from skclipad._clip.sources import BUNDLED
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad.cli import _check_precision
from skclipad.cli._console import ALL_SCORED
from skclipad.cli._detectors import load_detector
from skclipad.cli._models import print_models
from skclipad.cli._parameters import MODEL_OPTIONS, RUNNING_OPTIONS, given
from skclipad.report import describe_run, package_versions

BF16 = {
    "amx_bf16": "yes (amx_bf16): three times as fast as fp32 where it was measured",
    "avx512_bf16": "yes (avx512_bf16): 1.9 times as fast as fp32 where it was measured",
    None: "no units for it here: slower than fp32",
}
INT8 = {
    True: "yes ({}): three times as fast as fp32 where it was measured",
    False: "no units for it here: refused, or slower than fp32",
}


def run(args):
    """Print versions, device, models with the paths of their towers, a detector."""
    _check_arguments(args)
    if args.models:
        print_models()
        return ALL_SCORED
    if args.check_precision is not None:
        return _check_precision.run(args)

    detector = None if args.detector is None else load_detector(args)
    for name, version in package_versions(missing="not installed").items():
        _tell(name, version)
    _tell("platform", platform.platform())

    settings = given(args, MODEL_OPTIONS | RUNNING_OPTIONS)
    names = {name.removeprefix("embedder__"): value for name, value in settings.items()}
    asked = [{"model_name": name} for name in BUNDLED]
    if given(args, MODEL_OPTIONS):
        asked = [{}]
    backbones = [load_clip(CLIPImageEmbedder(**one | names)) for one in asked]
    device = backbones[0].device
    _tell("device", device)
    auto = resolve_precision("auto", device)
    _tell("precision", f"auto is {auto} there; others change scores a little")
    if device.type == "cpu":
        _tell_processor()
    for backbone in backbones:
        _tell_model(backbone)
    if detector is not None:
        _tell_detector(detector)
    return ALL_SCORED


def _check_arguments(args):
    """Refuse images that nothing would look at, and a check without any."""
    if args.pictures and args.check_precision is None:
        raise ValueError(
            f"Got pictures ({args.pictures[0]!r}), but they are only looked at with "
            "--check-precision. Add it, or leave them out."
        )
    if args.check_precision is not None and not args.pictures:
        raise ValueError(
            f"Got --check-precision {args.check_precision} without pictures, but "
            "expected some to try it on. Name files or folders, say photos/."
        )


def _tell_processor():
    """Say what the processor has for fewer bits, and what that is worth."""
    units = cpu_units()
    _tell("processor", cpu_name())
    if units is None:
        return
    _tell("bf16", BF16[next((name for name in FAST_BF16 if name in units), None)])
    for_int8 = [name for name in FAST_INT8 if name in units]
    _tell("int8", INT8[bool(for_int8)].format(", ".join(for_int8)))


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
