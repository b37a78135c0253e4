"""What a user passed as X or y: images or embeddings, columns of a table, labels."""

import numbers
import os
from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
from PIL import Image
from sklearn.utils.validation import (
    assert_all_finite,
    check_array,
    column_or_1d,
    validate_data,
)

from skclipad._images.reading import describe_item, is_tensor
from skclipad._images.rgb import CHANNELS


def is_embeddings(X):
    """Tell whether X is a table of embeddings, not a collection of images.

    Two-dimensional and numeric means embeddings, always; nothing is guessed from the
    width or the values. That is a 2-D numeric array, tensor, DataFrame or pyarrow
    table, also if its numbers are held as objects, and a list or tuple of rows of
    numbers. Sparse X is a TypeError.

    Examples
    --------
    >>> from skclipad._inputs import is_embeddings
    >>> is_embeddings([[0.1, 0.2], [0.3, 0.4]]), is_embeddings(["a.jpg", "b.jpg"])
    (True, False)
    """
    if type(X).__module__.startswith("scipy.sparse") or (
        is_tensor(X) and "sparse" in str(X.layout)
    ):
        raise TypeError(
            f"Got a sparse {type(X).__name__}, but sparse input is not supported; "
            "pass X.toarray() or X.to_dense()."
        )

    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(map(_is_number_row, X))
    if _is_single(X):
        return False
    if (names := column_names(X)) is not None:
        return len(names) > 0 and _all_numeric(X)
    if is_tensor(X):
        return X.ndim == 2
    if not hasattr(X, "__array__"):
        return False

    X = np.asarray(X)
    if X.ndim == 2 and X.dtype.kind == "O":
        # An object array may hold numbers, as pandas makes them, or paths.
        return len(X) > 0 and not any(map(_is_item, X.flat))
    return X.ndim == 2 and X.dtype.kind in "biufc"


def as_image_list(X):
    """Return any accepted collection of images as an iterable of single images.

    Parameters
    ----------
    X : list, tuple, ndarray, torch.Tensor, Series, DataFrame, Table or iterator
        - a list, tuple, 1-D array, (n, 1) array, pandas or polars Series, one-column
          DataFrame or pyarrow table: of items for :func:`read_image`;
        - an array of shape (n, H, W) or (n, H, W, C) with C in 1, 3, 4;
        - a tensor of shape (n, H, W) or (n, C, H, W) with C in 1, 3, 4;
        - a generator or another iterator of items. It is read once, one at a time.

    Returns
    -------
    iterable
        The items in order. It has a length unless X has none.

    Raises
    ------
    TypeError
        If X is a single path or PIL image, or holds no sequence of images.
    ValueError
        If X is empty (an iterator: when it ends), a single image given as an array, or
        an array of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._inputs import as_image_list
    >>> [image.shape for image in as_image_list(np.zeros((2, 8, 9, 3)))]
    [(8, 9, 3), (8, 9, 3)]
    """
    if _is_single(X):
        raise TypeError(
            f"Got a single image, {describe_item(X)}, but expected a sequence of "
            "images; pass [image]."
        )

    if (names := column_names(X)) is not None:
        if len(names) != 1:
            one = "X.select([name])" if _is_arrow(X) else "X[[name]]"
            raise ValueError(
                f"Got a {type(X).__name__} with the {len(names)} columns {names!r}, "
                "but expected one column of images or only columns of numbers "
                f"(embeddings); pass {one}."
            )
        X = column_of(X, names[0])

    if is_tensor(X):
        _check_stack(X.shape, 1, "a tensor", "X.permute(0, 3, 1, 2)")
    elif not isinstance(X, (list, tuple)) and hasattr(X, "__array__"):
        X = np.asarray(X)
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        if X.ndim != 1 or X.dtype.kind in "biufc":
            _check_stack(X.shape, -1, "an array", "np.moveaxis(X, 1, -1)")
    elif isinstance(X, (Mapping, Set)) or not (
        hasattr(X, "__iter__") or hasattr(X, "__getitem__")
    ):
        raise TypeError(
            f"Got X of type {type(X).__name__}, but expected a sequence of images "
            "(paths, PIL images, arrays, tensors) or a 2-D array of embeddings."
        )

    if not hasattr(X, "__len__"):
        return _at_least_one(X)
    if len(X) == 0:
        raise ValueError(_no_samples(getattr(X, "shape", (0,))))
    if all(isinstance(item, numbers.Number) for item in X):
        _check_stack((len(X),), -1, f"a {type(X).__name__}", "")
    return X


def _check_stack(shape, channel_axis, kind, to_standard):
    """Refuse an array or tensor that is no stack of images, saying what to write."""
    shape = tuple(shape)
    got = f"{kind} of shape {shape}"
    if 0 in shape[:1]:
        raise ValueError(_no_samples(shape))

    if len(shape) == 1:
        raise ValueError(
            f"Got {got} holding numbers, but expected images or a 2-D array of "
            "embeddings. Reshape your data: X.reshape(1, -1) is one embedding."
        )
    if len(shape) == 3 and shape[0 if channel_axis == 1 else -1] in CHANNELS:
        raise ValueError(
            f"Got a single image, {got}, but expected a sequence of images; pass "
            f"[image], or list(X) if it is a stack of {shape[0]} grey images."
        )

    if len(shape) == 4 and shape[channel_axis] not in CHANNELS:
        moved = shape[-1 if channel_axis == 1 else 1] in CHANNELS
        raise ValueError(
            f"Got {got}, but expected 1, 3 or 4 channels on axis {channel_axis}"
            + (f"; pass {to_standard}." if moved else ".")
        )
    if len(shape) not in (3, 4):
        channels = "C, H, W" if channel_axis == 1 else "H, W, C"
        raise ValueError(
            f"Got {got}, but expected a stack of images of shape (n, H, W) or "
            f"(n, {channels})."
        )


def _no_samples(shape):
    # scikit-learn's words: its own tools and checks look for them.
    return (
        f"Found array with 0 sample(s) (shape={tuple(shape)}) while a minimum of 1 is "
        "required."
    )


def _at_least_one(iterable):
    row = -1
    for row, item in enumerate(iterable):  # noqa: B007
        yield item
    if row < 0:
        raise ValueError(_no_samples((0,)))


def _is_single(X):
    return isinstance(X, (str, bytes, bytearray, os.PathLike, Image.Image))


def column_names(X):
    """Return the column names of a DataFrame or pyarrow table, else None."""
    if _is_arrow(X):
        return list(X.column_names)
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return list(X.columns)
    return None


def column_of(X, name):
    """Return one column of a table: a Series, or a list if X is of pyarrow."""
    return X.column(name).to_pylist() if _is_arrow(X) else X[name]


def _is_arrow(X):
    # Their `columns` are the values, not the names, as in pandas and polars.
    return type(X).__module__.startswith("pyarrow") and hasattr(X, "column_names")


def _all_numeric(X):
    """Tell whether all columns of a table hold numbers, perhaps as objects."""
    if _is_arrow(X):
        return all(_arrow_kind(kind) in "biufc" for kind in X.schema.types)
    kinds = list(map(_column_kind, X.dtypes))
    if not set(kinds) <= set("biufcO"):
        return False
    held_as_objects = [i for i, kind in enumerate(kinds) if kind == "O"]
    return all(_are_numbers(X.iloc[:, i]) for i in held_as_objects)


def _column_kind(dtype):
    if hasattr(dtype, "is_numeric"):  # polars
        return "f" if dtype.is_numeric() else "-"
    return getattr(dtype, "kind", "-")


def _arrow_kind(kind):
    try:
        return np.dtype(kind.to_pandas_dtype()).kind
    except (NotImplementedError, TypeError):
        return "-"


def _are_numbers(values):
    """Tell whether objects are numbers, some of which may be missing."""
    missing = 0
    for value in values:
        if value is None:
            missing += 1
        elif not isinstance(value, numbers.Number):
            return False
    return missing < len(values)


def _is_number_row(row):
    if isinstance(row, (list, tuple)):
        return len(row) > 0 and isinstance(row[0], numbers.Number)
    if isinstance(row, np.ndarray):
        return row.ndim == 1 and (
            row.dtype.kind in "biufc" or (row.dtype.kind == "O" and _are_numbers(row))
        )
    return is_tensor(row) and row.ndim == 1


def _is_item(X):
    if isinstance(X, np.generic):  # a number that came out of an array, or a string
        return isinstance(X, str)
    return _is_single(X) or is_tensor(X) or hasattr(X, "__array__")


def as_embeddings(estimator, X, *, width, check_names=True):
    """Return X as float32 embeddings of shape (n, C_e), or None if it holds images.

    NaN and infinity pass; another width is a ValueError. `width` is a function that
    returns C_e, as loading a model to ask it takes seconds. The columns must have the
    names that `estimator` was fitted on, if `check_names` says so.
    """
    if not is_embeddings(X):
        if isinstance(X, np.ndarray):
            as_image_list(X)  # refuses other shapes before anything is computed
        return None

    checked = check_array(
        X,
        dtype=np.float32,
        ensure_all_finite=False,
        estimator=estimator,
        input_name="X",
    )
    if checked.shape[1] != width():
        raise ValueError(
            f"X has {checked.shape[1]} features, but {type(estimator).__name__} is "
            f"expecting {width()} features as input: 2-D numbers are taken as "
            "embeddings, and those of its CLIP have this width. Pass images as paths, "
            "PIL images or arrays of shape (n, height, width, 3)."
        )

    # A fit that needed no X knows no names, and misses none.
    if check_names and hasattr(estimator, "feature_names_in_"):
        validate_data(estimator, X, reset=False, skip_check_array=True)
    return checked


def keep_columns(estimator, X):
    """Let an estimator remember the number and names of the columns it is fitted on.

    X holds embeddings that `as_embeddings` has accepted; of None nothing is remembered.
    """
    learnt = ("feature_names_in_", "n_features_in_")
    before = {
        name: vars(estimator).pop(name) for name in learnt if name in vars(estimator)
    }
    if X is None:
        return
    try:
        validate_data(estimator, X, reset=True, skip_check_array=True)
    except BaseException:
        vars(estimator).update(before)
        raise


def split_objects(X):
    """Part X into its images and what each of them shows.

    These are the columns "image" and "object" of a table that has both; of anything
    else X and None. An object without a name is a ValueError.
    """
    if not {"image", "object"} <= set(column_names(X) or ()):
        return X, None

    objects = list(column_of(X, "object"))
    for row, name in enumerate(objects):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"Got {name!r} in row {row} of the column 'object', but expected the "
                "name of what the image shows, such as 'bottle'; 'object' stands for "
                "anything."
            )
    return column_of(X, "image"), objects


def check_labels(y, X=None):
    """Return labels as an array of 0 and 1, or refuse them.

    Metrics take the larger label as the positive one, whatever the detector means by
    it: with 1 for normal and -1 for anomalous, or with names, a search for the best
    ROC AUC would pick the worst setting without a word. None stays None; if X has a
    length, y must have it too.

    Examples
    --------
    >>> from skclipad._inputs import check_labels
    >>> check_labels([False, True, False])
    array([0, 1, 0])
    """
    if y is None:
        return None

    y = column_or_1d(y)
    assert_all_finite(y, input_name="y")
    if hasattr(X, "__len__") and len(X) != len(y):
        raise ValueError(
            f"Got {len(y)} labels in y for {len(X)} images in X, but expected one "
            "label for each."
        )

    wrong = [label for label in dict.fromkeys(y.tolist()) if label not in (0, 1)]
    if wrong:
        raise ValueError(
            f"Got the label {wrong[0]!r} in y, but expected 0 (normal) or 1 "
            "(anomalous). Of names make labels first, say y != 'good'; of "
            "scikit-learn's 1 and -1, y == -1."
        )
    return y.astype(int)


@dataclass(frozen=True)
class Inputs:
    """What a user passed as X, looked at once.

    Attributes
    ----------
    embeddings : ndarray of shape (n_samples, C_e), dtype float32, or None
        X as checked embeddings; None if it holds images, or is None.
    objects : list of str or None
        What each image shows, if X says so.
    source : object
        What holds the images, or the columns of embeddings.
    """

    embeddings: np.ndarray | None = None
    objects: list | None = None
    source: object = None

    def images(self):
        """Return the images, one by one, with a length if X has one."""
        return as_image_list(self.source)

    @property
    def columns(self):
        """What names the columns of embeddings; None if there are none."""
        return None if self.embeddings is None else self.source


def look_at(X, estimator, *, width, fitting=False):
    """Look at what a user passed as X: the one door for it.

    What was looked at before passes through.

    Parameters
    ----------
    X : object
        Images, embeddings, a table with the columns "image" and "object", or None.
    estimator : estimator
        Who asks.
    width : callable
        Returns ``C_e``, the width that embeddings must have.
    fitting : bool, default=False
        Whether `estimator` is being fitted: names of columns are not compared then.

    Returns
    -------
    Inputs
        Embeddings or images, and what the images show.

    Raises
    ------
    ValueError
        If embeddings have another width, an array holds neither embeddings nor images,
        or an object has no name.
    """
    if isinstance(X, Inputs):
        return X
    if X is None:
        return Inputs()
    source, objects = split_objects(X)
    embeddings = as_embeddings(estimator, source, width=width, check_names=not fitting)
    return Inputs(embeddings, objects, source)
