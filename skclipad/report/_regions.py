"""The region that was looked at, as a line around it and in words."""

import numpy as np
from PIL import Image

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import image_size
from skclipad._images.regions import parse_region

SIDE = 200  # pixels of a mask whose outline is drawn: more are not seen


def region_of_page(region, images):
    """Describe a region for the page; None without one.

    Returns what is said of it, the outline as the data of an SVG path in pixels of the
    images, and width and height of each image, None for one that it does not fit.
    """
    region = parse_region(region)
    if region is None:
        return None
    sizes = [_size(image, region) for image in images]
    return {"said": _words(region), "path": _outline(region), "sizes": sizes}


def _size(image, region):
    try:
        width, height = image_size(image)
    except ImageReadError:
        return None
    if region.size is None:
        fits = region.box[2] <= width and region.box[3] <= height
    else:
        fits = region.size == (width, height)
    return [width, height] if fits else None


def _words(region):
    left, top, right, bottom = region.box
    if region.mask is None:
        what = (
            f"{right - left:,} x {bottom - top:,} pixels of each picture are looked "
            f"at, {left:,} from the left and {top:,} from above"
        )
    else:
        share = region.mask.sum() / (region.size[0] * region.size[1])
        what = f"{share:.0%} of each picture is looked at, what a mask shows white"
    return f"{what}: a line is around it. What lies outside changes no score."


def _outline(region):
    left, top, right, bottom = region.box
    if region.mask is None:
        return f"M{left} {top}H{right}V{bottom}H{left}Z"

    mask = Image.fromarray(region.mask)
    mask.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    mask = np.pad(np.asarray(mask), 1)
    x = np.linspace(left, right, mask.shape[1] - 1).round(1)
    y = np.linspace(top, bottom, mask.shape[0] - 1).round(1)

    # Where a pixel differs from the one above it, and from the one to its left.
    path = [
        f"M{x[first - 1]:g} {y[row]:g}H{x[end - 1]:g}"
        for row, first, end in _runs(mask[1:] != mask[:-1])
    ]
    path += [
        f"M{x[column]:g} {y[first - 1]:g}V{y[end - 1]:g}"
        for column, first, end in _runs((mask[:, 1:] != mask[:, :-1]).T)
    ]
    return "".join(path)


def _runs(lines):
    """Yield line, first place and the place after the last of each run of True."""
    for number, line in enumerate(lines):
        ends = np.flatnonzero(np.diff(np.pad(line.astype(np.int8), 1)))
        for first, end in ends.reshape(-1, 2).tolist():
            yield number, first, end
