"""Detectors for tests: small ones on the bundled model and on the stand-in."""

from standin import StandInEmbedder

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector


def tiny(*, embedder=None, **parameters):
    """Make a detector on the bundled model, of few pairs and one seed."""
    parameters = {"N_p": 100, "random_state": 0, **parameters}
    embedder = embedder or CLIPImageEmbedder("tiny")
    return RandomWordCLIPDetector(embedder=embedder, **parameters)


def stand_in(**parameters):
    """Make a detector on a CLIP that can be checked by eye."""
    return tiny(embedder=StandInEmbedder(), **parameters)
