"""Zero-shot visual anomaly detection with CLIP and random words, for scikit-learn.

The names below are loaded when first used: importing the package costs nothing, and
neither open_clip nor matplotlib is imported before something needs them.
"""

from importlib import import_module

__version__ = "0.1.0"

_EXPORTS = {
    "CLIPImageEmbedder": "skclipad._embedder",
    "RandomWordCLIPDetector": "skclipad._detector",
    "clear_backbone_cache": "skclipad._clip.backbone",
    "clear_caches": "skclipad._storage.process_cache",
    "BackboneMismatchError": "skclipad._exceptions",
    "ImageReadError": "skclipad._exceptions",
    "PromptTooLongError": "skclipad._exceptions",
    "WeightsNotFoundError": "skclipad._exceptions",
}
__all__ = ["__version__", *_EXPORTS]


def __getattr__(name):
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
