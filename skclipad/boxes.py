"""Where maps are high: boxes around the areas above a level, in pixels of the image.

`find_boxes` makes them of one anomaly map, `area_level` and `normal_level` choose the
level, and `coco_dataset` puts the boxes of many images into COCO's format, which tools
for annotation read.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from skclipad.thresholds import conformal_threshold

__all__ = ["Box", "area_level", "coco_dataset", "find_boxes", "normal_level"]

N_LEVELS = 65536  # between 0 and 1: those of a map kept as a PNG of 16 bits
TOUCHING = np.ones((3, 3))  # areas that meet at a corner are one
CATEGORY = {"id": 1, "name": "anomaly", "supercategory": ""}


class Box(NamedTuple):
    """A connected area of an image that is anomalous.

    It is a named tuple, and unpacks like any other.

    Parameters
    ----------
    x, y : int
        Its left upper pixel.
    width, height : int
        Its size in pixels.
    area : int
        How many pixels of the box are above the level, about.
    score : float
        The highest value of the map in it.

    Examples
    --------
    >>> from skclipad.boxes import Box
    >>> x, y, width, height, *_ = Box(10, 20, 64, 32, 1500, 0.91)
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    score: float


def find_boxes(anomaly_map, level, *, image_size=None):
    """Find the connected areas of a map that are above a level.

    Maps are coarse, a few patches of the image tower across, and so are the boxes: they
    say where to look, not where a defect ends.

    Parameters
    ----------
    anomaly_map : array-like of shape (height, width)
        What `RandomWordCLIPDetector.anomaly_map` gives for one image; NaN is never
        above the level.
    level : float
        Pixels with a higher value belong to an area. Those that touch, at a corner too,
        belong to the same one.
    image_size : tuple of (int, int), default=None
        Width and height of the image, if the map is smaller or larger: boxes are in
        pixels of the image, rounded outwards. None is the map's own.

    Returns
    -------
    list of Box
        The areas, the largest first.

    Raises
    ------
    ValueError
        If the map is not two-dimensional.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.boxes import find_boxes
    >>> anomaly_map = np.zeros((4, 8))
    >>> anomaly_map[1:3, 2:5] = 0.9
    >>> find_boxes(anomaly_map, 0.5)
    [Box(x=2, y=1, width=3, height=2, area=6, score=0.9)]
    >>> find_boxes(anomaly_map, 0.5, image_size=(800, 400))
    [Box(x=200, y=100, width=300, height=200, area=60000, score=0.9)]
    """
    values = np.asarray(anomaly_map, dtype=np.float64)  # as levels are
    if values.ndim != 2:
        raise ValueError(
            f"Got a map of shape {values.shape} but expected (height, width)."
        )
    rows, columns = values.shape
    width, height = (columns, rows) if image_size is None else image_size
    across, down = width / columns, height / rows

    areas, n_areas = ndimage.label(values > level, TOUCHING)
    n_pixels = np.bincount(areas.ravel(), minlength=n_areas + 1)
    boxes = []
    for number, (vertical, horizontal) in enumerate(ndimage.find_objects(areas), 1):
        inside = areas[vertical, horizontal] == number
        x, right = _outwards(horizontal, across, width)
        y, bottom = _outwards(vertical, down, height)
        area = max(1, round(float(n_pixels[number] * across * down)))
        score = float(values[vertical, horizontal][inside].max())
        boxes.append(Box(x, y, right - x, bottom - y, area, score))
    return sorted(boxes, key=lambda box: (-box.area, -box.score, box.y, box.x))


def _outwards(span, scale, length):
    """Return the ends of a span in pixels of the image, rounded outwards."""
    # A millionth of a pixel is no pixel: 3 * (8 / 12) may be a little more than 2.
    start, stop = np.floor(span.start * scale + 1e-6), np.ceil(span.stop * scale - 1e-6)
    return int(start), int(min(stop, length))


def area_level(maps, share):
    """Choose the level that a share of the area of many maps is above.

    A share of the area is above it even where nothing is damaged: it suits a folder of
    which it is known that some of it is. Each map counts alike, whatever its size.

    Parameters
    ----------
    maps : iterable of array-like of shape (height, width)
        Maps with values in [0, 1]; they are read once, one at a time. NaN is left out.
    share : float
        Share of the area, above 0 and below 1.

    Returns
    -------
    float
        The lowest of 65,536 levels between 0 and 1 that at most this share is above.

    Raises
    ------
    ValueError
        If `share` is out of range, or there is no value.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.boxes import area_level
    >>> maps = [np.linspace(0, 1, 101)[None]]
    >>> round(area_level(maps, 0.25), 2)
    0.75
    """
    if not 0 < share < 1:
        raise ValueError(f"Got share={share!r} but expected 0 < share < 1.")

    weights = np.zeros(N_LEVELS)
    for one in maps:
        values = np.ravel(one).astype(np.float64)
        values = values[np.isfinite(values)].clip(0, 1)
        # Rounded up: what lies between two levels is above the lower one.
        levels = np.ceil(values * (N_LEVELS - 1)).astype(np.int64)
        weights += np.bincount(levels, minlength=N_LEVELS) / max(1, len(values))
    if not weights.any():
        raise ValueError("Got no map with a value, but expected one at least.")

    above = 1 - np.cumsum(weights) / weights.sum()
    return int(np.argmax(above <= share + 1e-9)) / (N_LEVELS - 1)


def normal_level(maps, *, fpr=None):
    """Choose a level that maps of normal images are rarely above.

    It looks at the highest value of each map, so that what is rare is an image with a
    box, however large.

    Parameters
    ----------
    maps : iterable of array-like of shape (height, width)
        Maps of images known to be normal, none of them a reference of the detector;
        they are read once, one at a time. Maps of NaN are left out.
    fpr : float, default=None
        Share of normal images that may have a box, with the guarantee of
        `skclipad.thresholds.conformal_threshold`. None is the highest value of all
        these maps: none of these images has a box.

    Returns
    -------
    float
        The level.

    Raises
    ------
    ValueError
        If there is no map with a value, or too few for `fpr`.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.boxes import normal_level
    >>> maps = [np.full((2, 2), value) for value in (0.1, 0.3, 0.2)]
    >>> normal_level(maps)
    0.3
    >>> normal_level(maps, fpr=0.5)
    0.2
    """
    highest = [np.max(one) for one in maps if np.isfinite(one).all()]
    if not highest:
        raise ValueError("Got no map with a value, but expected one at least.")
    return float(max(highest)) if fpr is None else conformal_threshold(highest, fpr)


def coco_dataset(names, sizes, boxes, *, info=None):
    """Put boxes of many images into COCO's format.

    What draws and corrects boxes by hand reads it, and so does what trains on them.

    Parameters
    ----------
    names : sequence of str of length n_images
        File names of the images.
    sizes : sequence of tuple of (int, int), of length n_images
        Width and height of the images.
    boxes : sequence of list of Box, of length n_images
        The boxes of each image.
    info : dict, default=None
        What else to say of the whole, under "info".

    Returns
    -------
    dict
        "info", "images", "annotations" and "categories", to be written as JSON. Each
        annotation has its "score" beside what COCO asks for, and no outline: its
        "segmentation" is empty. The one category is "anomaly".

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> from skclipad.boxes import Box, coco_dataset
    >>> dataset = coco_dataset(["a.jpg"], [(80, 60)], [[Box(5, 6, 20, 10, 150, 0.9)]])
    >>> dataset["annotations"][0]["bbox"]
    [5, 6, 20, 10]
    """
    if not len(names) == len(sizes) == len(boxes):
        raise ValueError(
            f"Got {len(names)} names, {len(sizes)} sizes and {len(boxes)} lists of "
            "boxes, but expected one of each for every image."
        )

    images, annotations = [], []
    for name, (width, height), found in zip(names, sizes, boxes, strict=True):
        number = len(images) + 1
        size = {"width": int(width), "height": int(height)}
        images.append({"id": number, "file_name": str(name), **size})
        for box in found:
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
            annotations.append(about | _annotation(box))
    return {
        "info": dict(info or {}),
        "images": images,
        "annotations": annotations,
        "categories": [dict(CATEGORY)],
    }


def _annotation(box):
    return {
        "bbox": list(box[:4]),
        "area": box.area,
        "score": box.score,
        "iscrowd": 0,
        "segmentation": [],
    }
