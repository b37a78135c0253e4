"""What a program has to know that runs the graph: the file beside it."""

import json
from importlib.metadata import version

# What a program has to do before it runs the graph
PREPARATION = [
    "open the file; turn it upright by its EXIF orientation",
    "bring it to 8 bits: `value_ranges` says what each PIL mode calls white",
    "put what is transparent on `background`; make it RGB",
    "resize it to `size`, (width, height), as `resize` says",
    "divide by 255; put the channels first: (n, 3, height, width), float32",
]
RESIZING = {
    "squash": ["resize the image to `size`, whatever its shape"],
    "shortest": [
        "scale = max(width / image width, height / image height)",
        "resized = scale * side of the image, rounded as `rounding` says, and at least "
        "the side of `size`",
        "offset = (resized - side of `size`) / 2, rounded half to even",
        "cut the box from offset to offset + side of `size` out of the resized image: "
        "in one step, as the box of the image from offset * unit to (offset + side of "
        "`size`) * unit, unit = side of the image / resized, resized to `size`",
    ],
    "longest": [
        "scale = min(width / image width, height / image height)",
        "inner = scale * side of the image, rounded as `rounding` says, and at least 1",
        "resize the image to inner",
        "paste it on a canvas of `size` in `padding_color`; its left upper corner lies "
        "at (side of `size` - inner) / 2, rounded down",
    ],
}


# What a program has to do with the map of patches
DRAWING = [
    "the map has a value for each patch; together they cover a box of the upright "
    "image, in its own pixels",
    "pixels have the value that lies on a straight line between the centres of the "
    "patches beside them, first along the rows, then along the columns; beyond the "
    "outermost centres they have the value of the nearest patch",
]
BOXES = {
    "squash": "the whole image",
    "shortest": "the box that is cut out: see `resize`",
    "longest": "the canvas: beyond the image by its padding, in pixels of the image "
    "(side of the image / inner)",
}


def description(detector, backbone, graph, int8, agreement):
    """Say how an image becomes the graph's input, and where the graph comes from."""
    embedder = detector.embedder
    parameters = detector.get_params(deep=False)
    parameters.pop("embedder")

    height, width = backbone.image_size
    preparation = {
        "steps": PREPARATION,
        "value_ranges": {"I": 2 ** (embedder.bit_depth or 16) - 1, "F": 1.0},
        "background": [255, 255, 255],
        "size": [width, height],
        "resize_mode": embedder.resize_mode,
        "interpolation": backbone.interpolation,
        "resize": _resizing(embedder.resize_mode, width, height),
        "input": "pixels",
    }
    model = ("model_name", "pretrained", "fingerprint")
    return preparation | {
        "outputs": graph.outputs,
        "scores": graph.score_outputs,
        "map": _drawing(embedder.resize_mode) if graph.gives_map else None,
        "threshold": float(detector.threshold),
        "int8": bool(int8),
        "agreement": agreement,
        "model": {name: getattr(backbone, name) for name in model},
        "detector": {name: _as_json(value) for name, value in parameters.items()},
        "versions": {name: version(name) for name in ("skclipad", "torch", "onnx")},
    }


def _resizing(resize_mode, width, height):
    """Describe what `skclipad._images.crops.resize_image` does to a whole image."""
    how = {"steps": RESIZING[resize_mode]}
    if resize_mode == "shortest":
        # As in `skclipad._images.crops`: open_clip rounds the sides of oblong input.
        how["rounding"] = "down" if width == height else "half to even"
    elif resize_mode == "longest":
        how |= {"rounding": "half to even", "padding_color": [0, 0, 0]}
    return how


def _drawing(resize_mode):
    """Say how the map of patches becomes one of pixels."""
    return {"output": "map", "box": BOXES[resize_mode], "steps": DRAWING}


def _as_json(value):
    try:
        json.dumps(value)
    except TypeError:
        return repr(value)
    return value
