"""A CLIP that can be checked by eye: texts and numbers in, plain vectors out."""

from types import SimpleNamespace

import numpy as np
import torch

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector


class StandInEmbedder(CLIPImageEmbedder):
    """An embedder of any width, whose texts lie on two sides of the first axis.

    A text about something damaged is ``(1, ...)``, any other ``(-1, ...)``; the other
    coordinates are small and depend on the text's letters.
    """

    width = 4

    def __init__(self, crops="whole", on_error="raise"):
        super().__init__(model_name="stand-in", crops=crops, on_error=on_error)

    def _load(self):
        return SimpleNamespace(
            fingerprint=f"stand-in-{self.width}",
            cache_name=f"stand-in-{self.width}",
            embed_dim=self.width,
            device=torch.device("cpu"),
        )

    def _text_cache_name(self):
        return self._load().cache_name

    @property
    def _n_features_out(self):
        return self.width

    def encode_text(self, texts):
        embeddings = np.empty((len(texts), self.width), dtype=np.float32)
        for row, text in zip(embeddings, texts, strict=True):
            letters = np.frombuffer(text.encode(), dtype=np.uint8)
            row[:] = 0.1 * np.sin(letters.sum() + np.arange(self.width))
            row[0] = 1 if "damaged" in text else -1
        return embeddings


class AnyWidthEmbedder(StandInEmbedder):
    """A stand-in that takes the width of the first embeddings that it sees."""

    def fit(self, X=None, y=None):
        _adopt_width(X)
        return super().fit(X, y)

    def transform(self, X):
        if not hasattr(self, "n_features_in_"):
            _adopt_width(X)
        return super().transform(X)


class AnyWidthDetector(RandomWordCLIPDetector):
    """A detector whose stand-in takes the width of the embeddings that `fit` sees."""

    def fit(self, X=None, y=None):
        _adopt_width(X)
        return super().fit(X, _as_0_and_1(y))


def _as_0_and_1(y):
    # Two numbers as labels, such as 1 and 2, are what scikit-learn's checks come with.
    labels = set(np.asarray(y).ravel().tolist())
    if len(labels) != 2 or not all(isinstance(label, int) for label in labels):
        return y
    return np.asarray(y) == max(labels)


def _adopt_width(X):
    # scikit-learn's checks come with X of many widths; a real CLIP has one.
    shape = np.asarray(X).shape
    if len(shape) == 2 and shape[1] > 0:
        StandInEmbedder.width = shape[1]
