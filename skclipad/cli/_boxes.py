"""Boxes of `skclipad score --boxes`: from maps to COCO, a column and the report."""

import json
import tempfile
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

import skclipad
from skclipad._images.reading import image_size
from skclipad._storage.files import atomic_write_text
from skclipad.boxes import area_level, coco_dataset, find_boxes, normal_level
from skclipad.cli._console import echo
from skclipad.cli._maps import small_maps
from skclipad.cli._pictures import find_images

AREA = 0.02  # share of all maps that is boxed, if nothing is said
SIDE = 128  # pixels of a map, which is interpolated between far fewer patches


class BoxedImages(NamedTuple):
    """Boxes of a run: a list for each row, or None, and the level."""

    of_rows: list
    level: float


def box_images(target, scored, args):
    """Box what is anomalous in `Scored` images, and write it as COCO.

    Returns `BoxedImages`.
    """
    paths, rows = scored.paths, scored.rows
    boxes, sizes = [None] * len(rows), [None] * len(rows)
    with _maps(scored) as maps:
        level = _level(args, scored.detector, maps)
        for i, one in zip(scored.with_score, maps, strict=True):
            if not np.isnan(one).any():  # else it was readable a moment ago
                sizes[i] = image_size(paths[i])
                boxes[i] = find_boxes(one, level, image_size=sizes[i])

    there = [i for i, found in enumerate(boxes) if found is not None]
    dataset = coco_dataset(
        [rows[i]["path"] for i in there],
        [sizes[i] for i in there],
        [boxes[i] for i in there],
        info={"description": f"skclipad {skclipad.__version__}", "level": level},
    )
    atomic_write_text(target, json.dumps(dataset, ensure_ascii=False))
    n_boxes, n_boxed = len(dataset["annotations"]), sum(map(bool, boxes))
    echo(f"{target}: {n_boxes:,} boxes in {n_boxed:,} of {len(there):,} pictures")
    return BoxedImages(boxes, level)


def largest_box(boxes):
    """Write the largest of an image's boxes for a table: "x,y,width,height", or ""."""
    return ",".join(map(str, boxes[0][:4])) if boxes else ""


def _level(args, detector, maps):
    """Return the level that the options ask for, and say which it is."""
    if args.box_level is not None:
        return args.box_level

    if args.box_area is None and args.normal_dir is not None:
        paths = find_images([args.normal_dir], leave_out=args.maps)
        maps = small_maps(detector, paths, SIDE, "Maps")
        level = normal_level(maps, fpr=args.fpr)
        rarely = "none" if args.fpr is None else f"a share of {args.fpr:g}"
        how = f"{rarely} of the pictures in {args.normal_dir} may have one"
    else:
        share = AREA if args.box_area is None else args.box_area
        level = area_level(maps, share)
        how = f"{share:g} of the area of all pictures, whatever it shows"
    echo(f"boxes where maps are above {level!r}: {how}")
    return level


@contextmanager
def _maps(scored):
    """Give the maps of images that have a score, to be gone through more than once."""
    paths = [scored.paths[i] for i in scored.with_score]
    if scored.maps is not None:
        yield _KeptMaps(scored.maps, paths)
        return
    with tempfile.TemporaryFile(prefix="skclipad-maps-") as file:
        for one in small_maps(scored.detector, paths, SIDE, "Maps"):
            file.write(one.astype(np.float32).tobytes())
        yield _SpooledMaps(file)


class _KeptMaps:
    """The maps that `--maps` wrote."""

    def __init__(self, folder, paths):
        self._folder, self._paths = folder, paths

    def __iter__(self):
        return map(self._folder.read, self._paths)


class _SpooledMaps:
    """Small maps in a temporary file: those of 100,000 images are no memory's."""

    def __init__(self, file):
        self._file = file

    def __iter__(self):
        self._file.seek(0)
        while data := self._file.read(4 * SIDE * SIDE):
            yield np.frombuffer(data, np.float32).reshape(SIDE, SIDE)
