"""Detectors for tests: small ones on the bundled model and on the stand-in."""

from contextlib import contextmanager

import pytest
from standin import StandInEmbedder

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector


def tiny(*, embedder=None, **parameters):
    """Make a detector on the bundled model, of few pairs and one seed."""
    parameters = {"N_p": 100, "random_state": 0, **parameters}
    embedder = embedder or CLIPImageEmbedder("tiny")
    return RandomWordCLIPDetector(embedder=embedder, **parameters)


@contextmanager
def few_pairs(n=300):
    """Let detectors train on so many pairs by default: the code is the same."""
    init = RandomWordCLIPDetector.__init__
    with pytest.MonkeyPatch.context() as context:
        context.setattr(init, "__defaults__", (*init.__defaults__[:2], n))
        assert RandomWordCLIPDetector().N_p == n
        yield


def stand_in(**parameters):
    """Make a detector on a CLIP that can be checked by eye."""
    return tiny(embedder=StandInEmbedder(), **parameters)
