"""Which parts of an image the model looks at, and how each becomes its input."""

import math

import numpy as np
from PIL import Image

CROPS = ("whole", "tiles", "multi")
RESIZE_MODES = ("squash", "shortest", "longest")
INTERPOLATIONS = {
    name.lower(): number for name, number in Image.Resampling.__members__.items()
}

# "tiles": squares of the short side, each TILE_STRIDE of a side after the last one.
TILE_STRIDE = 0.8
# "multi": squares of MULTI_SHARE of the short side, evenly spread and neighbours at
# most MULTI_STRIDE of a crop apart. No paper says it: our choice, by measurement on
# small painted defects (benchmarks/crops.py), where smaller crops found less.
MULTI_SHARE = 0.85
MULTI_STRIDE = 2 / 3
# Crops along the long side. A strip of 1 x 30000 pixels must not become 30000 crops.
MAX_ALONG = 16
GEOMETRY = (TILE_STRIDE, MULTI_SHARE, MULTI_STRIDE, MAX_ALONG)


def crop_boxes(width, height, crops="whole"):
    """Return the boxes of an image that are shown to the model.

    Parameters
    ----------
    width, height : int
        Size of the image in pixels.
    crops : {"whole", "tiles", "multi"} or callable, default="whole"
        Which boxes:

        - ``"whole"``: one box, the whole image.
        - ``"tiles"``: a square image whole; any other cut into squares of its short
          side, 0.8 of a side apart, the last one flush with the end.
        - ``"multi"``: the whole image and overlapping square crops of 0.85 of its
          short side, evenly spread: 2 x 2 in a square image, in others as many along
          the long side as overlap by a third or more.
        - a callable: ``crops(width, height)`` returns the boxes.

        At most 16 crops stand along one side; in an image longer than that allows,
        they grow along it.

    Returns
    -------
    list of tuple
        Boxes (left, top, right, bottom) in pixels, not empty and inside the image.

    Examples
    --------
    >>> from skclipad._images.crops import crop_boxes
    >>> crop_boxes(250, 100, "tiles")
    [(0, 0, 100, 100), (80, 0, 180, 100), (150, 0, 250, 100)]
    >>> crop_boxes(100, 100, "multi")[1:]
    [(0, 0, 85, 85), (15, 0, 100, 85), (0, 15, 85, 100), (15, 15, 100, 100)]
    """
    whole = (0, 0, width, height)
    if callable(crops):
        return _checked_boxes(crops(width, height), width, height)

    if crops == "whole" or (crops == "tiles" and width == height):
        return [whole]
    if crops == "tiles":
        side = min(width, height)
        return _grid(_tile_spans(width, side), _tile_spans(height, side))
    if crops == "multi":
        side = math.ceil(MULTI_SHARE * min(width, height) - 1e-9)
        boxes = _grid(_multi_spans(width, side), _multi_spans(height, side))
        return list(dict.fromkeys([whole, *boxes]))

    raise ValueError(
        f"Got crops={crops!r}, but expected one of {', '.join(map(repr, CROPS))} or a "
        "callable (width, height) -> boxes."
    )


def _grid(columns, rows):
    return [
        (left, top, right, bottom) for top, bottom in rows for left, right in columns
    ]


def _tile_spans(length, side):
    """Return (start, end) of tiles along one side of an image, the last one flush."""
    side = max(side, math.ceil(length / (1 + (MAX_ALONG - 1) * TILE_STRIDE)))
    stride, last = TILE_STRIDE * side, length - side
    starts = [round(i * stride) for i in range(math.ceil(last / stride - 1e-9))]
    return [(start, start + side) for start in dict.fromkeys([*starts, last])]


def _multi_spans(length, side):
    """Return (start, end) of evenly spread crops along one side, two at least."""
    side = max(side, math.ceil(length / (1 + (MAX_ALONG - 1) * MULTI_STRIDE)))
    n_crops = 1 + max(1, math.ceil((length - side) / (MULTI_STRIDE * side) - 1e-9))
    starts = np.linspace(0, length - side, n_crops).round().astype(int).tolist()
    return [(start, start + side) for start in dict.fromkeys(starts)]


def _checked_boxes(boxes, width, height):
    """Return a callable's boxes as tuples of numbers, or say what is wrong."""
    checked = []
    try:
        for box in boxes:
            left, top, right, bottom = map(float, box)
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise ValueError(f"{box!r} is empty or leaves the image")
            sides = (left, top, right, bottom)
            checked.append(tuple(int(v) if v.is_integer() else v for v in sides))

        if not checked:
            raise ValueError("there is no box")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Got {boxes!r} from the callable crops for an image {width} wide and "
            f"{height} high ({error}), but expected boxes (left, top, right, bottom) "
            f"in pixels with 0 <= left < right <= {width} and 0 <= top < bottom <= "
            f"{height}."
        ) from error
    return checked


def resize_image(
    image, box, size, resize_mode="squash", interpolation="bicubic", fill=0
):
    """Cut a box out of an image and resize it to the model's input size.

    Parameters
    ----------
    image : PIL.Image.Image
        An image in mode RGB. It is not changed.
    box : tuple of 4 numbers
        Left, top, right and bottom in pixels, see :func:`crop_boxes`.
    size : int or (int, int)
        Input size of the model: one side of a square, or (height, width).
    resize_mode : {"squash", "shortest", "longest"}, default="squash"
        ``"squash"`` keeps all of the box and lets its shape go; ``"shortest"`` fits
        the shorter side and cuts the rest off on both sides; ``"longest"`` fits the
        longer side and pads. open_clip's names.
    interpolation : str, default="bicubic"
        Name of a Pillow resampling filter in small letters.
    fill : int or (int, int, int), default=0
        Grey value or RGB colour of the padding, 0..255.

    Returns
    -------
    ndarray of shape (height, width, 3), dtype uint8
        The pixels, writable.

    Notes
    -----
    Crop and resize are one operation of Pillow's, so a crop costs what its output
    costs, even the centre of a strip of 1 x 30000 pixels. Near the border of a box the
    filter sees the pixels outside, as it would if the image were resized first.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"Got interpolation={interpolation!r}, but expected one of "
            f"{', '.join(map(repr, INTERPOLATIONS))}."
        )

    height, width = (size, size) if np.isscalar(size) else size
    resample = INTERPOLATIONS[interpolation]
    if resize_mode == "squash":
        return np.array(image.resize((width, height), resample, box))
    if resize_mode == "shortest":
        box = _centre_box(box, width, height)
        return np.array(image.resize((width, height), resample, box))
    if resize_mode == "longest":
        inner, corner = _fitted_inside(box[2] - box[0], box[3] - box[1], width, height)
        colour = (fill, fill, fill) if np.isscalar(fill) else tuple(fill)
        canvas = Image.new("RGB", (width, height), colour)
        canvas.paste(image.resize(inner, resample, box), corner)
        return np.array(canvas)

    raise ValueError(
        f"Got resize_mode={resize_mode!r}, but expected one of "
        f"{', '.join(map(repr, RESIZE_MODES))}."
    )


def seen_box(width, height, size, resize_mode="squash"):
    """Return which part of an image fills the model's input of (height, width) pixels.

    Left, top, right and bottom lie inside the image where "shortest" cuts off, and
    outside where "longest" pads.

    Examples
    --------
    >>> from skclipad._images.crops import seen_box
    >>> seen_box(200, 100, (50, 50), "longest")
    (0.0, -48.0, 200.0, 152.0)
    """
    if resize_mode == "squash":
        return (0, 0, width, height)
    if resize_mode == "shortest":
        return _centre_box((0, 0, width, height), size[1], size[0])

    inner, corner = _fitted_inside(width, height, size[1], size[0])
    zoom = width / inner[0], height / inner[1]
    left, top = -corner[0] * zoom[0], -corner[1] * zoom[1]
    return left, top, left + size[1] * zoom[0], top + size[0] * zoom[1]


def _fitted_inside(box_width, box_height, width, height):
    """Return size and corner of a box that is fitted into another, in its pixels."""
    scale = min(width / box_width, height / box_height)
    inner = max(1, round(scale * box_width)), max(1, round(scale * box_height))
    return inner, ((width - inner[0]) // 2, (height - inner[1]) // 2)


def _centre_box(box, width, height):
    """Return the part of `box` that is left when its shorter side is fitted.

    The whole pixels of open_clip's transform, in source coordinates: it resizes all of
    the box to whole pixels and then cuts a centre of whole pixels out of that.
    """
    left, top, right, bottom = box
    scale = max(width / (right - left), height / (bottom - top))
    # torchvision's Resize rounds down, open_clip's own for oblong input does not.
    to_pixels = int if width == height else round

    centre = []
    for start, end, target in ((left, right, width), (top, bottom, height)):
        length = end - start
        resized = max(target, to_pixels(scale * length))
        offset = round((resized - target) / 2)
        unit = length / resized
        centre.append((start + offset * unit, start + (offset + target) * unit))
    (left, right), (top, bottom) = centre
    return left, top, right, bottom
