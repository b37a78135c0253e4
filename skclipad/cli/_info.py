"""``skclipad info``: what there is on this machine."""

import platform

from skclipad._clip.backbone import resolve_device
from skclipad._clip.precision import (
    FAST_BF16,
    FAST_INT8,
    cpu_name,
    cpu_units,
    resolve_precision,
)
from skclipad.cli import _check_precision
from skclipad.cli._console import ALL_SCORED, print_aligned
from skclipad.cli._detectors import load_detector
from skclipad.cli._info_models import (
    bundled_lines,
    detector_lines,
    detector_model_lines,
    named_lines,
)
from skclipad.cli._models import print_models
from skclipad.cli._parameters import MODEL_OPTIONS, given
from skclipad.report import package_versions

MEASURED = "as fast as fp32, as measured with ViT-B-16-plus-240"
BF16 = {
    "amx_bf16": "yes (amx_bf16): three times as fast as fp32 for large transformers",
    "avx512_bf16": f"yes (avx512_bf16): 1.9 times {MEASURED}; lite gets no faster",
    None: "no units for it here: slower than fp32",
}
INT8 = {
    True: f"yes ({{}}): three times {MEASURED}; lite is refused",
    False: "no units for it here: refused, or slower than fp32",
}


def run(args):
    """Print versions, device, models with the paths of their towers, a detector."""
    _check_arguments(args)
    if args.models:
        print_models(given(args, MODEL_OPTIONS).get("embedder__model_name"))
        return ALL_SCORED
    if args.check_precision is not None:
        return _check_precision.run(args)

    # What may be refused comes first.
    detector = None if args.detector is None else load_detector(args)
    device = resolve_device(getattr(args, "embedder__device", "auto"))
    if detector is not None:
        about = [*detector_model_lines(detector), *detector_lines(detector)]
    elif given(args, MODEL_OPTIONS):
        about = named_lines(args)
    else:
        about = bundled_lines(device)

    versions = package_versions(missing="not installed").items()
    machine = ("platform", platform.platform())
    print_aligned([*versions, machine, *_device_lines(device), *about])
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


def _device_lines(device):
    """Yield where models run, and what that is fast at."""
    yield "device", str(device)
    auto = resolve_precision("auto", device)
    yield "precision", f"auto is {auto} there; others change scores a little"
    if device.type == "cpu":
        yield from _processor_lines()


def _processor_lines():
    """Yield what the processor has for fewer bits, and what that is worth."""
    units = cpu_units()
    yield "processor", cpu_name()
    if units is None:
        return
    yield "bf16", BF16[next((name for name in FAST_BF16 if name in units), None)]
    for_int8 = [name for name in FAST_INT8 if name in units]
    yield "int8", INT8[bool(for_int8)].format(", ".join(for_int8))
