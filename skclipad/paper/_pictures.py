"""Pictures of a data set, each shown to CLIP once, whatever is made of it later."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state

from skclipad._embedder import image_features, load_clip
from skclipad._images.reading import image_identity
from skclipad._method.maps import reference_map
from skclipad._method.references import choose_references, stack_features
from skclipad._method.scores import combine_views
from skclipad._storage.store import store_key

PICTURES_AT_ONCE = 16  # whose few-shot scores are kept together


@dataclass(frozen=True)
class Category:
    """The pictures of a category.

    Attributes
    ----------
    name : str
        The category.
    images : list of length n
        Paths, or arrays.
    target : ndarray of shape (n,)
        0 for normal, 1 for anomalous.
    """

    name: str
    images: list
    target: np.ndarray

    @property
    def digest(self):
        """Name the pictures by file name, size and label, without reading them."""
        digest = hashlib.blake2b(digest_size=16)
        for image, label in zip(self.images, self.target, strict=True):
            if isinstance(image, (str, os.PathLike)):
                file = os.fspath(image)
                about = f"{os.path.basename(file)}\0{os.path.getsize(file)}"
            else:
                about = image_identity(image)
            digest.update(f"{about}\0{int(label)}\0".encode("utf-8", "replace"))
        return digest.hexdigest()


def split_categories(data, categories=None):
    """Part a data set into its categories.

    Parameters
    ----------
    data : Bunch
        With ``paths`` or ``images``, ``target`` and ``category``.
    categories : iterable of str, default=None
        Those wanted; None is all.

    Returns
    -------
    list of Category
        By name.

    Raises
    ------
    ValueError
        If the parts of `data` do not fit together.
    """
    images = data["paths"] if "paths" in data else data["images"]
    target, names = np.asarray(data["target"]), np.asarray(data["category"])
    if not len(images) == len(target) == len(names):
        raise ValueError(
            f"Got {len(images)} pictures, {len(target)} labels and {len(names)} "
            "categories but expected as many of each."
        )
    found = []
    for name in sorted(set(names.tolist())):
        if categories is None or name in categories:
            rows = np.flatnonzero(names == name)
            found.append(Category(name, [images[row] for row in rows], target[rows]))
    return found


class ViewEmbeddings:
    """Embeddings of the views of a category's pictures.

    Parameters
    ----------
    views : list of ndarray of shape (n_views, C_e)
        Of each picture; the first view is the whole picture.
    """

    def __init__(self, views):
        n_views = np.array([len(one) for one in views])
        embeddings = np.concatenate(views)
        self._of = {
            "multi": (embeddings, n_views),
            "whole": (embeddings[np.cumsum(n_views) - n_views], np.ones_like(n_views)),
        }

    def score(self, crops, how, function):
        """Score pictures by their views.

        Parameters
        ----------
        crops : {"whole", "multi"}
            Which views.
        how : {"max", "mean", "embeddings"}
            The detector's `combine_views`.
        function : callable
            Turns embeddings of shape (n, C_e) into scores of shape (n,).

        Returns
        -------
        ndarray of shape (n_pictures,)
            One score a picture.
        """
        embeddings, n_views = self._of[crops]
        if how == "embeddings":
            starts = np.cumsum(n_views) - n_views
            return function(np.add.reduceat(embeddings, starts) / n_views[:, None])
        return combine_views(function(embeddings), n_views, how)


def embed_views(embedder, categories):
    """Embed all views of all pictures.

    Parameters
    ----------
    embedder : CLIPImageEmbedder
        With the crops wanted.
    categories : list of Category
        The pictures.

    Returns
    -------
    dict of str to ViewEmbeddings
        By the name of the category.
    """
    # All in one go, in one order: batches, and with them the last bits of embeddings,
    # are then the same in a run that goes on after it was killed.
    images = [image for category in categories for image in category.images]
    views = [one.views for one in image_features(embedder, images)]
    ends = np.cumsum([len(category.images) for category in categories])
    return {
        category.name: ViewEmbeddings(views[end - len(category.images) : end])
        for category, end in zip(categories, ends, strict=True)
    }


def detector_seed(random_state):
    """Return the seed that a detector makes of its `random_state`.

    Parameters
    ----------
    random_state : int
        The parameter.

    Returns
    -------
    int
        What `choose_references` is called with.
    """
    return int(check_random_state(random_state).randint(2**31 - 1))


def score_references(embedder, category, references, seeds, shots, store=None):
    """Compare a category's pictures with references, for all seeds in one pass.

    Parameters
    ----------
    embedder : CLIPImageEmbedder
        Sees patches and windows.
    category : Category
        The pictures.
    references : list
        Normal pictures to draw from.
    seeds : sequence of int
        Each draws references of its own, as a detector with that `random_state`.
    shots : sequence of int
        Numbers of references, the largest last.
    store : EmbeddingStore or None, default=None
        Where scores are kept.

    Returns
    -------
    dict of (int, int) to ndarray of shape (n_pictures,)
        ``s_img`` by (seed, shots).

    Raises
    ------
    ValueError
        If there are fewer references than shots.
    """
    drawn = {
        seed: choose_references(references, None, shots[-1], detector_seed(seed))[0]
        for seed in seeds
    }
    keys = _score_keys(embedder, category, references, drawn, shots, store)
    flat = [key for row in keys for key in row]
    known = [None] * len(flat) if store is None else store.get_many(flat)
    scores = dict(zip(flat, known, strict=True))
    todo = [i for i, row in enumerate(keys) if any(scores[key] is None for key in row)]
    if todo:
        found = _stream_scores(embedder, category, references, drawn, shots, todo)
        for first in range(0, len(todo), PICTURES_AT_ONCE):
            rows = todo[first : first + PICTURES_AT_ONCE]
            new = {key: next(found) for row in rows for key in keys[row]}
            if store is not None:
                store.put_many(list(new), list(new.values()))
            scores |= new
    return {
        (seed, k): np.array([scores[row[s]][i] for row in keys])
        for s, seed in enumerate(seeds)
        for i, k in enumerate(shots)
    }


def _score_keys(embedder, category, references, drawn, shots, store):
    """Return a key for each picture and seed; what there is no store for is cheap."""
    if store is None:
        return [[(i, seed) for seed in drawn] for i in range(len(category.images))]
    names = {
        row: image_identity(references[row]) for rows in drawn.values() for row in rows
    }
    how = (load_clip(embedder).cache_name, embedder.resize_mode, tuple(shots))
    wanted = [tuple(names[row] for row in rows) for rows in drawn.values()]
    return [
        [store_key("s_img", image_identity(image), *how, rows) for rows in wanted]
        for image in category.images
    ]


def _stream_scores(embedder, category, references, drawn, shots, todo):
    """Yield the scores of pictures, each of shape (n_shots,), seed by seed."""
    rows = sorted({int(row) for rows in drawn.values() for row in rows})
    images = [references[row] for row in rows]
    options = {"crops": "whole", "parts": "patches", "on_error": "raise"}
    features = stack_features(image_features(embedder, images, **options))
    places = {row: place for place, row in enumerate(rows)}
    chosen = []
    for drawn_rows in drawn.values():
        at = [places[int(row)] for row in drawn_rows]
        chosen.append({side: part[at] for side, part in features.items()})
    pictures = [category.images[i] for i in todo]
    for one in image_features(embedder, pictures, **options):
        for part in chosen:
            yield np.array(
                [
                    reference_map(
                        one.parts, {side: part[side][:k] for side in part}
                    ).max()
                    for k in shots
                ]
            )
