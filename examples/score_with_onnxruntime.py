"""Score pictures with an exported detector: onnxruntime and Pillow, nothing else.

python score_with_onnxruntime.py detector.onnx picture.jpg ...

Exit code 0: all are scored; 3: some are not, and standard error says which.
"""

import json
import sys
from pathlib import Path

import numpy as np  # comes with onnxruntime
import onnxruntime
from PIL import Image, ImageOps

RESIZE = {
    "squash": Image.Image.resize,
    "shortest": ImageOps.fit,
    "longest": ImageOps.pad,
}
if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
model, *pictures = sys.argv[1:]
how = json.loads(Path(model).with_suffix(".preprocess.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(model)
print("path", *how["outputs"], "label", sep=",")
failed = 0
for path in pictures:
    try:
        image = ImageOps.exif_transpose(Image.open(path))
    except (OSError, ValueError) as error:
        failed = 3
        print(f"{path}: {error}", file=sys.stderr)
        continue
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray(((np.asarray(image, int) + 128) // 257).astype("uint8"))
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    filter_ = Image.Resampling[how["interpolation"].upper()]
    image = RESIZE[how["resize_mode"]](image.convert("RGB"), how["size"], filter_)
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
    scores = [float(s[0]) for s in session.run(how["outputs"], {"pixels": pixels})]
    print(
        path, *(f"{s:.6f}" for s in scores), int(scores[-1] > how["threshold"]), sep=","
    )
sys.exit(failed)
