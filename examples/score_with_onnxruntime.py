"""Score images with an exported detector: onnxruntime and Pillow, nothing else.

python score_with_onnxruntime.py detector.onnx image.jpg ...
python score_with_onnxruntime.py detector.onnx --maps FOLDER image.jpg ...

With a FOLDER, the anomaly map of each image is drawn there, white for a score of 1.
Exit code 0: all are scored; 3: some are not, and standard error says which.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np  # comes with onnxruntime
import onnxruntime
from PIL import Image, ImageOps

ROUND = {"down": math.floor, "half to even": round}


def read(path, how):
    """Open a file as upright RGB of 8 bits."""
    image = Image.open(path)
    if image.format == "EPS":
        raise ValueError("EPS files are programs and are not run")
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:
        pass  # broken EXIF does not spoil the pixels

    white = how["value_ranges"].get(image.mode[:1])  # I is 16 bits, F is float
    if white:
        values = np.asarray(image, np.float64) / white
        if not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
            raise ValueError(f"its values do not lie in 0..{white}")
        values = np.rint(values.clip(0, 1) * 255)
        image = Image.fromarray(values.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGB", image.size, tuple(how["background"]))
        background.paste(image, mask=image)
        image = background
    return image.convert("RGB")


def resize(image, how):
    """Bring an image to the size that the graph reads, and say which box that shows."""
    size, mode, details = how["size"], how["resize_mode"], how["resize"]
    interpolation = Image.Resampling[how["interpolation"].upper()]
    if mode == "squash":
        return image.resize(size, interpolation), (0, 0, *image.size)

    sides = list(zip(size, image.size, strict=True))
    rounded = ROUND[details["rounding"]]
    if mode == "longest":
        scale = min(target / side for target, side in sides)
        inner = [max(1, rounded(scale * side)) for _, side in sides]
        corner = [(t - s) // 2 for t, s in zip(size, inner, strict=True)]
        canvas = Image.new("RGB", size, tuple(details["padding_color"]))
        canvas.paste(image.resize(inner, interpolation), tuple(corner))
        units = np.divide(image.size, inner)
        starts = -np.array(corner) * units
        return canvas, (*starts, *(starts + np.array(size) * units))

    scale = max(target / side for target, side in sides)
    starts, ends = [], []
    for target, side in sides:
        resized = max(target, rounded(scale * side))
        offset = round((resized - target) / 2)
        unit = side / resized
        starts.append(offset * unit)
        ends.append((offset + target) * unit)
    box = (*starts, *ends)
    return image.resize(size, interpolation, box), box


def draw(patches, size, box):
    """Interpolate a map of patches, which cover a box of an image, to its pixels."""
    for axis, (length, start, end) in enumerate(
        zip(size, box[:2], box[2:], strict=True)
    ):
        n = patches.shape[1 - axis]
        centres = (np.arange(length) + 0.5 - start) / (end - start) * n - 0.5
        lines = np.moveaxis(patches, 1 - axis, -1)
        lines = [np.interp(centres, np.arange(n), line) for line in lines]
        patches = np.moveaxis(np.stack(lines), -1, 1 - axis)
    return patches  # (height, width)


def save_map(patches, image, box, folder, path):
    """Write the map of an image as grey PNG of 16 bits, 65535 for a score of 1."""
    values = np.rint(draw(patches, image.size, box) * 65535).astype(np.uint16)
    Image.fromarray(values).save(Path(folder, f"{Path(path).name}.png"))


arguments = sys.argv[1:]
folder = None
if arguments[1:2] == ["--maps"]:
    folder = arguments.pop(2) if arguments[2:] else sys.exit(__doc__)
    del arguments[1]
if len(arguments) < 2 or arguments[0].startswith("-"):
    sys.exit(__doc__)

model, *paths = arguments
how = json.loads(Path(model).with_suffix(".preprocess.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(model)
wanted = how["scores"] + ([how["map"]["output"]] if folder else [])
options = onnxruntime.RunOptions()
options.only_execute_path_to_fetches = True  # no map is made that nobody asks for
print("path", *how["scores"], "label", sep=",")
failed = 0
for path in paths:
    try:
        image = read(path, how)
    except Exception as error:  # broken files make Pillow raise of every kind
        failed = 3
        print(f"{path}: {error}", file=sys.stderr)
        continue
    resized, box = resize(image, how)
    pixels = np.asarray(resized, np.float32).transpose(2, 0, 1)[None] / 255
    found = [one[0] for one in session.run(wanted, {"pixels": pixels}, options)]
    if folder:
        save_map(found.pop(), image, box, folder, path)
    scores = [float(score) for score in found]
    label = int(scores[-1] > how["threshold"])
    print(path, *(f"{s:.6f}" for s in scores), label, sep=",")
sys.exit(failed)
