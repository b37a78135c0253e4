"""Any value of any parameter, and any array, works or is refused in words.

Half of what is drawn is meant to work, and each test asserts that a fair share did: a
test in which everything is refused says nothing.
``make fuzz`` tries many more: SKCLIPAD_TEST_EXAMPLES says how many for each parameter.
"""

import os

import numpy as np
import pytest
from detectors import stand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.base import clone
from standin import StandInEmbedder

from skclipad import (
    CLIPImageEmbedder,
    ImageReadError,
    RandomWordCLIPDetector,
    WeightsNotFoundError,
)
from skclipad._images.reading import read_image

N_EXAMPLES = int(os.environ.get("SKCLIPAD_TEST_EXAMPLES", 20))
BRIEF = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# No "/": a folder that a parameter names is made, and must lie in the test's own.
LETTERS = st.characters(codec="utf-8", exclude_characters="/\\~")
TEXTS = st.text(LETTERS, max_size=8)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 30),
    st.floats(-2, 3),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e-300, 1e300]),
    TEXTS,
    st.binary(max_size=3),
    st.lists(st.integers(-1, 5), max_size=4),
    st.lists(TEXTS, max_size=3),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.dictionaries(
        st.sampled_from(["normal", "anomaly"]), st.lists(TEXTS, max_size=2)
    ),
    st.sampled_from([object(), np.array([]), np.array([3, 2]), np.int64(3), b"", {}]),
    st.sampled_from(["fnn", "prompt", "winclip", "raw", "mean", ("fnn",), (4, 4, 4)]),
)
FAIR = 0.25  # of the values drawn, the share that must be accepted
X = np.random.default_rng(0).normal(size=(6, StandInEmbedder.width)).astype(np.float32)


def small_detector():
    return stand_in(N_p=8, n_epochs=1, hidden_layer_sizes=(4, 3, 2), batch_size=8)


def half_of(valid):
    """Draw one of these values as often as anything."""
    # The number keeps hypothesis from skipping a value that it has tried before.
    drawn = st.tuples(st.sampled_from(valid), st.integers()).map(lambda pair: pair[0])
    # Not one_of(drawn, ANYTHING), which chooses among all the parts of ANYTHING.
    return st.booleans().flatmap(lambda works: drawn if works else ANYTHING)


def check_all(check, strategy, examples=(), max_examples=N_EXAMPLES):
    """Run a check on values; assert that it returned True for a fair share of them.

    The check returns whether the value was accepted, and raises if that went wrong.
    """
    accepted = []

    def run(value):
        accepted.append(check(value))

    for value in examples:
        check(value)
    settings(BRIEF, max_examples=max_examples)(given(value=strategy)(run))()
    assert len(accepted) >= max_examples / 2
    assert np.mean(accepted) >= FAIR, f"{sum(accepted)} of {len(accepted)} accepted"


def check_message(error):
    """Assert that an error says something that can be printed."""
    assert len(str(error)) > 10
    str(error).encode("utf-8", "backslashreplace")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


VALID = {
    "combine_views": ["max", "mean", "embeddings"],
    "embedder": [StandInEmbedder()],
    "hidden_layer_sizes": [(4, 3, 2), (2,), [3, 2]],
    "memory": [None],
    "n_shots": [0],
    "random_state": [0, 1, None],
    "scores": [("fnn",), ("prompt",), ["prompt", "fnn"]],
}


def as_it_is(estimator, name):
    return [estimator.get_params(deep=False)[name]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(RandomWordCLIPDetector().get_params(False)))
def test_any_value_of_a_detectors_parameter(own_folder, name):
    def check(value):
        detector = small_detector().set_params(**{name: value})
        try:
            detector.fit(X)
            scores = detector.predict_proba(X)
        except (ValueError, TypeError, OSError) as error:
            # A name of a folder may be too long; nothing else is up to the system.
            assert not isinstance(error, OSError) or name in ("memory", "embedder")
            check_message(error)
            return False
        assert scores.shape == (6, 2)
        assert ((scores >= 0) & (scores <= 1)).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1)
        assert set(detector.predict(X)) <= {0, 1}
        again = clone(detector).fit(X)
        if detector.random_state == 0:
            np.testing.assert_array_equal(again.predict_proba(X), scores)
        return True

    check_all(check, half_of(VALID.get(name) or as_it_is(small_detector(), name)))


PICTURES = [np.full((9, 7), 100, np.uint8), np.zeros((5, 8, 3), np.uint8)]
ODD = [
    *("local-dir:", "local-dir:\0", "hf-hub:../../x", "cuda:99", "meta", "bf16"),
    *("longest", "tiles"),
    lambda width, height: [(0, 0, width, height)] * 2,
    lambda width, height: [],
    lambda width, height: [(0, 0, 0, 0)],
    lambda: None,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CLIPImageEmbedder().get_params()))
def test_any_value_of_an_embedders_parameter(own_folder, name):
    def check(value):
        embedder = CLIPImageEmbedder("tiny").set_params(**{name: value})
        try:
            embeddings = embedder.fit().transform(PICTURES)
        except (ValueError, TypeError, WeightsNotFoundError, OSError) as error:
            is_system = isinstance(error, OSError)
            assert not is_system or name == "memory" or "model_name" in str(error)
            check_message(error)
            return False
        assert embeddings.shape == (2, 96) and embeddings.dtype == np.float32
        assert np.isfinite(embeddings).all()
        return True

    valid = as_it_is(CLIPImageEmbedder("tiny"), name)
    check_all(check, half_of(valid), examples=ODD)


ANY_ARRAY = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.floating_dtypes()),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
SIDES = st.integers(1, 5)
SHAPES = st.one_of(
    st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, st.sampled_from([1, 3, 4]))
)
PIXELS = st.one_of(
    hnp.arrays(st.sampled_from([np.dtype(name) for name in ("u1", "u2", "?")]), SHAPES),
    hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
)


@pytest.mark.filterwarnings("ignore")
def test_any_array_is_a_picture_or_refused():
    def check(array):
        try:
            image = read_image(array, 0)
        except ImageReadError as error:
            check_message(error)
            return False
        assert image.mode == "RGB"
        assert image.size == (array.shape[1], array.shape[0])
        return True

    check_all(check, st.one_of(PIXELS, ANY_ARRAY), max_examples=10 * N_EXAMPLES)


# Pictures of extreme shapes, through the whole of it


@pytest.mark.parametrize("crops", ["whole", "multi", "tiles"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (30_000, 1), (3, 2)])
@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_sides_of_one_and_of_thirty_thousand_pixels(shape, crops, mode):
    embedder = CLIPImageEmbedder("tiny", crops=crops, resize_mode=mode)
    embeddings = embedder.transform([np.full((*shape, 3), 200, np.uint8)])
    assert np.isfinite(embeddings).all()


def test_a_file_that_changes_between_two_readings_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.png"
    embedder = CLIPImageEmbedder("tiny", memory=tmp_path / "memory", on_error="nan")
    seen = []
    for shade in (0, 255):
        Image.new("RGB", (8, 8), (shade,) * 3).save(path)
        seen.append(embedder.transform([path]))
    os.remove(path)
    with pytest.warns(UserWarning, match="could not be read"):
        assert np.isnan(embedder.transform([path])).all()
    assert not np.allclose(*seen)
