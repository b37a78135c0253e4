"""WinCLIP's equations against loops over single windows, and maps against pixels."""

from functools import partial

import detectors
import numpy as np
import pytest
import torch
from streams import stream_windows

from skclipad import CLIPImageEmbedder, ImageReadError
from skclipad._images.crops import resize_image, seen_box
from skclipad._images.reading import read_image
from skclipad._method.maps import (
    harmonic_mean,
    pixel_map,
    reference_map,
    reference_score,
    window_map,
    zero_shot_map,
)
from skclipad.datasets import SURFACES, make_defect_images
from skclipad.metrics import pixel_auroc


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def spread_by_loop(scores, window):
    rows, columns = (n + window - 1 for n in scores.shape)
    spread = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            covering = [
                scores[down, right]
                for down in range(scores.shape[0])
                for right in range(scores.shape[1])
                if 0 <= row - down < window and 0 <= column - right < window
            ]
            spread[row, column] = len(covering) / sum(1 / s for s in covering)
    return spread


def distance_by_loop(feature, references):
    return min(
        0.5 * (1 - sum(a * b for a, b in zip(feature, reference, strict=True)))
        for reference in references
    )


def unit_rows(rng, *shape):
    features = rng.normal(size=shape)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


# -- scores ----------------------------------------------------------------------


def test_reference_score_is_half_the_least_distance(rng):
    features, references = unit_rows(rng, 3, 4, 5), unit_rows(rng, 7, 5)
    found = reference_score(features, references)
    for place in np.ndindex(3, 4):
        expected = distance_by_loop(features[place], references)
        assert found[place] == pytest.approx(expected, abs=1e-12)
    # Only directions count.
    lengths = rng.uniform(0.1, 9, (7, 1))
    np.testing.assert_allclose(
        reference_score(3 * features, lengths * references), found
    )


def test_reference_score_runs_from_0_to_1(rng):
    references = unit_rows(rng, 20, 6).astype(np.float32)
    assert reference_score(references, references).max() < 1e-6
    assert reference_score(references, references).min() >= 0
    assert reference_score(-references[:1], references[:1]) == pytest.approx(1)


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 3), (6, 6)])
def test_window_map_is_the_harmonic_mean_of_the_windows_that_cover(rng, window, shape):
    scores = rng.uniform(0.01, 1, shape)
    np.testing.assert_allclose(
        window_map(scores, window), spread_by_loop(scores, window), rtol=1e-12
    )


def test_harmonic_mean_is_pulled_to_zero_by_a_zero():
    assert harmonic_mean([0.25, 0.5, 1.0]) == pytest.approx(3 / (4 + 2 + 1))
    with np.errstate(all="raise", divide="warn"):
        assert harmonic_mean([0.0, 0.5]) == 0
        spread = window_map(np.array([[0.0, 0.5, 0.5]]), 2)
    np.testing.assert_array_equal(spread, [[0, 0, 0.5, 0.5]] * 2)


def test_scores_too_small_for_their_inverse_make_no_nan():
    scores = np.array([[1e-42, 0.5]], dtype=np.float32)  # 1 / 1e-42 is infinite
    assert np.isfinite(window_map(scores, 2)).all()


def test_zero_shot_map_combines_picture_and_windows(rng):
    scores = {2: rng.uniform(0.1, 1, (3, 4)), 3: rng.uniform(0.1, 1, (2, 3))}
    found = zero_shot_map(0.3, scores)
    two, three = (spread_by_loop(s, window) for window, s in scores.items())
    np.testing.assert_allclose(found, 3 / (1 / 0.3 + 1 / two + 1 / three))
    with pytest.raises(ValueError):
        zero_shot_map(0.3, {2: scores[2], 3: scores[2]})  # of another grid


def test_reference_map_is_the_mean_over_patches_and_windows(rng):
    shapes = {1: (4, 5, 6), 2: (3, 4, 3), 3: (2, 3, 3)}
    features = {window: unit_rows(rng, *shape) for window, shape in shapes.items()}
    references = {window: unit_rows(rng, 2, *shape) for window, shape in shapes.items()}
    maps = []
    for window, found in features.items():
        pool = references[window].reshape(-1, found.shape[-1])
        scores = np.empty(found.shape[:2])
        for place in np.ndindex(*scores.shape):
            scores[place] = distance_by_loop(found[place], pool)
        maps.append(spread_by_loop(scores, window))
    expected = (maps[0] + maps[1] + maps[2]) / 3
    np.testing.assert_allclose(reference_map(features, references), expected)


def test_more_references_never_raise_the_map(rng):
    features = {2: unit_rows(rng, 3, 3, 4), 3: unit_rows(rng, 2, 2, 4)}
    references = {w: unit_rows(rng, 4, *f.shape) for w, f in features.items()}
    fewer = {window: part[:1] for window, part in references.items()}
    difference = reference_map(features, fewer) - reference_map(features, references)
    assert difference.min() >= 0
    assert difference.max() > 0


# -- pixels ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 9), (30, 20), (4, 4), (1, 100)])
def test_pixel_map_is_torchs_bilinear_interpolation(rng, size):
    patch_map = rng.normal(size=(4, 5))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(patch_map)[None, None], size, mode="bilinear"
    )[0, 0]
    found = pixel_map(patch_map, (size[1], size[0]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    # Another size is the same map of the same picture, seen coarser or finer.
    resized = pixel_map(patch_map, (123, 45), size=size)
    np.testing.assert_allclose(resized, found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resize_mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("shape", [(60, 90), (96, 40), (64, 64)])
def test_a_map_lies_where_the_model_saw_it(resize_mode, shape):
    """Paint a ramp, show it to the model's eyes, and put it back on the picture."""
    height, width = shape
    ramp = np.linspace(20, 230, width).round().astype(np.uint8)
    picture = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2)
    size = (16, 16)
    seen = resize_image(read_image(picture), (0, 0, width, height), size, resize_mode)
    box = seen_box(width, height, size, resize_mode)
    back = pixel_map(seen[..., 0].astype(float), (width, height), box=box)
    assert back.shape == shape
    # Away from what was cut off, padded, or blurred at the border.
    margin = width // 8
    inside = slice(int(max(0, box[0])) + margin, int(min(width, box[2])) - margin)
    middle = slice(height * 3 // 8, height * 5 // 8)
    np.testing.assert_allclose(back[middle, inside], picture[middle, inside, 0], atol=6)


def test_outside_of_what_the_model_saw_the_border_goes_on():
    found = pixel_map(np.array([[1.0, 3.0]]), (8, 2), box=(2, 0, 6, 2))
    np.testing.assert_allclose(found[:, :3], 1)
    np.testing.assert_allclose(found[:, 5:], 3)


# -- maps of a detector ------------------------------------------------------------


tiny = partial(detectors.tiny, N_p=1000)


@pytest.fixture(scope="module")
def detector():
    return tiny().fit()


def scratched(row, column, side=64):
    """A grey plate with a dark blot, its centre at (row, column)."""
    image = np.random.default_rng(0).integers(150, 160, (side, side, 3))
    image[row - 4 : row + 4, column - 4 : column + 4] = 20
    return image.astype(np.uint8)


def peak(anomaly_map):
    return np.unravel_index(np.argmax(anomaly_map), anomaly_map.shape)


PLACES = [(12, 12), (12, 52), (52, 12), (32, 32), (52, 52)]


def test_the_peak_of_a_map_moves_with_the_defect():
    plate = np.random.default_rng(1).integers(150, 160, (64, 64, 3)).astype(np.uint8)
    detector = tiny(n_shots=1).fit([plate])
    maps = detector.anomaly_map([scratched(*place) for place in PLACES])
    for place, anomaly_map in zip(PLACES, maps, strict=True):
        assert np.abs(np.subtract(peak(anomaly_map), place)).max() <= 8


def test_zero_shot_maps_move_with_the_defects(detector):
    """Shift textures by half their width: the maps follow, or they would not fit."""
    photos = make_defect_images(
        30, categories=list(SURFACES), anomaly_fraction=1, random_state=0
    )
    shifted, masks = (np.roll(a, 32, axis=2) for a in (photos.images, photos.masks))
    before = detector.anomaly_map(photos.images)
    after = detector.anomaly_map(shifted)
    assert pixel_auroc(photos.masks, before) > 0.7
    assert pixel_auroc(masks, after) > 0.7
    assert pixel_auroc(masks, before) < 0.6


def test_maps_have_the_size_of_their_picture_or_the_one_asked_for(detector):
    X = [np.zeros((40, 70, 3), np.uint8), scratched(20, 20)]
    maps = detector.anomaly_map(X)
    assert [one.shape for one in maps] == [(40, 70), (64, 64)]
    assert all(one.dtype == np.float32 for one in maps)
    assert all(0 <= one.min() <= one.max() <= 1 for one in maps)
    assert [one.shape for one in detector.anomaly_map(X, size=(8, 9))] == [(8, 9)] * 2
    assert [one.shape for one in detector.anomaly_map(X, size=5)] == [(5, 5)] * 2


@pytest.mark.parametrize("scores", [("prompt",), ("fnn",), ("prompt", "fnn")])
def test_zero_shot_maps_score_windows_as_images_are_scored(scores):
    """Feed the embeddings of windows to the detector, as if they were images."""
    detector = tiny(scores=scores).fit()
    image = scratched(20, 40)
    (features,) = stream_windows(CLIPImageEmbedder("tiny")._load(), [image])
    whole = detector.score_components(features.image[None])
    expected = []
    for name in ({"prompt": "s_pr", "fnn": "s_fnn"}[score] for score in scores):
        maps = [
            spread_by_loop(
                detector.score_components(part.reshape(-1, part.shape[-1]))[
                    name
                ].reshape(part.shape[:2]),
                side,
            )
            for side, part in features.parts.items()
        ]
        expected.append(3 / (1 / whole[name][0] + 1 / maps[0] + 1 / maps[1]))
    (found,) = detector.anomaly_map([image], size=8)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-3, atol=1e-6)


def test_maps_with_shots_add_the_map_of_the_references(detector):
    image, plate = scratched(20, 40), scratched(60, 60)
    with_shots = tiny(n_shots=1).fit([plate])
    backbone = CLIPImageEmbedder("tiny")._load()
    (features,) = stream_windows(backbone, [image], patches=True)
    compared = reference_map(features.parts, with_shots.references_)
    zero_shot = detector.anomaly_map([image], size=8)[0]
    (found,) = with_shots.anomaly_map([image], size=8)
    # Two zero-shot maps, whose mean is zero_shot, and the map of the references.
    np.testing.assert_allclose(found, (2 * zero_shot + compared) / 3, rtol=1e-4)


def test_a_map_of_a_picture_that_cannot_be_read_is_nan():
    detector = tiny().set_params(embedder__on_error="nan").fit()
    first, second = detector.anomaly_map(["gone.png", scratched(9, 9)])
    assert first.shape == (1, 1) and np.isnan(first).all()
    assert second.shape == (64, 64) and not np.isnan(second).any()
    (sized,) = detector.anomaly_map(["gone.png"], size=(3, 4))
    assert sized.shape == (3, 4) and np.isnan(sized).all()
    with pytest.raises(ImageReadError, match=r"gone\.png"):
        detector.set_params(embedder__on_error="raise").anomaly_map(["gone.png"])


@pytest.mark.parametrize("size", [0, -3, (4, 0), (4, 5, 6), 2.5, (3.0, 4), "64"])
def test_sizes_that_are_none_are_refused(detector, size):
    with pytest.raises(ValueError, match="Got size="):
        detector.anomaly_map([scratched(9, 9)], size=size)


def test_embeddings_have_no_map(detector):
    embeddings = CLIPImageEmbedder("tiny").transform([scratched(9, 9)])
    with pytest.raises(ValueError, match="Got embeddings, but a map"):
        detector.anomaly_map(embeddings)
