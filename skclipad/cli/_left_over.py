"""Good images that are no references, to set a threshold by: ``--references --fpr``.

A conformal threshold is fit for images drawn as those are that set it. References are
not: each was scored without itself, or finds itself, and a new image is not. What the
folder holds beside them the detector has never seen.
"""

import math

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import image_identity
from skclipad.cli._pictures import images_in

ROUNDING = 1e-9


def left_over_images(detector, args):
    """Return the images of `--references` that are no references, nor copies of any.

    A ValueError says that they are too few for `--fpr`.
    """
    if args.by_folder:
        raise ValueError(
            "--fpr with --by-folder needs --normal-dir DIR: normal pictures, of which "
            "no larger share is to be alarmed at."
        )
    images = images_in(args.references)
    chosen = {images[row] for row in detector.reference_rows_.tolist()}
    seen = {_identity(image) for image in chosen}
    left = []
    for image in images:
        if image not in chosen and (identity := _identity(image)) not in seen:
            seen.add(identity)
            left.append(image)

    _check_number(len(images), len(chosen), len(left), args)
    return left


def _check_number(n, n_references, n_left, args):
    needed = math.ceil(1 / args.fpr - 1 - ROUNDING) if args.fpr else math.inf
    if n_left >= needed:
        return
    fewer = n - needed
    remedy = f"Set --n-shots {fewer} or less, name" if fewer >= 1 else "Name"
    raise ValueError(
        f"Got --fpr {args.fpr:g} with --references {args.references}, which holds "
        f"{n:,} pictures, {n_references:,} of them references and {n_left:,} others to "
        f"set the threshold by, but it takes {needed:,} that are no references. "
        f"{remedy} more good pictures with --normal-dir, or allow a higher share."
    )


def _identity(image):
    try:
        return image_identity(image)
    except ImageReadError:
        return image  # its row will say what is wrong
