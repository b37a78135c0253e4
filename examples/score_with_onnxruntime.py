"""Score images with an exported detector: onnxruntime and Pillow, nothing else.

python score_with_onnxruntime.py detector.onnx image.jpg ...

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
    """Bring an image to the size that the graph reads."""
    size, mode, details = how["size"], how["resize_mode"], how["resize"]
    interpolation = Image.Resampling[how["interpolation"].upper()]
    if mode == "squash":
        return image.resize(size, interpolation)

    sides = list(zip(size, image.size, strict=True))
    rounded = ROUND[details["rounding"]]
    if mode == "longest":
        scale = min(target / side for target, side in sides)
        inner = [max(1, rounded(scale * side)) for _, side in sides]
        corner = [(t - s) // 2 for t, s in zip(size, inner, strict=True)]
        canvas = Image.new("RGB", size, tuple(details["padding_color"]))
        canvas.paste(image.resize(inner, interpolation), corner)
        return canvas

    scale = max(target / side for target, side in sides)
    starts, ends = [], []
    for target, side in sides:
        resized = max(target, rounded(scale * side))
        offset = round((resized - target) / 2)
        unit = side / resized
        starts.append(offset * unit)
        ends.append((offset + target) * unit)
    return image.resize(size, interpolation, (*starts, *ends))


if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
model, *paths = sys.argv[1:]
how = json.loads(Path(model).with_suffix(".preprocess.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(model)
print("path", *how["outputs"], "label", sep=",")
failed = 0
for path in paths:
    try:
        image = resize(read(path, how), how)
    except Exception as error:  # broken files make Pillow raise of every kind
        failed = 3
        print(f"{path}: {error}", file=sys.stderr)
        continue
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
    scores = [float(s[0]) for s in session.run(how["outputs"], {"pixels": pixels})]
    label = int(scores[-1] > how["threshold"])
    print(path, *(f"{s:.6f}" for s in scores), label, sep=",")
sys.exit(failed)
