"""The report: one HTML file that needs nothing but a browser."""

import base64
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from string import Template

import joblib
import numpy as np

from skclipad._exceptions import ImageReadError
from skclipad._images.columns import check_lengths
from skclipad._images.reading import image_identity, image_size
from skclipad._inputs import as_image_list
from skclipad.report._regions import region_of_page
from skclipad.report._thumbnails import COLOURS, heat_map, heat_scale, thumbnail
from skclipad.statistics import compare_scores

FOLDER = Path(__file__).parent
CHUNK = 60  # images that the page unpacks at once: those of one of its pages
PAGE_BYTES = 24_000_000  # of all thumbnails together, where that leaves enough for each
MOST_BOXES = 20  # of an image that are drawn
N_BINS = 50  # of the histogram
KEY_LENGTH = 16  # hexadecimal digits: no two of a million images share them
SIDES = {2000: 256, 5000: 176, None: 128}  # pixels of a thumbnail, by their number
NOTES = "Notes"  # the section of settings that stands at the top of the page
MEANINGS = {
    "s_pr": "compares the picture with the prompts for whole and for damaged things.",
    "s_fnn": "comes from the network, which was trained on prompts of random words and "
    "has seen no picture.",
    "s_img": "compares the picture with the references that the detector was given: "
    "good pictures, or many of which most are good.",
    "score": "is the mean of those above that the detector uses, or says how far they "
    "lie above what is usual among the references.",
}


def write_report(
    path,
    images,
    scores,
    *,
    names=None,
    components=None,
    labels=None,
    maps=None,
    scale=None,
    boxes=None,
    errors=None,
    reference=None,
    region=None,
    threshold=0.5,
    settings=None,
    title="Anomaly scores",
):
    """Write scores and their images as one self-contained HTML file.

    The page shows a histogram of the scores with a threshold that can be moved, and
    all images, to be sorted, filtered, and looked at with their heat maps. It needs no
    network and no server, and forbids itself both by its content-security policy.

    Parameters
    ----------
    path : str or path
        The file to write.
    images : sequence of length n_samples
        Paths, PIL images or arrays: what the estimators take. One that cannot be read
        gets no thumbnail.
    scores : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous; NaN for an image without. Infinity
        is an error: no page can show it.
    names : sequence of str of length n_samples, default=None
        What to call the images; None is their paths, or their numbers.
    components : dict of str to array-like of shape (n_samples,), default=None
        Further scores of each image, to be shown and sorted by.
    labels : array-like of shape (n_samples,), default=None
        1 for images known to be anomalous, 0 for normal ones.
    maps : sequence of length n_samples, default=None
        An anomaly map of shape (height, width), or None, for each image. Small ones
        (32 x 32) keep the file small. All share one scale of colours.
    scale : tuple of (float, float), default=None
        Value up to which maps are clear, and value of the brightest colour. None is
        chosen by the maps, see Notes; give the same to two reports that are to be
        compared.
    boxes : sequence of length n_samples, default=None
        For each image a list of `skclipad.boxes.Box`, or of any tuples that begin with
        x, y, width and height in pixels of the image, or None. The first 20 are drawn.
    errors : sequence of length n_samples, default=None
        Why an image has no score, a str, or None.
    reference : array-like of shape (n_reference,), default=None
        Scores from when all was well, by the same detector: their histogram is drawn
        over the other one, and a line says whether both are alike; see
        `skclipad.statistics.compare_scores`.
    region : str, path, sequence of 4 int, or array, default=None
        What was looked at of each image, as `CLIPImageEmbedder` takes it: the page
        says it, and draws a line around it.
    threshold : float, default=0.5
        Score above which an image is counted as anomalous; the page can move it.
    settings : dict of str to dict, default=None
        Sections of names and values, to reproduce the scores by; see `describe_run`.
        What a section "Notes" says stands at the top of the page.
    title : str, default="Anomaly scores"
        Heading of the page.

    Raises
    ------
    ValueError
        If lengths differ, there is no image, a score, a component or a map is
        infinite, `scale` does not rise, `region` is none, or the threshold is no finite
        number.
    OSError
        If the file cannot be written.

    Notes
    -----
    Images become thumbnails of 256 pixels (fewer when there are more than 2,000) and
    about 16 kB at most, so 1,000 of them take less than 30 MB. The page unpacks them 60
    at a time. Names are shown as text, whatever they hold.

    Heat maps are clear up to a value that is usual: a twentieth of the area of the
    images whose score is at most the median lies above it (half of the area of all, if
    none of these images has a map). They are brightest at the highest value of all
    maps, or 0.1 above the usual one if that is higher: where nothing stands out,
    nothing shines. Both values are written beside the colours.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skclipad.report import write_report
    >>> images = np.random.default_rng(0).random((3, 16, 16, 3))
    >>> path = Path(tempfile.mkdtemp(), "report.html")
    >>> write_report(path, images, [0.2, 0.9, 0.4])
    >>> path.read_text(encoding="utf-8").startswith("<!doctype html>")
    True
    """
    images = list(as_image_list(images))
    scores = np.asarray(scores, dtype=float)
    columns = {n: np.asarray(c, dtype=float) for n, c in (components or {}).items()}

    given = {"scores": scores, "names": names, "labels": labels, "maps": maps}
    given |= {"boxes": boxes, "errors": errors}
    check_lengths(len(images), given | columns)
    _check_finite({"scores": scores} | columns, maps, threshold)
    if scale is not None and not (np.isfinite(scale).all() and scale[0] < scale[1]):
        raise ValueError(
            f"Got scale={scale!r} but expected two finite numbers, the lower one first."
        )

    order = np.argsort(-scores, kind="stable")  # rows without a score come last
    thumbnails, keys = _look_at([images[row] for row in order], order)
    if scale is None and maps is not None:
        scale = heat_scale(maps, scores)
    heat = _heat_maps([None if maps is None else maps[row] for row in order], scale)

    names = [_name(images[row], row, names) for row in order]
    data = {
        "names": names,
        "keys": keys,
        "folder": _common_folder(names),
        "separator": os.sep,
        "scores": _numbers(scores[order]),
        "components": {
            name: _numbers(column[order]) for name, column in columns.items()
        },
        "labels": None if labels is None else [int(labels[row]) for row in order],
        "errors": [_error(errors, row, scores) for row in order],
        "hasMap": [one is not None for one in heat],
        "peaks": [_peak(None if maps is None else maps[row]) for row in order],
        "scale": scale,
        "boxes": [
            None if boxes is None else _shares(images[row], boxes[row]) for row in order
        ],
        "colours": COLOURS[::4].tolist() + COLOURS[-1:].tolist(),
        "nBins": N_BINS,
        "reference": None if reference is None else _reference(reference, scores),
        "region": region_of_page(region, [images[row] for row in order]),
        "threshold": float(threshold),
        "chunk": CHUNK,
    }

    # The settings may hold names that are no UTF-8, too.
    how = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    with open(path, "w", **how) as file:
        file.writelines(_page(data, thumbnails, heat, dict(settings or {}), title))


def _check_finite(columns, maps, threshold):
    """Refuse what JSON has no word for: a page that holds it would stay blank."""
    for name, column in columns.items():
        if len(rows := np.flatnonzero(np.isinf(column))):
            raise ValueError(
                f"Got {name}[{rows[0]}]={column[rows[0]]} ({len(rows)} of "
                f"{len(column)} are infinite), but expected numbers, or NaN for an "
                "image without. Leave these images out, or correct what scored them."
            )

    for i, one in enumerate(() if maps is None else maps):
        if one is not None and np.isinf(one).any():
            raise ValueError(
                f"Got maps[{i}] with infinite values, but expected numbers, or NaN "
                "where there is none. Pass None for that map, or correct it."
            )

    if not np.isfinite(threshold):
        raise ValueError(f"Got threshold={threshold} but expected a finite number.")


def _look_at(images, rows):
    """Return the thumbnails of images, and names of what they show."""
    side = next(s for n, s in SIDES.items() if n is None or len(images) <= n)
    n_bytes = max(4_000, min(16_000, PAGE_BYTES // len(images)))

    def look(image, row):
        small = thumbnail(image, int(row), side, n_bytes)
        return small, small and _key(image)

    # Decoding leaves the interpreter's lock.
    with ThreadPoolExecutor(min(8, joblib.cpu_count())) as pool:
        return zip(*pool.map(look, images, rows), strict=True)


def _heat_maps(maps, scale):
    # Without a scale every map is of NaN alone: clear, on any scale.
    scale = (0, 1) if scale is None else scale
    return [None if one is None else heat_map(one, *scale) for one in maps]


def _reference(reference, scores):
    """Describe the scores of a reference: bins of a histogram, and what differs."""
    if np.isnan(scores).all():
        return None
    said = str(compare_scores(reference, scores))
    said = said[0].upper() + said[1:]
    reference = np.asarray(reference, dtype=float)
    reference = reference[~np.isnan(reference)].clip(0, 1)
    bins = np.histogram(reference, N_BINS, (0, 1))[0] / len(reference)
    return {"shares": bins.tolist(), "n": len(reference), "said": f"{said}."}


def _peak(one):
    """Return the highest value of a map, None if it has none."""
    values = np.asarray([] if one is None else one, dtype=float)
    return float(np.nanmax(values)) if np.isfinite(values).any() else None


def _shares(image, boxes):
    """Return boxes as shares of the image's width and height; None for no boxes."""
    if not boxes:
        return boxes
    try:
        width, height = image_size(image)
    except ImageReadError:  # there is nothing to draw them on
        return None
    sides = (width, height, width, height)
    return [
        [round(end / side, 4) for end, side in zip(box[:4], sides, strict=True)]
        for box in boxes[:MOST_BOXES]
    ]


def _name(image, row, names):
    if names is not None:
        name = names[row]
    else:
        name = image if isinstance(image, (str, Path)) else f"picture {row}"
    # Names that are no UTF-8 cannot be written into the page.
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def _key(image):
    """Name what an image shows, by which its label is kept; None if unreadable."""
    try:
        return image_identity(image)[:KEY_LENGTH]
    except ImageReadError:
        return None


def _common_folder(names):
    """Return the folder that all names begin with, its separator included, or ""."""
    common = os.path.commonprefix(names)
    return common[: 1 + max(common.rfind(separator) for separator in ("/", os.sep))]


def _numbers(values):
    # All digits: the page counts what is above the threshold, as the table does.
    return [None if np.isnan(v) else float(v) for v in values]


def _error(errors, row, scores):
    error = None if errors is None else errors[row]
    return error or ("it has no score" if np.isnan(scores[row]) else None)


# The page


def _page(data, thumbnails, heat, settings, title):
    """Yield the text of the page, piece by piece."""
    style = _part("page.css")
    script = _part("page.labels.js") + _part("page.js")
    head, foot = _part("page.html").split("$pictures")

    notes = settings.pop(NOTES, {})
    words = {
        "title": escape(title),
        "notes": "".join(f"<p class=note>{escape(str(n))}</p>" for n in notes.values()),
        "meanings": _meanings(data["components"]),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "settings": "".join(map(_section, settings, settings.values())),
        "data": _json(data),
    }

    yield Template(head).substitute(words)
    for number, first in enumerate(range(0, len(thumbnails), CHUNK)):
        chunk = [
            image and {**image, "png": heat[first + i]}
            for i, image in enumerate(thumbnails[first : first + CHUNK])
        ]
        yield (
            f'<script type="application/json" id="pictures-{number}">'
            f"{_json(chunk)}</script>\n"
        )
    yield Template(foot).substitute(words)


def _part(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value):
    # A "<" could end the element that holds it; JSON may write it in other words.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _meanings(components):
    """Explain those scores on the page that this package makes."""
    known = [name for name in MEANINGS if name in components]
    return "".join(
        f"<p><b>{name}</b> {MEANINGS[name]}</p>"
        for name in (known and [*known, "score"])
    )


def _section(name, values):
    rows = "".join(
        f"<tr><th scope=row>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
        for key, value in values.items()
    )
    return f"<table><caption>{escape(name)}</caption>{rows}</table>"
