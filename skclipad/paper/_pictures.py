"""Images of a data set, each shown to CLIP once, whatever is made of it later."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state

from skclipad._clip.features import reference_parts, stream_features
from skclipad._embedder import image_options, load_clip
from skclipad._images.reading import image_identity
from skclipad._method.maps import reference_map
from skclipad._method.references import choose_references, stack_features
from skclipad._method.scores import combine_views
from skclipad._storage.store import store_key

AT_ONCE = 16  # images whose few-shot scores are kept together


@dataclass(frozen=True)
class Category:
    """The images of a category, paths or arrays; those of target 1 are anomalous."""

    name: str
    images: list
    target: np.ndarray

    @property
    def digest(self):
        """Name the images by file name, size and label, without reading them."""
        digest = hashlib.blake2b(digest_size=16)
        for image, label in zip(self.images, self.target, strict=True):
            if isinstance(image, (str, os.PathLike)):
                file = os.fspath(image)
                about = f"{os.path.basename(file)}\0{os.path.getsize(file)}"
            else:
                about = image_identity(image)
            digest.update(f"{about}\0{int(label)}\0".encode("utf-8", "replace"))
        return digest.hexdigest()


def split_categories(data):
    """Part a data set into its categories, in the order of their names."""
    images = data["paths"] if "paths" in data else data["images"]
    target, names = np.asarray(data["target"]), np.asarray(data["category"])
    if not len(images) == len(target) == len(names):
        raise ValueError(
            f"Got {len(images)} images, {len(target)} labels and {len(names)} "
            "categories but expected as many of each."
        )

    found = []
    for name in sorted(set(names.tolist())):
        rows = np.flatnonzero(names == name)
        found.append(Category(name, [images[row] for row in rows], target[rows]))
    return found


class ViewEmbeddings:
    """Embeddings of the views of a category's images; the first shows all of it."""

    def __init__(self, views):
        n_views = np.array([len(one) for one in views])
        embeddings = np.concatenate(views)
        self._of = {
            "multi": (embeddings, n_views),
            "whole": (embeddings[np.cumsum(n_views) - n_views], np.ones_like(n_views)),
        }

    def score(self, crops, how, function):
        """Score images by their "whole" or "multi" views.

        The function turns embeddings into scores; `how` is the detector's
        `combine_views`. Returns one score an image.
        """
        embeddings, n_views = self._of[crops]
        if how == "embeddings":
            starts = np.cumsum(n_views) - n_views
            return function(np.add.reduceat(embeddings, starts) / n_views[:, None])
        return combine_views(function(embeddings), n_views, how)


def embed_views(embedder, categories):
    """Embed all views of all images; return `ViewEmbeddings` by category."""
    # All in one go, in one order: batches, and with them the last bits of embeddings,
    # are then the same in a run that goes on after it was killed.
    images = [image for category in categories for image in category.images]
    features = stream_features(load_clip(embedder), images, image_options(embedder))
    views = [one.views for one in features]
    ends = np.cumsum([len(category.images) for category in categories])
    return {
        category.name: ViewEmbeddings(views[end - len(category.images) : end])
        for category, end in zip(categories, ends, strict=True)
    }


def score_references(embedder, category, references, seeds, shots, store):
    """Compare a category's images with references, for all seeds in one pass.

    Each seed draws references of its own, as a detector with that `random_state`.
    `shots` are numbers of references, the largest last; scores are kept in the store,
    if there is one. Returns ``s_img`` of all images by (seed, shots).
    """
    drawn = {}
    for seed in seeds:
        own = int(check_random_state(seed).randint(2**31 - 1))  # as a detector's
        drawn[seed] = choose_references(references, None, shots[-1], own)[0]

    keys = _score_keys(embedder, category, references, drawn, shots, store)
    flat = [key for row in keys for key in row]
    known = [None] * len(flat) if store is None else store.get_many(flat)
    scores = dict(zip(flat, known, strict=True))

    todo = [i for i, row in enumerate(keys) if any(scores[key] is None for key in row)]
    if todo:
        found = _stream_scores(embedder, category, references, drawn, shots, todo)
        for first in range(0, len(todo), AT_ONCE):
            rows = todo[first : first + AT_ONCE]
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
    """Return a key for each image and seed; what there is no store for is cheap."""
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
    """Yield the scores of images, each of shape (n_shots,), seed by seed."""
    # The features of all references that some seed draws, then those of each seed
    rows = sorted({int(row) for rows in drawn.values() for row in rows})
    images = [references[row] for row in rows]
    clip = load_clip(embedder)
    options = image_options(
        embedder, crops="whole", parts=reference_parts(clip), on_error="raise"
    )
    features = stack_features(stream_features(clip, images, options))
    chosen = []
    for drawn_rows in drawn.values():
        at = np.searchsorted(rows, drawn_rows)
        chosen.append({side: part[at] for side, part in features.items()})

    images = [category.images[i] for i in todo]
    for one in stream_features(clip, images, options):
        for part in chosen:
            few = ({side: part[side][:k] for side in part} for k in shots)
            yield np.array([reference_map(one.parts, some).max() for some in few])
