"""By which endings a search through folders knows images: one list for all of it."""

from PIL import Image, ImageFile

# Pillow opens these and the package does not read them: an EPS file is a program that
# would have to be run, and of an MPEG video Pillow knows the size alone.
REFUSED = frozenset({"EPS", "MPEG"})

# Formats without an opener of their own, and the one that opens them.
_OPENED_AS = {"MPO": "JPEG"}


def image_endings():
    """Return the endings of the image files that can be read.

    They are those that Pillow has registered, with those of plugins that were loaded
    before (AVIF, HEIF), without the formats that it only writes, such as PDF, or that
    it cannot decode by itself, such as WMF. Each has its dot and small letters.

    Examples
    --------
    >>> from skclipad._images.endings import image_endings
    >>> sorted({".jpg", ".tga", ".txt", ".pdf", ".eps"} & image_endings())
    ['.jpg', '.tga']
    """
    endings = Image.registered_extensions().items()
    return frozenset(ending.lower() for ending, kind in endings if _is_read(kind))


def _is_read(kind):
    if kind in REFUSED:
        return False
    opener, *_ = Image.OPEN.get(_OPENED_AS.get(kind, kind), (None,))
    # A stub knows a format by its first bytes and leaves decoding to somebody else.
    is_stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
    return opener is not None and not is_stub
