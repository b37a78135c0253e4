"""Histograms, t-SNE and word sweeps: what they draw is what they are given."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sklearn
from sklearn.metrics import roc_auc_score

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.plotting import (
    EmbeddingDisplay,
    PromptSweepDisplay,
    ScoreHistogramDisplay,
)

WORDS = [("a", "a damaged"), ("a perfect", "a broken"), ("one", "another")]


@pytest.fixture(scope="module")
def photos():
    return make_defect_images(16, image_size=48, random_state=0)


@pytest.fixture(scope="module")
def detector():
    return RandomWordCLIPDetector(
        N_p=100, random_state=0, embedder=CLIPImageEmbedder("tiny")
    ).fit()


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_a_histogram_counts_scores_and_marks_the_threshold():
    display = ScoreHistogramDisplay.from_predictions(
        [0.05, 0.15, 0.16, np.nan, 1.0], threshold=0.3, bins=10
    )
    (bars,) = display.bars_
    assert [bar.get_height() for bar in bars] == [1, 2, *[0] * 7, 1]
    assert display.line_.get_xdata()[0] == 0.3
    assert legend(display) == ["threshold 0.3"]


def test_labels_part_the_histogram_and_no_threshold_draws_none():
    display = ScoreHistogramDisplay.from_predictions([0.1, 0.2, 0.9], [0, 0, 1], bins=2)
    heights = [[bar.get_height() for bar in bars] for bars in display.bars_]
    assert heights == [[2, 0], [0, 1]]
    assert legend(display) == ["normal (2)", "anomalous (1)"]
    assert display.line_ is None


def test_a_histogram_of_an_estimator_shows_its_scores_and_threshold(detector, photos):
    display = ScoreHistogramDisplay.from_estimator(
        detector, photos.images, photos.target
    )
    expected = detector.predict_proba(photos.images)[:, 1]
    np.testing.assert_allclose(display.scores, expected, atol=1e-6)
    assert display.threshold == 0.5
    assert sum(bar.get_height() for bars in display.bars_ for bar in bars) == 16


@pytest.mark.parametrize(
    "display",
    [
        ScoreHistogramDisplay([0.1]),
        EmbeddingDisplay([[0, 0]], ["mine"]),
        PromptSweepDisplay([("a", "b")], {"CLIP": [0.5]}),
    ],
    ids=lambda display: type(display).__name__,
)
def test_displays_draw_on_axes_that_are_given(display):
    figure, (left, _) = plt.subplots(1, 2)
    assert display.plot(ax=left) is display
    assert display.ax_ is left and display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_prompts_images_and_texts_are_laid_out_together(detector, photos):
    display = EmbeddingDisplay.from_estimator(
        detector,
        photos.images,
        photos.target,
        texts=["a damaged cable", "a clean cable", "a dog"],
        n_pairs=30,
        layer=2,
    )
    n_bad = int(photos.target.sum())
    images = [f"normal images ({16 - n_bad})", f"anomalous images ({n_bad})"]
    if photos.target[0]:  # groups come in the order of their first point
        images.reverse()
    assert legend(display) == [
        "normal prompts (30)",
        "anomalous prompts (30)",
        *images,
        "texts (3)",
    ]
    assert display.positions.shape == (79, 2)
    drawn = np.concatenate([points.get_offsets() for points in display.points_])
    order = np.argsort(display.positions[:, 0])
    np.testing.assert_allclose(
        np.sort(drawn[:, 0]), display.positions[order, 0], atol=1e-5
    )


def test_the_network_parts_prompts_that_differ_in_state(detector):
    # Figure 5 of the paper: behind the network, neighbours share their state.
    display = EmbeddingDisplay.from_estimator(detector, n_pairs=40, layer=3)
    positions, groups = np.asarray(display.positions), np.asarray(display.groups)
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(groups[distances.argmin(axis=1)] == groups) > 0.8


def test_layouts_repeat_with_their_seed(detector):
    one, same, other = (
        EmbeddingDisplay.from_estimator(detector, n_pairs=10, random_state=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.positions, same.positions)
    assert np.abs(one.positions - other.positions).max() > 1e-3


def test_a_sweep_fits_each_pair_of_words(detector, photos):
    X = detector.embedder.transform(photos.images)
    display = PromptSweepDisplay.from_estimator(detector, X, photos.target, words=WORDS)
    assert list(display.values) == ["CLIP", "ours", "CLIP + ours"]
    assert detector.get_params()["anomaly_word"] == "a damaged"
    for i, (normal_word, anomaly_word) in enumerate(WORDS):
        expected = RandomWordCLIPDetector(
            N_p=100,
            random_state=0,
            normal_word=normal_word,
            anomaly_word=anomaly_word,
            embedder=CLIPImageEmbedder("tiny"),
        ).fit()
        value = roc_auc_score(photos.target, expected.predict_proba(X)[:, 1])
        assert display.values["CLIP + ours"][i] == pytest.approx(value)
    assert display.ax_.get_xlabel() == "AUROC"


def test_a_sweep_is_sorted_by_the_last_way_of_scoring():
    values = {"CLIP": [0.1, 0.2, 0.3], "ours": [0.9, 0.7, 0.8]}
    display = PromptSweepDisplay.from_predictions(WORDS, values, metric="AUPR")
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["a perfect / a broken", "one / another", "a / a damaged"]
    assert display.lines_[0].get_xdata().tolist() == [0.2, 0.3, 0.1]
    assert display.ax_.get_xlabel() == "AUPR"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda d: ScoreHistogramDisplay([0.1, 0.2], [1]).plot(), "Got 2 scores"),
        (lambda d: EmbeddingDisplay([[0, 0]], ["a", "b"]).plot(), "Got 1 points"),
        (lambda d: EmbeddingDisplay.from_estimator(d, layer=4), "layer=4"),
        (
            lambda d: EmbeddingDisplay.from_estimator(
                d, n_pairs=2, texts=["a", "b"], text_labels=[1]
            ),
            "Got 2 texts and labels",
        ),
        (
            lambda d: PromptSweepDisplay(WORDS, {"CLIP": [0.1]}).plot(),
            "3 pairs of words",
        ),
        (
            lambda d: PromptSweepDisplay.from_estimator(
                RandomWordCLIPDetector(n_shots=1), [], [], words=WORDS
            ),
            "n_shots=1",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message, detector):
    with pytest.raises(ValueError, match=message):
        call(detector)


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for call in (
        lambda: ScoreHistogramDisplay.from_predictions([0.1]),
        lambda: EmbeddingDisplay.from_predictions([[0, 0]], ["a"]),
        lambda: PromptSweepDisplay.from_predictions(WORDS, {"CLIP": [0.1, 0.2, 0.3]}),
    ):
        with pytest.raises(ImportError, match=r'pip install "skclipad\[plot\]"'):
            call()


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_displays_do_not_depend_on_the_output_that_scikit_learn_is_set_to(
    output, photos, detector
):
    def drawn():
        words = [("a", "a damaged")]
        sweep = PromptSweepDisplay.from_estimator(
            detector, photos.images, photos.target, words=words
        )
        display = EmbeddingDisplay.from_estimator(
            detector, photos.images, photos.target, n_pairs=20, random_state=0
        )
        return list(sweep.values.values()), display.positions

    expected = drawn()
    with sklearn.config_context(transform_output=output):
        found = drawn()
    assert found[0] == expected[0]
    assert isinstance(found[1], np.ndarray)
    np.testing.assert_array_equal(found[1], expected[1])
