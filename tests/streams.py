"""The features of images in the two forms that most tests ask for."""

from skclipad._clip.features import stream_features
from skclipad._clip.preparation import ImageOptions


def encode_images(clip, images, **options):
    """Return the embeddings of each image's views: list of (n_views, C_e)."""
    options = ImageOptions(**options)
    return [one.views for one in stream_features(clip, images, options)]


def stream_windows(clip, images, *, patches=False, on_error="raise", **options):
    """Yield features of parts, and None for an image that cannot be read."""
    parts = ("windows", "patches") if patches else ("windows",)
    options = ImageOptions(parts=parts, on_error=on_error, **options)
    for one in stream_features(clip, images, options):
        yield one if one.error is None else None
