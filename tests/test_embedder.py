"""CLIPImageEmbedder: images in, embeddings out, as scikit-learn expects."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from detectors import tiny
from PIL import Image, ImageOps
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclipad import CLIPImageEmbedder, ImageReadError, WeightsNotFoundError
from skclipad.datasets import make_defect_images


@pytest.fixture(scope="module")
def images():
    return make_defect_images(6, image_size=48, random_state=0).images


@pytest.fixture(scope="module")
def embeddings(images):
    return CLIPImageEmbedder("tiny").transform(images)


@pytest.fixture
def paths(images, tmp_path):
    names = [tmp_path / f"{i}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(name)
    return names


def test_embeddings_are_raw_float32_rows(embeddings, images):
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(images), CLIPImageEmbedder("tiny")._n_features_out)
    assert not np.allclose(np.linalg.norm(embeddings, axis=1), 1)


def test_every_kind_of_input_gives_the_same_embeddings(images, paths, embeddings):
    embedder = CLIPImageEmbedder("tiny")
    kinds = [
        list(images),
        [Image.fromarray(image) for image in images],
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths]),
        pd.Series([str(path) for path in paths]),
        pd.DataFrame({"image": [str(path) for path in paths]}),
        (image for image in images),
        images / 255,
    ]
    for kind in kinds:
        np.testing.assert_allclose(
            embedder.transform(kind), embeddings, rtol=1e-4, atol=1e-5
        )


def test_batches_threads_and_order_do_not_matter(images, embeddings):
    for batch_size, n_jobs in [(1, 1), (4, 3), (64, -1)]:
        embedder = CLIPImageEmbedder("tiny", batch_size=batch_size, n_jobs=n_jobs)
        np.testing.assert_allclose(
            embedder.transform(images[::-1]), embeddings[::-1], rtol=1e-4, atol=1e-5
        )


def test_fit_is_not_needed_and_reads_nothing():
    embedder = CLIPImageEmbedder("no-such-model")
    assert embedder.fit(None) is embedder
    assert embedder.fit(["no/such.jpg"]) is embedder
    assert clone(embedder).get_params() == embedder.get_params()


def test_embeddings_pass_through(embeddings):
    embedder = CLIPImageEmbedder("tiny")
    np.testing.assert_array_equal(embedder.fit_transform(embeddings), embeddings)


def test_embeddings_of_another_width_are_refused(embeddings):
    with pytest.raises(ValueError, match=r"X has 3 features.*taken as embeddings"):
        CLIPImageEmbedder("tiny").transform(embeddings[:, :3])


def test_several_views_are_averaged(images):
    def halves(width, height):
        return [(0, 0, width // 2, height), (width // 2, 0, width, height)]

    left, right = (
        CLIPImageEmbedder("tiny", crops=lambda w, h, i=i: halves(w, h)[i : i + 1])
        for i in range(2)
    )
    both = CLIPImageEmbedder("tiny", crops=halves).transform(images)
    mean = (left.transform(images) + right.transform(images)) / 2
    np.testing.assert_allclose(both, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("crops", ["multi", "tiles"])
def test_named_views_change_the_embeddings_of_oblong_images(crops, images):
    oblong = np.concatenate([images, images], axis=2)
    whole = CLIPImageEmbedder("tiny").transform(oblong)
    views = CLIPImageEmbedder("tiny", crops=crops).transform(oblong)
    assert views.shape == whole.shape
    assert np.abs(views - whole).max() > 1e-3


def test_bad_image_raises_with_its_row(images):
    with pytest.raises(ImageReadError, match=r"2.*gone\.png"):
        CLIPImageEmbedder("tiny").transform([*images[:2], "gone.png", images[3]])


def test_bad_image_can_become_nan_with_one_warning(images, embeddings):
    embedder = CLIPImageEmbedder("tiny", on_error="nan")
    X = [images[0], "gone.png", images[2], np.full((8, 8), np.nan), images[4]]
    with pytest.warns(UserWarning, match="2 of 5 images") as caught:
        result = embedder.transform(X)
    assert len(caught) == 1
    # No advice to do what is done already.
    assert str(caught[0].message).endswith(
        "Image 1 ('gone.png') cannot be read: No such file or directory."
    )
    assert np.isnan(result[[1, 3]]).all()
    np.testing.assert_allclose(
        result[[0, 2, 4]], embeddings[[0, 2, 4]], rtol=1e-4, atol=1e-5
    )


def test_set_output_names_the_columns(images):
    frame = (
        CLIPImageEmbedder("tiny").set_output(transform="pandas").fit_transform(images)
    )
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns[:2]) == ["clipimageembedder0", "clipimageembedder1"]
    assert list(frame.columns) == list(
        CLIPImageEmbedder("tiny").get_feature_names_out()
    )


def test_pipeline_goes_on_with_the_embeddings(images):
    scaled = make_pipeline(CLIPImageEmbedder("tiny"), StandardScaler()).fit_transform(
        images
    )
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)


def test_pickle_holds_no_weights(images, embeddings, tmp_path):
    embedder = CLIPImageEmbedder("tiny").fit(images)
    embedder.transform(images)
    assert len(pickle.dumps(embedder)) < 5_000
    joblib.dump(embedder, tmp_path / "embedder.joblib")
    again = joblib.load(tmp_path / "embedder.joblib")
    np.testing.assert_array_equal(again.transform(images), embeddings)


def test_memory_gives_back_what_was_computed(paths, embeddings, tmp_path, monkeypatch):
    embedder = CLIPImageEmbedder("tiny", memory=tmp_path / "store")
    np.testing.assert_allclose(
        embedder.transform(paths), embeddings, rtol=1e-4, atol=1e-5
    )

    def no_model(*args):
        raise AssertionError("the model ran")

    monkeypatch.setattr("skclipad._clip.features.encode_pixels", no_model)
    copies = [path.rename(path.with_name(f"moved-{path.name}")) for path in paths]
    np.testing.assert_allclose(
        embedder.transform(copies), embeddings, rtol=1e-4, atol=1e-5
    )
    with pytest.raises(AssertionError, match="the model ran"):
        CLIPImageEmbedder(
            "tiny", memory=tmp_path / "store", resize_mode="longest"
        ).transform(copies)


@pytest.fixture
def large(tmp_path):
    """A JPEG file of 512 pixels a side, eight times what the model reads."""
    (image,) = make_defect_images(1, image_size=512, random_state=3).images
    Image.fromarray(image).save(tmp_path / "large.jpg", quality=92)
    return tmp_path / "large.jpg"


@pytest.mark.parametrize("crops", ["whole", "multi", lambda *size: [(7, 5, 431, 333)]])
def test_a_large_jpeg_decoded_small_has_nearly_the_same_embedding(large, crops):
    full, reduced = (
        CLIPImageEmbedder("tiny", crops=crops, decode=decode).transform([large])[0]
        for decode in ("full", "reduced")
    )
    assert not np.array_equal(full, reduced)
    assert np.dot(full, reduced) > 0.99 * np.linalg.norm(full) * np.linalg.norm(reduced)


def test_what_is_no_large_jpeg_is_decoded_in_full(large, paths, tmp_path):
    Image.open(large).save(tmp_path / "large.png")
    Image.open(large).resize((120, 120)).save(tmp_path / "small.jpg")
    others = [tmp_path / "large.png", tmp_path / "small.jpg", *paths]
    full, reduced = (
        CLIPImageEmbedder("tiny", decode=decode).transform(others)
        for decode in ("full", "reduced")
    )
    np.testing.assert_array_equal(reduced, full)


def test_a_region_and_maps_are_made_of_the_full_image(large):
    shown = {}
    for decode in ("full", "reduced"):
        embedder = CLIPImageEmbedder("tiny", decode=decode)
        (shown[decode, "map"],) = tiny(embedder=embedder).fit().anomaly_map([large])
        embedder.set_params(region="40,30,400,420")
        shown[decode, "region"] = embedder.transform([large])
    for what in ("map", "region"):
        np.testing.assert_array_equal(shown["reduced", what], shown["full", what])


def test_scores_by_references_are_made_of_the_full_image(large, paths):
    scores = []
    for decode in ("full", "reduced"):
        embedder = CLIPImageEmbedder("tiny", decode=decode, crops="multi")
        detector = tiny(embedder=embedder, n_shots=2).fit(paths)
        scores.append(detector.predict_proba([large]))
    np.testing.assert_array_equal(*scores)


def test_memory_keeps_reduced_and_full_apart(large, tmp_path):
    known = [
        CLIPImageEmbedder("tiny", decode=decode, memory=memory).transform([large])
        for memory in (None, tmp_path / "store", tmp_path / "store")
        for decode in ("full", "reduced")
    ]
    for again in (known[2:4], known[4:]):
        np.testing.assert_array_equal(again, known[:2])


def test_verbose_shows_progress(images, capsys):
    CLIPImageEmbedder("tiny", verbose=True).transform(images)
    assert "Encoding images" in capsys.readouterr().err
    CLIPImageEmbedder("tiny").transform(images)
    assert capsys.readouterr().err == ""


def test_encode_text_gives_one_row_a_text():
    embedder = CLIPImageEmbedder("tiny")
    texts = ["a photo of a damaged object", "a photo of a object"]
    one, two = embedder.encode_text(texts)
    np.testing.assert_allclose(embedder.encode_text(texts[::-1]), [two, one], rtol=1e-5)
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.parametrize(
    "parameters",
    [
        {"model_name": 3},
        {"crops": "some"},
        {"resize_mode": "stretch"},
        {"batch_size": 0},
        {"precision": "int4"},
        {"n_jobs": 0},
        {"on_error": "ignore"},
        {"memory": 3},
    ],
)
def test_bad_parameters_are_named_at_fit_and_transform(parameters, images):
    embedder = CLIPImageEmbedder(**{"model_name": "tiny", **parameters})
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of CLIPImageEmbedder"):
        embedder.fit(images)
    with pytest.raises(ValueError, match=f"'{name}' parameter of CLIPImageEmbedder"):
        embedder.transform(images)


def test_missing_weights_are_an_error_of_transform(images):
    with pytest.raises(WeightsNotFoundError, match="no/such"):
        CLIPImageEmbedder("local-dir:no/such").transform(images)


def test_an_image_that_its_owner_turns_is_turned_once(tmp_path):
    wide = make_defect_images(1, image_size=48, random_state=0).images[0][:32]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(wide).save(tmp_path / "a.png", exif=exif)
    embedder = CLIPImageEmbedder("tiny")
    expected = embedder.transform([tmp_path / "a.png"])
    image = Image.open(tmp_path / "a.png")
    by_hand = image.rotate(270, expand=True)

    for right in (image, ImageOps.exif_transpose(image), np.asarray(by_hand)):
        np.testing.assert_array_equal(embedder.transform([right]), expected)

    # What the documentation warns of: the orientation is still in it.
    assert by_hand.getexif()[0x0112] == 6
    assert not np.allclose(embedder.transform([by_hand]), expected)


def test_tables_of_any_library_are_embeddings_or_paths(paths, embeddings):
    embedder = CLIPImageEmbedder("tiny")
    names = [str(path) for path in paths]
    as_objects = pd.DataFrame(embeddings).astype(object)
    for table in (as_objects, pa.Table.from_pandas(pd.DataFrame(embeddings))):
        np.testing.assert_array_equal(embedder.transform(table), embeddings)
    for table in (pa.table({"path": names}), pd.DataFrame({"path": names})):
        np.testing.assert_allclose(embedder.transform(table), embeddings, atol=1e-6)
