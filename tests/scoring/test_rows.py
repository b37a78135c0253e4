"""What a run is known by: whatever changes a score makes it another run."""

import pytest
from detectors import tiny

from skclipad.scoring._rows import detector_identity, detector_of_rows

OTHERS = {
    "scores": ("fnn",),
    "combine": "standardized",
    "combine_views": "mean",
    "temperature": 0.02,
    "threshold": 0.25,
    "reference_share": 0.7,
    "reference_top": 0.5,
    "embedder__crops": "multi",
    "embedder__resize_mode": "longest",
    "embedder__precision": "bf16",
    "embedder__bit_depth": 12,
    "embedder__decode": "reduced",
    "embedder__region": "0,0,8,8",
}


@pytest.fixture(scope="module")
def fitted():
    return tiny().fit()


def test_copies_of_a_detector_have_one_identity(fitted):
    copy = detector_of_rows(fitted)
    copy.set_params(embedder__batch_size=3, embedder__verbose=True)
    assert detector_identity(copy) == detector_identity(fitted)


@pytest.mark.parametrize("name", OTHERS)
def test_another_setting_is_another_identity(name, fitted):
    changed = detector_of_rows(fitted).set_params(**{name: OTHERS[name]})
    before, now = detector_identity(fitted), detector_identity(changed)
    assert {n for n in before | now if before.get(n) != now.get(n)} == {name}


@pytest.mark.parametrize("name", ["coefs_", "intercepts_", "prompt_embeddings_"])
def test_another_training_is_another_identity(name, fitted):
    changed = detector_of_rows(fitted)
    learnt = getattr(changed, name)
    setattr(changed, name, [array * 1.0001 for array in learnt])
    before, now = detector_identity(fitted), detector_identity(changed)
    assert {n for n in before if before[n] != now[n]} == {"detector"}
