"""What ``skclipad info`` says of models and detectors: pairs of a name and a value."""

from skclipad._clip.sources import BUNDLED
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad._references import describe_references
from skclipad.cli._models import table_row
from skclipad.cli._parameters import MODEL_OPTIONS, RUNNING_OPTIONS, given, in_options
from skclipad.cli._weights import asked_embedder, load_or_draw

READING = ("crops", "resize_mode", "decode", "precision", "region", "bit_depth")
DRAWN = "size and paths below are those of random ones"
MISSING = f"not on this machine: {DRAWN}"


def bundled_lines(device):
    """Yield what there is to be said of the bundled models."""
    for name in BUNDLED:
        backbone = load_clip(CLIPImageEmbedder(name, device=str(device)))
        yield f"bundled {name}", _size_of(backbone)
        yield from _path_lines(backbone)


def named_lines(args):
    """Return what there is to be said of the model that the options name."""
    settings = given(args, MODEL_OPTIONS | RUNNING_OPTIONS)
    names = {name.removeprefix("embedder__"): value for name, value in settings.items()}
    embedder, weights = asked_embedder(args, names)
    backbone, has_weights = load_or_draw(embedder)

    lines = [("model", f"{embedder.model_name}, {_size_of(backbone)}")]
    if weights is not None or not has_weights:
        lines.append(("weights", _with_fate(weights, embedder, has_weights)))
    row = table_row(embedder.model_name)
    if row is not None:
        told = [f"{column} {value}" for column, value in row.items() if value]
        lines.append(("in the table", ", ".join(told[1:])))
    return [*lines, *_path_lines(backbone)]


def detector_model_lines(detector):
    """Yield which CLIP a detector has, how it reads images, and what its towers are."""
    embedder, kept = detector.embedder, detector.backbone_
    weights = f"{_weights_of(embedder)}, fingerprint {kept}"
    paths = []
    try:
        backbone, has_weights = load_or_draw(embedder)
    except (ImportError, OSError, ValueError) as error:
        yield "model", f"{embedder.model_name}, which cannot be looked at: {error}"
    else:
        yield "model", f"{embedder.model_name}, {_size_of(backbone)}"
        weights = _with_fate(weights, embedder, has_weights)
        if has_weights and backbone.fingerprint != kept:
            weights += f"; on this machine are others, {backbone.fingerprint}"
        paths = _path_lines(backbone)

    yield "weights", weights
    told = {name: getattr(embedder, name) for name in READING}
    yield "reads", ", ".join(f"{n} {_shown(v)}" for n, v in told.items() if v)
    yield from paths


def detector_lines(detector):
    """Yield how a detector was made."""
    if detector.references_ is not None:
        yield "references", describe_references(detector)
    yield "fitted in", f"{detector.fit_time_:.1f} s"
    for name, value in detector.get_params(deep=False).items():
        if name != "embedder":
            yield name, _shown(value)


def _shown(value):
    """Write a value of a parameter for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)


def _weights_of(embedder):
    if embedder.model_name in BUNDLED:
        return "bundled"
    if embedder.model_name.startswith(("local-dir:", "hf-hub:")):
        return "those of the model"
    return _shown(embedder.pretrained)


def _with_fate(weights, embedder, has_weights):
    """Say of weights, or of those that an embedder names, whether they are there."""
    weights = weights or embedder.pretrained
    if has_weights:
        return weights
    return f"{weights}; {DRAWN if embedder.pretrained is None else MISSING}"


def _size_of(backbone):
    height, width = backbone.image_size
    parameters = sum(p.numel() for p in backbone.model.parameters()) / 1e6
    return f"{parameters:.1f} million parameters, reads {width} x {height} pixels"


def _path_lines(backbone):
    for tower in ("image", "text"):
        cost = backbone.slow_paths.get(tower)
        path = "fast path" if cost is None else f"slow path: {in_options(cost)}"
        yield f"{tower} tower", path
