"""Images of more than 8 bits: their values brought to 8, and what Pillow mixes up.

Pillow has no 16-bit colour: of each channel it keeps the upper 8 bits. Where the lower
ones matter, a file is decoded once more for them, as if its bytes came in the other
order.
"""

import numpy as np
from PIL import Image

from skclipad._exceptions import warn_user

FULL = 16  # bits of what is called a 16-bit image here, all of them used or not
DARK = 8  # one of so many parts of the range must be reached by some image of a call
COMMON_DEPTHS = (8, 10, 12, 14)

# Tags of TIFF, and what they say.
BITS_PER_SAMPLE, PHOTOMETRIC, PLANAR_CONFIGURATION, EXTRA_SAMPLES = 258, 262, 284, 338
WHITE_IS_ZERO = 0
SEPARATE_PLANES = 2

# How a channel of 16 bits is called in the order of bytes that takes its lower half for
# the upper one. "N" is the order of this machine, which libtiff hands out.
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}
_WITH_LOWER_BITS = ("RGB;16", "RGBA;16", "RGBX;16", "CMYK;16")


class BitDepth:
    """How many bits the values of 16-bit images have, and what was seen of them.

    One object serves all images of a call, from any thread.

    Parameters
    ----------
    bits : int or None, default=None
        Bits that hold values; None is all 16, with a warning if that looks wrong.
    """

    def __init__(self, bits=None):
        self.bits = bits
        self.top = 2 ** (bits or FULL) - 1
        self._brightest = []

    def to_uint8(self, array):
        """Scale values of dtype uint16 to 0..255, none of them above the top."""
        brightest = int(array.max())
        if brightest > self.top:
            raise ValueError(
                f"its values reach {brightest}, but bit_depth={self.bits} allows "
                f"0..{self.top}; pass the bit_depth that it has"
            )
        opaque = array[..., :3] if array.ndim == 3 else array
        self.note(int(opaque.max()))
        return ((array.astype(np.uint32) * 255 + self.top // 2) // self.top).astype(
            np.uint8
        )

    def note(self, brightest):
        """Remember the brightest value of a 16-bit image."""
        self._brightest.append(brightest)  # one step, in any number of threads

    def warn_if_dark(self):
        """Warn if all 16-bit images together leave most of their range unused."""
        brightest = max(self._brightest, default=0)
        # What is black all over is black at any depth.
        if self.bits is not None or not 0 < brightest < 2**FULL // DARK:
            return

        likely = next(bits for bits in COMMON_DEPTHS if brightest < 2**bits)
        warn_user(
            f"No 16-bit image reaches an eighth of its range 0..{self.top}: the "
            f"brightest value of {len(self._brightest)} is {brightest}, so they are "
            f"seen as nearly black. If their values have {likely} bits, as those of "
            f"many cameras, set bit_depth={likely}; bit_depth=16 says that they are "
            "meant to be dark.",
        )


def raw_mode(image):
    """Return Pillow's name of how a file holds pixels, "" once it is decoded."""
    for *_, args in getattr(image, "tile", None) or ():
        name = args if isinstance(args, str) else next(iter(args or ()), "")
        return name if isinstance(name, str) else ""
    return ""


def loses_bits(image, raw):
    """Tell whether Pillow keeps the upper 8 of 16 bits alone, as it does of colour."""
    if image.mode.startswith("I"):
        return False
    return ";16" in raw or FULL in tiff_tag(image, BITS_PER_SAMPLE)


def mend_layout(image):
    """Correct what Pillow is about to decode wrongly, or raise ValueError."""
    raw = raw_mode(image)
    if (
        image.format == "TIFF"
        and raw
        and tiff_tag(image, PLANAR_CONFIGURATION) == (SEPARATE_PLANES,)
    ):
        _mend_planes(image, raw)
    # The transparent colour of a PNG has as many bits as the file, the pixels have 8.
    clear = image.info.get("transparency") if image.format == "PNG" else None
    if isinstance(clear, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = clear * {"L;2": 85, "L;4": 17}[raw]
    elif isinstance(clear, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _mend_planes(image, raw):
    """Name the bits of channels that a TIFF holds one after another."""
    n_channels = len(tiff_tag(image, BITS_PER_SAMPLE))
    compressed = image.tile[0][0] == "libtiff"
    if n_channels == 1 and not compressed:
        return _mend_only_plane(image)

    if compressed and n_channels in (2, 4) and image.mode in ("LA", "RGBA"):
        # libtiff hands out the alpha of these only if the file says that it is one,
        # and of grey never.
        if image.mode == "LA" or not tiff_tag(image, EXTRA_SAMPLES):
            raise ValueError(_refusal("planes with one for alpha, compressed"))

    if not compressed and FULL in tiff_tag(image, BITS_PER_SAMPLE) and len(raw) == 1:
        order = "B" if image.tag_v2.prefix == b"MM" else "L"
        if image.mode not in ("RGB", "RGBA"):
            raise ValueError(_refusal(f"16-bit planes of mode {image.mode}"))
        _rename_tiles(image, lambda name: f"{name};16{order}")


def _mend_only_plane(image):
    """Name the bits of a TIFF whose one channel is called a plane."""
    (bits,) = tiff_tag(image, BITS_PER_SAMPLE)
    inverted = tiff_tag(image, PHOTOMETRIC) == (WHITE_IS_ZERO,)
    names = {8: "L;I" if inverted else image.mode, FULL: image.mode}
    if bits not in names:
        raise ValueError(_refusal(f"{bits} bits in a plane of its own"))
    _rename_tiles(image, lambda name: names[bits])


def _refusal(layout):
    return (
        f"it is a TIFF of {layout}, which Pillow does not read rightly; save it with "
        "its channels interleaved (PlanarConfiguration 1), or as PNG"
    )


def _rename_tiles(image, rename):
    """Change the raw mode of all parts of an image that is not decoded yet."""
    for i, tile in enumerate(image.tile):
        args = tile[3]
        name = rename(args if isinstance(args, str) else args[0])
        args = name if isinstance(args, str) else (name, *args[1:])
        # Tiles were plain tuples in older versions of Pillow.
        named = hasattr(tile, "_replace")
        image.tile[i] = tile._replace(args=args) if named else (*tile[:3], args)


def tiff_tag(image, tag):
    """Return the values of a tag as a tuple, empty if there is no such tag."""
    values = getattr(image, "tag_v2", {}).get(tag, ())
    return values if isinstance(values, tuple) else (values,)


def all_bits(upper, raw, file):
    """Decode a file once more for the lower bits that Pillow drops.

    Returns (height, width, channels), uint16; None if they cannot be had.
    """
    file.seek(0)
    with Image.open(file) as lower:
        mend_layout(lower)
        if tiff_tag(lower, PLANAR_CONFIGURATION) == (SEPARATE_PLANES,):
            possible = lower.tile[0][0] == "raw"
        else:
            possible = raw[:-1] in _WITH_LOWER_BITS
        if not possible:
            return None
        _rename_tiles(lower, lambda name: name[:-1] + _OTHER_ORDER[name[-1]])
        lower.load()
        return np.asarray(upper).astype(np.uint16) << 8 | np.asarray(lower)
