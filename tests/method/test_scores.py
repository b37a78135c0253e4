"""The paper's equations against loop-written ones on small numbers."""

import math

import numpy as np
import pytest

from skclipad._method.scores import (
    combined_score,
    network_score,
    prompt_score,
    prototype,
    unit,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(5, 3))
NORMAL, ANOMALY = RNG.normal(size=(2, 3))


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.hypot(*a) / math.hypot(*b)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_prompt_score_is_the_papers_softmax(temperature):
    expected = []
    for image in IMAGES:
        normal = math.exp(cosine(NORMAL, image) / temperature)
        anomaly = math.exp(cosine(ANOMALY, image) / temperature)
        expected.append(anomaly / (normal + anomaly))
    scores = prompt_score(IMAGES, NORMAL, ANOMALY, temperature)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_prompt_score_survives_extreme_margins():
    scores = prompt_score(np.eye(2), *np.eye(2), 1e-6)
    np.testing.assert_array_equal(scores, [0, 1])


def test_prompt_score_takes_texts_of_each_image():
    texts = RNG.normal(size=(2, 5, 3))
    together = prompt_score(IMAGES, *texts, 0.1)
    alone = [prompt_score(IMAGES[i : i + 1], *texts[:, i], 0.1)[0] for i in range(5)]
    np.testing.assert_allclose(together, alone)


def test_network_score_is_the_sigmoid():
    logits = np.array([-2.0, 0.0, 3.0])
    expected = [1 / (1 + math.exp(-logit)) for logit in logits]
    np.testing.assert_allclose(network_score(logits), expected)


def test_combined_score_ranks_as_the_papers_sum():
    a, b = RNG.random((2, 50))
    combined = combined_score([a, b])
    np.testing.assert_array_equal(np.argsort(combined), np.argsort(a + b))
    assert 0 <= combined.min() and combined.max() <= 1


def test_prototype_is_the_unit_mean_of_unit_embeddings():
    expected = np.mean([e / math.hypot(*e) for e in IMAGES], axis=0)
    np.testing.assert_allclose(prototype(IMAGES), expected / math.hypot(*expected))
    raw = np.mean(IMAGES, axis=0)
    np.testing.assert_allclose(
        prototype(IMAGES, normalize=False), raw / math.hypot(*raw)
    )


def test_unit_leaves_zero_and_nan_alone():
    np.testing.assert_array_equal(unit(np.zeros((1, 3))), np.zeros((1, 3)))
    assert np.isnan(unit(np.full((1, 3), np.nan))).all()
