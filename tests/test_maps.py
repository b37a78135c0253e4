"""WinCLIP's equations against loops over single windows, and maps against pixels."""

import numpy as np
import pytest
import torch

from skclipad._crops import resize_image, seen_box
from skclipad._images import read_image
from skclipad._maps import (
    harmonic_mean,
    pixel_map,
    reference_map,
    reference_score,
    window_map,
    zero_shot_map,
)


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
