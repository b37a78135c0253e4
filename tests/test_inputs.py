"""What is a list of images, what are embeddings, and what is neither."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pictures import rgb, shades
from PIL import Image
from scipy import sparse

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list, is_embeddings

VECTORS = np.array([[0.1, 0.2], [0.3, 0.4]])
EMBEDDINGS = {
    "float64": VECTORS,
    "float32": VECTORS.astype(np.float32),
    "uint8": np.zeros((4, 4), np.uint8),
    "bool": np.zeros((4, 4), bool),
    "objects that are numbers": VECTORS.astype(object),
    "no rows": np.zeros((0, 4)),
    "one column": np.zeros((4, 1)),
    "tensor": torch.zeros(2, 3),
    "pandas": pd.DataFrame(VECTORS),
    "pandas objects": pd.DataFrame(VECTORS.astype(object)),
    "pandas objects with gaps": pd.DataFrame([[1.0, None], [2, 3]], dtype=object),
    "pandas, one column of objects": pd.DataFrame({"a": [0, 1, 2]}).astype(object),
    "pandas nullable": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "polars": pl.DataFrame(VECTORS),
    "pyarrow": pa.table({"a": [0.1, 0.2], "b": [1, None]}),
    "pyarrow batch": pa.RecordBatch.from_pydict({"a": [0.1], "b": [True]}),
    "lists": VECTORS.tolist(),
    "tuples": tuple(map(tuple, VECTORS)),
    "arrays": list(VECTORS),
    "arrays of objects": list(VECTORS.astype(object)),
    "tensors": [torch.zeros(3), torch.zeros(3)],
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_two_dimensional_numbers_are_embeddings(kind):
    assert is_embeddings(EMBEDDINGS[kind])


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.coo_array])
def test_sparse_input_is_not_supported(make):
    with pytest.raises(TypeError, match="sparse.*not supported.*toarray"):
        is_embeddings(make(np.eye(3)))


def test_sparse_tensors_are_not_supported():
    with pytest.raises(TypeError, match="sparse.*not supported.*to_dense"):
        is_embeddings(torch.eye(3).to_sparse())


PATHS = ["a.jpg", "b.jpg", "c.jpg"]
GREYS = [shades(), shades() // 2]
COLLECTIONS = {
    "list of paths": PATHS,
    "tuple of paths": tuple(map(Path, PATHS)),
    "array of paths": np.array(PATHS),
    "object array": np.array(PATHS, dtype=object),
    "column of paths": np.array(PATHS)[:, None],
    "column of numpy strings": np.array([[np.str_(p)] for p in PATHS], dtype=object),
    "object column": np.array([None, *PATHS], dtype=object)[:, None],
    "pandas Series": pd.Series(PATHS, index=[5, 6, 5]),
    "pandas Series of objects": pd.Series(PATHS, dtype=object),
    "pandas category": pd.Series(PATHS, dtype="category"),
    "pandas Index": pd.Index(PATHS),
    "pandas column": pd.DataFrame({"image": PATHS}, index=[5, 6, 5]),
    "polars Series": pl.Series(PATHS),
    "polars column": pl.DataFrame({"image": PATHS}),
    "pyarrow array": pa.array(PATHS),
    "pyarrow chunks": pa.chunked_array([PATHS[:1], PATHS[1:]]),
    "pyarrow column": pa.table({"image": PATHS}),
    "pyarrow category": pa.table({"image": pa.array(PATHS).dictionary_encode()}),
    "pandas column with gaps": pd.DataFrame({"image": ["a.jpg", None, 3.0]}),
    "list of grey arrays": GREYS,
    "list of colour arrays": [rgb(grey) for grey in GREYS],
    "list of tensors": [torch.zeros(3, 4, 4), torch.zeros(4, 4)],
    "list of PIL images": [Image.new("L", (4, 4)), Image.new("RGB", (5, 5))],
    "list with gaps": ["a.jpg", None, float("nan")],
    "stack (n, H, W)": np.zeros((2, 8, 9)),
    "stack (n, H, W, 1)": np.zeros((2, 8, 9, 1)),
    "stack (n, H, W, 3)": np.zeros((2, 8, 9, 3), np.uint8),
    "stack (n, H, W, 4)": np.zeros((2, 8, 9, 4)),
    "tensor stack (n, H, W)": torch.zeros(5, 8, 9),
    "tensor stack (n, C, H, W)": torch.zeros(2, 3, 8, 9),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_collections_keep_their_items_in_order(kind):
    X = COLLECTIONS[kind]
    assert not is_embeddings(X)
    images = as_image_list(X)
    items = list(images)
    assert len(images) == len(items) == len(X)
    if str(items[0]) == "a.jpg":
        gaps = 2 if "gaps" in kind else 0
        assert [str(item) for item in items[: 3 - gaps]] == PATHS[: 3 - gaps]
    if "stack" in kind:
        assert all(tuple(item.shape) == tuple(X.shape[1:]) for item in items)
        assert all(read_image(item, 0).size == (9, 8) for item in items)


def test_missing_values_of_a_column_stay_items_of_their_rows():
    for X in (pd.Series(["a.jpg", None]), pl.Series(["a.jpg", None])):
        first, second = as_image_list(X)
        assert first == "a.jpg"
        with pytest.raises(ImageReadError, match="Image 1 .*missing value"):
            read_image(second, 1)


def test_generators_are_read_once_and_only_as_far_as_asked():
    asked = []

    def paths():
        for path in PATHS:
            asked.append(path)
            yield path

    X = paths()
    assert not is_embeddings(X)
    images = as_image_list(X)
    assert not hasattr(images, "__len__")
    assert asked == []
    assert next(iter(images)) == "a.jpg"
    assert asked == ["a.jpg"]
    assert list(images) == PATHS[1:]


SINGLE = {
    "str": ("a.jpg", TypeError),
    "Path": (Path("a.jpg"), TypeError),
    "bytes": (b"a.jpg", TypeError),
    "PIL": (Image.new("RGB", (4, 4)), TypeError),
    "array": (np.zeros((5, 5, 3)), ValueError),
    "grey array": (np.zeros((5, 5, 1)), ValueError),
    "tensor": (torch.zeros(3, 5, 5), ValueError),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_a_single_image_is_a_mistake_with_a_hint(kind):
    X, error = SINGLE[kind]
    assert not is_embeddings(X)
    with pytest.raises(error, match=r"Got a single image, .*pass \[image\]") as caught:
        as_image_list(X)
    if error is ValueError:
        assert "list(X) if it is a stack of" in str(caught.value)


@pytest.mark.parametrize(
    "X",
    [
        [],
        (),
        np.array([]),
        np.zeros((0, 4, 4)),
        np.zeros((0, 4, 4, 3)),
        np.array([], dtype=str),
        torch.zeros(0, 3, 4, 4),
        pd.Series([], dtype=str),
        pl.Series([], dtype=pl.String),
        pd.DataFrame({"image": []}, dtype=str),
        iter([]),
    ],
    ids=lambda X: type(X).__name__,
)
def test_nothing_at_all_is_refused_in_scikit_learns_words(X):
    assert not is_embeddings(X)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) \(shape="):
        list(as_image_list(X))


NO_COLLECTIONS = {
    "None": (None, TypeError, "type NoneType"),
    "number": (3, TypeError, "type int"),
    "dict": ({"a": 1}, TypeError, "type dict"),
    "set": ({"a.jpg"}, TypeError, "type set"),
    "1-D numbers": (np.zeros(4), ValueError, "Reshape your data"),
    "1-D tensor": (torch.zeros(4), ValueError, "Reshape your data"),
    "list of numbers": ([0.1, 0.2], ValueError, "Reshape your data"),
    "Series of numbers": (pd.Series([0.1]), ValueError, "Reshape your data"),
    "0-D": (np.array(3.0), ValueError, r"shape \(\)"),
    "5-D": (np.zeros((1, 1, 1, 1, 1)), ValueError, r"expected a stack"),
    "channels first": (np.zeros((2, 3, 8, 8)), ValueError, r"moveaxis\(X, 1, -1\)"),
    "5 channels": (np.zeros((2, 8, 8, 5)), ValueError, "1, 3 or 4 channels on axis -1"),
    "tensor last": (torch.zeros(2, 8, 8, 3), ValueError, r"permute\(0, 3, 1, 2\)"),
    "two columns of paths": (np.array([PATHS, PATHS]), ValueError, "expected a stack"),
    "two columns": (
        pd.DataFrame({"image": PATHS, "object": PATHS}),
        ValueError,
        r"2 columns \['image', 'object'\].*X\[\[name\]\]",
    ),
    "two columns of pyarrow": (
        pa.table({"image": PATHS, "object": PATHS}),
        ValueError,
        r"2 columns \['image', 'object'\].*X.select\(\[name\]\)",
    ),
    "numbers and paths": (
        pd.DataFrame({"a": PATHS, "b": [1, 2, 3]}),
        ValueError,
        r"2 columns",
    ),
}


@pytest.mark.parametrize("kind", NO_COLLECTIONS)
def test_other_input_is_refused_with_what_to_do(kind):
    X, error, words = NO_COLLECTIONS[kind]
    assert not is_embeddings(X)
    with pytest.raises(error, match=words):
        as_image_list(X)
