"""Any value of any parameter, and any array, works or is refused in words.

``make fuzz`` tries many more: SKCLIPAD_TEST_EXAMPLES says how many for each parameter.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
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
from skclipad._images import read_image

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
X = np.random.default_rng(0).normal(size=(6, StandInEmbedder.width)).astype(np.float32)


def small_detector():
    return RandomWordCLIPDetector(
        N_p=8, n_epochs=1, hidden_layer_sizes=(4, 3, 2), batch_size=8, random_state=0
    ).set_params(embedder=StandInEmbedder())


def check_message(error):
    """Assert that an error says something that can be printed."""
    assert len(str(error)) > 10
    str(error).encode("utf-8", "backslashreplace")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(RandomWordCLIPDetector().get_params(False)))
@BRIEF
@given(value=ANYTHING)
def test_any_value_of_a_detectors_parameter(own_folder, name, value):
    detector = small_detector().set_params(**{name: value})
    try:
        detector.fit(X)
        scores = detector.predict_proba(X)
    except (ValueError, TypeError, OSError) as error:
        # A name of a folder may be too long; nothing else has to do with the system.
        assert not isinstance(error, OSError) or name in ("memory", "embedder")
        check_message(error)
        return
    assert scores.shape == (6, 2)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert set(detector.predict(X)) <= {0, 1}
    again = clone(detector).fit(X)
    if detector.random_state == 0:
        np.testing.assert_array_equal(again.predict_proba(X), scores)


PICTURES = [np.full((9, 7), 100, np.uint8), np.zeros((5, 8, 3), np.uint8)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CLIPImageEmbedder().get_params()))
@BRIEF
@given(value=ANYTHING)
@example(value="local-dir:")
@example(value="local-dir:\0")
@example(value="hf-hub:../../x")
@example(value="cuda:99")
@example(value="meta")
@example(value="bf16")
@example(value="longest")
@example(value="tiles")
@example(value=lambda width, height: [(0, 0, width, height)] * 2)
@example(value=lambda width, height: [])
@example(value=lambda width, height: [(0, 0, 0, 0)])
@example(value=lambda: None)
def test_any_value_of_an_embedders_parameter(own_folder, name, value):
    embedder = CLIPImageEmbedder("tiny").set_params(**{name: value})
    try:
        embeddings = embedder.fit().transform(PICTURES)
    except (ValueError, TypeError, WeightsNotFoundError, OSError) as error:
        is_system = isinstance(error, OSError)
        assert not is_system or name == "memory" or "model_name" in str(error)
        check_message(error)
        return
    assert embeddings.shape == (2, 96) and embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()


@settings(BRIEF, max_examples=10 * N_EXAMPLES)
@given(
    array=hnp.arrays(
        st.one_of(
            hnp.scalar_dtypes(),
            hnp.floating_dtypes(),
            st.sampled_from([np.dtype(np.uint8), np.dtype(np.uint16)]),
        ),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
@pytest.mark.filterwarnings("ignore")
def test_any_array_is_a_picture_or_refused(array):
    try:
        image = read_image(array, 0)
    except ImageReadError as error:
        check_message(error)
        return
    assert image.mode == "RGB"
    assert image.size == (array.shape[1], array.shape[0])


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
