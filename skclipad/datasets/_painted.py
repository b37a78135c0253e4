"""`make_defect_images`: seeded inspection photos with and without damage."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skclipad.datasets._painter.brush import luminance
from skclipad.datasets._painter.defects import DEFECTS as _DEFECTS
from skclipad.datasets._painter.defects import strike
from skclipad.datasets._painter.light import draw_light, photograph
from skclipad.datasets._painter.scene import KINDS as _KINDS
from skclipad.datasets._painter.scene import OBJECTS as _OBJECTS
from skclipad.datasets._painter.scene import SURFACES as _SURFACES
from skclipad.datasets._painter.scene import draw_scene, draw_site, suffers

SURFACES = tuple(sorted(_SURFACES))
OBJECTS = tuple(sorted(_OBJECTS))
DEFECTS = tuple(sorted(_DEFECTS))

CHANGED = 12  # levels of 255 from which on a pixel counts as changed
VISIBLE = 30  # mean change in levels that every mask shows at least
_GOLDEN = (5**0.5 - 1) / 2
_RAISES = 4  # how often a faint defect is painted more strongly in one place
_GROWTH = (1, 1, 1, 1, 1.5, 2.5)  # of its length, in each place that it is moved to
_LEAST = 5  # pixels, the shortest defect

_DESCR = """\
.. _painted_defect_images:

Painted inspection photos
-------------------------

Photos of surfaces and objects, whole or damaged, painted by formula: no camera was
involved. Whole and damaged ones share every choice of category, colour, texture, pose,
backdrop, light, blur and noise; a damaged one differs by its defect alone, and the mask
marks the pixels that differ by {changed} of 255 levels or more.

=================   ==================================================
Samples             {n_samples}, of which {n_anomalous} damaged
Image               {size} x {size} x 3, uint8
Categories          {n_categories}
Kinds of defect     {n_defects}
=================   ==================================================
"""


def _difference(one, two):
    """Largest change of any channel, in levels, of shape (S, S)."""
    return np.abs(one.astype(np.int16) - two.astype(np.int16)).max(axis=2)


def _visibility(whole, change, size):
    """How visible a change is: 1 is just enough, 0 nothing at all."""
    mask = change >= CHANGED
    area = int(mask.sum())
    if not area:
        return 0.0
    texture = min(luminance(whole[mask].astype(np.float32)).std(), 40)
    contrast = change[mask].mean() / (VISIBLE + 0.4 * texture)
    return min(contrast, area / max(4, 0.0012 * size * size))


def _amplify(whole, damaged, size):
    """Stretch a change that is too faint, or turn it around where it has no room."""
    step = damaged.astype(np.float32) - whole
    best = (-1.0, damaged)
    for gain in (1.5, 2.5, 5, -1.5, -2.5, -5, 12, -12):
        image = np.clip(whole + gain * step, 0, 255).astype(np.uint8)
        seen = _visibility(whole, _difference(image, whole), size)
        if seen >= 1:
            return image
        best = max(best, (seen, image), key=lambda pair: pair[0])
    return best[1]


def _damage(name, scene, light, whole, fraction, seed):
    """Photograph a scene with a defect, raising its force until it can be seen.

    Returns the image and a mask of where it differs from the `whole` one.
    """
    size, best = len(whole), (-1.0, whole)
    for attempt, growth in enumerate(_GROWTH):
        length = min(max(fraction, _LEAST / size) * growth, 1.0)
        force = 1.0
        for _ in range(_RAISES):
            rng = np.random.default_rng((*seed, 3 + attempt))
            site = draw_site(name, scene, rng, size, length, force)
            front = strike(name, scene.front, site)
            image = photograph(front, scene.back, light)

            change = _difference(image, whole)
            seen = _visibility(whole, change, size)
            if seen >= 1:
                return image, change >= CHANGED
            best = max(best, (seen, image), key=lambda pair: pair[0])
            force *= min(max(1.15 / (seen + 0.1), 1.3), 2.2)

    image = _amplify(whole, best[1], size)
    return image, _difference(image, whole) >= CHANGED


def _check_names(names, valid, what):
    """Return the names asked for as a list, each of them known."""
    if names is None:
        return list(valid)
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in valid]
    if unknown or not names:
        got = f"{what}={unknown or names}"
        raise ValueError(
            f"{got}: expected one or more of {', '.join(valid)}. Leave {what}=None "
            "for all of them."
        )
    return names


def _check_number(value, name, kind, low, high):
    """Raise unless low <= value <= high."""
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name}={value!r}: expected {expected} from {low} to {high}.")
    if not low <= value <= high:
        raise ValueError(f"{name}={value!r}: expected a value from {low} to {high}.")


def _check_size_range(defect_size):
    """Return the range of defect lengths as fractions of the image's side."""
    if defect_size is None:
        return 0.12, 0.6

    try:
        low, high = (float(value) for value in defect_size)
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"defect_size={defect_size!r}: expected a pair (low, high) of fractions of "
            "the image's side, such as (0.05, 0.15)."
        ) from e
    if not 0.02 <= low <= high <= 1:
        raise ValueError(
            f"defect_size={defect_size!r}: expected 0.02 <= low <= high <= 1, as "
            "fractions of the image's side."
        )
    return low, high


def _choices(categories, defects):
    """Pair every category with the defects asked for that it can show."""
    names = _check_names(categories, sorted(_KINDS), "categories")
    wanted = _check_names(defects, DEFECTS, "defects")
    pairs = [(name, [d for d in suffers(name) if d in wanted]) for name in names]
    barred = sorted({name for name, possible in pairs if not possible})
    if barred and categories is not None:
        raise ValueError(
            f"defects={wanted}: none of them occurs on {', '.join(barred)}. "
            f"{barred[0]} may show {', '.join(suffers(barred[0]))}."
        )
    return [(name, possible) for name, possible in pairs if possible]


def _paint(seed, size, choices, damaged, size_range, grey_fraction, fixed_scenes):
    """Return one image, its mask, and its category, defect and colour."""
    # Three streams: the light, the scene and, from 3 on, where the defect strikes.
    rng = np.random.default_rng((*seed, 2))
    category, possible = choices[rng.integers(len(choices))]
    name = possible[rng.integers(len(possible))]
    low, high = size_range
    fraction = low * (high / low) ** rng.random()

    light = draw_light(np.random.default_rng((*seed, 1)), size, grey_fraction)
    if fixed_scenes:
        rng = np.random.default_rng((seed[0], list(_KINDS).index(category), 0, 0))
    scene = draw_scene(category, size, rng)
    color = "grey" if light.grey else scene.front.color

    whole = photograph(scene.front, scene.back, light)
    if not damaged:
        return whole, False, category, "none", color
    image, mask = _damage(name, scene, light, whole, fraction, seed)
    return image, mask, category, name, color


def make_defect_images(
    n_samples=100,
    *,
    image_size=64,
    categories=None,
    defects=None,
    anomaly_fraction=0.5,
    defect_size=None,
    grey_fraction=0.1,
    fixed_scenes=False,
    random_state=None,
):
    """Paint inspection photos of whole and damaged things.

    Each image shows a surface that fills it or an object on a backdrop. A damaged
    one is painted exactly as a whole one and then struck by a defect, before light,
    blur and noise are added; with the same `random_state` and ``anomaly_fraction=0``
    every image is the whole twin of the damaged one.

    Parameters
    ----------
    n_samples : int, default=100
        Number of images.
    image_size : int, default=64
        Side of the square images in pixels, 32 to 512.
    categories : list of str, default=None
        Categories to draw from, out of `SURFACES` and `OBJECTS`; one listed twice comes
        twice as often. None takes all that can show one of the `defects`.
    defects : list of str, default=None
        Kinds of defect to draw from, out of `DEFECTS`; None takes all. A category shows
        only those that make sense for it.
    anomaly_fraction : float, default=0.5
        Share of damaged images, 0 to 1; kept to within an image or two at any
        `n_samples`.
    defect_size : tuple of (float, float), default=None
        Least and greatest length of a defect as a fraction of the image's side,
        0.02 to 1; None is (0.12, 0.6). No defect is shorter than 5 pixels, one that
        could not be seen is lengthened, and one that changes an object's outline,
        such as a bend, reaches further.
    grey_fraction : float, default=0.1
        Share of black and white photos, 0 to 1.
    fixed_scenes : bool, default=False
        Whether all images of a category show one and the same thing in one pose, as
        under the camera of an inspection line; they differ in light, noise and damage
        alone. Else every image shows another thing.
    random_state : int, RandomState instance or None, default=None
        Seed. Image i depends on the seed and i alone, so that a larger `n_samples`
        begins with the images of a smaller one; another `image_size` shows the same
        scenes. Pass an int for the same images across calls.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        images : ndarray of shape (n_samples, image_size, image_size, 3), uint8
            The images.
        target : ndarray of shape (n_samples,), int
            0 for whole, 1 for damaged.
        category : ndarray of shape (n_samples,), str
            What is shown.
        defect : ndarray of shape (n_samples,), str
            The kind of defect, "none" for a whole one.
        color : ndarray of shape (n_samples,), str
            Everyday name of the subject's main colour; "grey" in a grey photo.
        masks : ndarray of shape (n_samples, image_size, image_size), bool
            Pixels that the defect changed; empty for a whole one.
        category_names, defect_names : list of str
            What was drawn from.
        DESCR : str
            Description of the images.

    Raises
    ------
    TypeError
        If a number is not one.
    ValueError
        If a value is out of range, a name is unknown, or a category listed in
        `categories` can show none of the `defects`.

    Examples
    --------
    >>> from skclipad.datasets import make_defect_images
    >>> photos = make_defect_images(4, categories=["wood", "coin"], random_state=0)
    >>> photos.images.shape
    (4, 64, 64, 3)
    >>> photos.category_names
    ['coin', 'wood']
    >>> bool((photos.masks.any(axis=(1, 2)) == photos.target).all())
    True
    """
    _check_number(n_samples, "n_samples", Integral, 1, 10**9)
    _check_number(image_size, "image_size", Integral, 32, 512)
    _check_number(anomaly_fraction, "anomaly_fraction", Real, 0, 1)
    _check_number(grey_fraction, "grey_fraction", Real, 0, 1)
    size_range = _check_size_range(defect_size)
    choices = _choices(categories, defects)

    base = int(check_random_state(random_state).randint(2**31 - 1))
    phase = np.random.default_rng(base).random()
    n, size = int(n_samples), int(image_size)
    damaged = (phase + np.arange(n) * _GOLDEN) % 1 < anomaly_fraction

    images = np.empty((n, size, size, 3), dtype=np.uint8)
    masks = np.zeros((n, size, size), dtype=bool)
    labels = []
    for i in range(n):
        seed, how = (base, i), (size_range, grey_fraction, fixed_scenes)
        images[i], masks[i], *label = _paint(seed, size, choices, damaged[i], *how)
        labels.append(label)

    category, defect, color = (np.array(column) for column in zip(*labels, strict=True))
    category_names = sorted({name for name, _ in choices})
    defect_names = sorted({name for _, possible in choices for name in possible})
    return Bunch(
        images=images,
        target=damaged.astype(np.int64),
        category=category,
        defect=defect,
        color=color,
        masks=masks,
        category_names=category_names,
        defect_names=defect_names,
        DESCR=_DESCR.format(
            changed=CHANGED,
            n_samples=n,
            n_anomalous=int(damaged.sum()),
            size=size,
            n_categories=len(category_names),
            n_defects=len(defect_names),
        ),
    )
