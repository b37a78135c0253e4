"""The most and the least anomalous images, drawn on one page."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from skclipad._images.colours import ANOMALOUS, NORMAL
from skclipad._images.columns import check_lengths
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list

PAPER, MAT, INK, FAINT = "#ffffff", "#eeeeee", "#1a1a1a", "#666666"
FRAMES = {None: "#b0b0b0", False: NORMAL, True: ANOMALOUS}
FRAME_NAMES = {True: "labelled anomalous", False: "labelled normal"}
FRAME, LINE, GAP, MARGIN = 4, 18, 10, 24  # pixels


def contact_sheet(
    images,
    scores,
    *,
    labels=None,
    captions=None,
    n_images=40,
    n_columns=10,
    tile_size=112,
    title=None,
):
    """Draw the most and the least anomalous images with their scores.

    Half of the places go to the highest scores, highest first, the other half to the
    lowest, lowest first. Only the images shown are opened, and images without a score
    (NaN) are left out.

    Parameters
    ----------
    images : sequence of length n_samples
        Paths, PIL images or arrays: what the estimators take.
    scores : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.
    labels : array-like of shape (n_samples,), default=None
        1 for images known to be anomalous, 0 for normal ones: the frames' colour.
    captions : sequence of str of length n_samples, default=None
        A few words to stand under each image, cut at its width.
    n_images : int, default=40
        Images on the sheet, at most.
    n_columns : int, default=10
        Images in a row.
    tile_size : int, default=112
        Side of an image's place, in pixels, at least 16; an image keeps its
        proportions.
    title : str, default=None
        Lines above everything.

    Returns
    -------
    PIL.Image.Image
        The sheet, in RGB.

    Raises
    ------
    ValueError
        If lengths differ, no image has a score, or a size is too small.
    ImageReadError
        If an image to be shown cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.report import contact_sheet
    >>> images = np.random.default_rng(0).random((30, 16, 16, 3))
    >>> sheet = contact_sheet(images, np.linspace(0, 1, 30), n_images=20)
    >>> sheet.mode, sheet.width
    ('RGB', 1258)
    """
    images, scores = list(as_image_list(images)), np.asarray(scores, dtype=float)
    _check_sheet(images, scores, labels, captions, (n_images, n_columns, tile_size))

    # Which images, and how wide the sheet is
    order = np.argsort(-scores, kind="stable")[: np.sum(~np.isnan(scores))]
    n_top = min(n_images - n_images // 2, len(order) - len(order) // 2)
    n_low = min(n_images // 2, len(order) - n_top)
    n_columns = min(n_columns, n_top)
    width = max(2 * MARGIN + n_columns * (tile_size + GAP) - GAP, 480)

    def tile(row):
        image = read_image(images[row], row)
        frame = FRAMES[None if labels is None else bool(labels[row])]
        lines = [f"{scores[row]:.3f}"]
        if captions is not None:
            lines.append(str(captions[row]))
        return _tile(image, tile_size, frame, lines)

    # Strips from top to bottom
    strips = [] if title is None else [_text_strip(width, title, size=20)]
    if labels is not None:
        strips.append(_legend_strip(width))
    for heading, rows in (
        ("Most anomalous, highest score first", order[:n_top]),
        ("Least anomalous, lowest score first", order[::-1][:n_low]),
    ):
        if len(rows):
            space_above = "\n" if strips else ""
            strips.append(_text_strip(width, space_above + heading, size=16))
        for start in range(0, len(rows), n_columns):
            tiles = [tile(row) for row in rows[start : start + n_columns]]
            strips.append(_row_strip(width, tiles))
    return _stacked(width, strips)


def _check_sheet(images, scores, labels, captions, sizes):
    smallest = {"n_images": 1, "n_columns": 1, "tile_size": 16}
    for (name, least), size in zip(smallest.items(), sizes, strict=True):
        if size < least:
            raise ValueError(f"Got {name}={size!r} but expected at least {least}.")

    columns = {"scores": scores, "labels": labels, "captions": captions}
    check_lengths(len(images), columns)
    if np.isnan(scores).all():
        raise ValueError(
            f"Got {len(scores)} scores, none of them a number, but expected at least "
            "one image with a score."
        )


def _tile(image, size, frame, lines):
    """Draw one image in its frame, with lines of text under it."""
    font = ImageFont.load_default(13)
    tile = Image.new("RGB", (size, size + LINE * len(lines) + 4), PAPER)
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, size - 1, size - 1), fill=MAT, outline=frame, width=FRAME)

    inner = size - 2 * FRAME
    factor = inner // max(image.size)
    if factor:
        # Small images grow by whole pixels: smoothing would hide fine scratches.
        grown = [side * factor for side in image.size]
        fitted = image.resize(grown, Image.Resampling.NEAREST)
    else:
        fitted = ImageOps.contain(image, (inner, inner), Image.Resampling.LANCZOS)
    tile.paste(fitted, tuple((size - side) // 2 for side in fitted.size))

    for i, line in enumerate(lines):
        draw.text((0, size + i * LINE + 3), _fitted(line, font, size), INK, font)
    return tile


def _fitted(line, font, width):
    """Make one line of any text, cut at the end where it would not fit."""
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    line = line[:width]  # no letter is narrower than a pixel
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."


def _text_strip(width, text, *, size):
    font = ImageFont.load_default(size)
    height = (size + 6) * len(text.splitlines())
    strip = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(strip).multiline_text((MARGIN, 0), text, INK, font, spacing=6)
    return strip


def _legend_strip(width):
    font = ImageFont.load_default(13)
    strip = Image.new("RGB", (width, LINE), PAPER)
    draw = ImageDraw.Draw(strip)
    x = MARGIN
    for label, name in FRAME_NAMES.items():
        draw.rectangle((x, 2, x + 14, 16), outline=FRAMES[label], width=FRAME)
        draw.text((x + 20, 1), name, FAINT, font)
        x += 20 + int(font.getlength(name)) + MARGIN
    return strip


def _row_strip(width, tiles):
    strip = Image.new("RGB", (width, tiles[0].height), PAPER)
    for i, tile in enumerate(tiles):
        strip.paste(tile, (MARGIN + i * (tile.width + GAP), 0))
    return strip


def _stacked(width, strips):
    height = 2 * MARGIN + sum(strip.height + GAP for strip in strips) - GAP
    page = Image.new("RGB", (width, height), PAPER)
    y = MARGIN
    for strip in strips:
        page.paste(strip, (0, y))
        y += strip.height + GAP
    return page
