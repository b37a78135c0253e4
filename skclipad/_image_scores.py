"""What a fitted detector says of images, and of parts of them: scores and maps."""

from dataclasses import replace
from functools import partial
from itertools import cycle, repeat, tee

import numpy as np
from sklearn.utils import Bunch

from skclipad._clip.features import stream_features
from skclipad._combination import Combination, check_scale
from skclipad._embedder import (
    checked_embedder,
    embed_images,
    embedder_of,
    has_own_transform,
    image_options,
    load_clip,
    text_encoder,
)
from skclipad._images.reading import spread_map
from skclipad._images.regions import cut_images
from skclipad._method.maps import image_map, word_maps
from skclipad._method.network import network_layers
from skclipad._method.prompt_embeddings import object_prompts
from skclipad._method.scores import (
    combine_views,
    network_score,
    prompt_score,
    scale,
    unit,
)
from skclipad._references import (
    compare_references,
    comparison,
    image_score,
    is_standardized,
    parts_compared,
)

# Scores ------------------------------------------------------------------------------


def prompts_of(detector, objects):
    """Return the prompts that rows are compared with.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    objects : sequence of str, or None
        What the rows show, if X says so.

    Returns
    -------
    ndarray of shape (2, n_samples or 1, C_e)
        Unit text embeddings of normal and of anomalous.
    """
    if objects is None:
        return detector.prompt_embeddings_[:, None]

    names, rows = np.unique(objects, return_inverse=True)
    templates = detector.prompt_templates_
    average = detector.fit_params_["prompt_average"]
    with text_encoder(checked_embedder(detector), detector.memory) as texts:
        prompts = [
            object_prompts(texts, templates, str(name), average=average)
            for name in names
        ]
    return np.stack(prompts, axis=1)[:, rows]


def score_embeddings(detector, embeddings, prompts):
    """Score embeddings by prompts and network (Sec. 3.1 and 3.3).

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    embeddings : ndarray of shape (n, C_e)
        Raw embeddings.
    prompts : ndarray of shape (2, n or 1, C_e)
        See `prompts_of`.

    Returns
    -------
    Bunch
        ``s_pr`` and ``s_fnn``, ndarrays of shape (n,).
    """
    logits = layers_of(detector, embeddings)[-1][:, 0]

    # In double precision, as thresholds are: a score that is printed and read back is
    # on the same side of every threshold.
    precise = embeddings.astype(np.float64)
    return Bunch(
        s_pr=prompt_score(precise, *prompts, detector.temperature),
        s_fnn=network_score(logits.astype(np.float64)),
    )


def layers_of(detector, embeddings):
    """Return what each layer of a detector's network makes of embeddings.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    embeddings : ndarray of shape (n, C_e)
        Raw embeddings.

    Returns
    -------
    list of ndarray of shape (n, width)
        The last one holds the logits.
    """
    seen = unit(embeddings) if detector.fit_params_["normalize"] else embeddings
    return network_layers(seen, detector.coefs_, detector.intercepts_)


def score_images(detector, images, prompts):
    """Score the views of each image, and put the scores of its views together.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    images : iterable
        Images.
    prompts : ndarray of shape (2, n_samples or 1, C_e)
        See `prompts_of`.

    Returns
    -------
    Bunch
        What `score_embeddings` gives, and ``s_img`` if there are references.
    """
    views, s_img = _look_at(detector, images)
    scores = _score_views(detector, views, prompts)
    if s_img is not None:
        scores.s_img = s_img
    return scores


def measure_scales(detector, objects, features):
    """Measure how scores are spread over the references of a detector.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A detector that is fitted but for this.
    objects : sequence of str, or None
        What the rows of X show.
    features : list of ImageFeatures
        Of the references.

    Returns
    -------
    dict of str to (float, float), or None
        Median and spread of each score; None where these are not put on a scale.
    """
    if not is_standardized(detector, len(features)):
        return None
    check_scale(detector.n_shots, len(features))
    if objects is not None:
        objects = [objects[row] for row in detector.reference_rows_]
    clip = load_clip(embedder_of(detector))
    views = [one.views for one in features]
    scores = _score_views(detector, views, prompts_of(detector, objects))
    scores["s_img"] = compare_references(detector, clip, features)
    return {name: scale(name, values) for name, values in scores.items()}


def _look_at(detector, images):
    """Return the embeddings of each image's views, and ``s_img`` or None."""
    embedder = checked_embedder(detector)
    has_references = detector.references_ is not None
    if has_own_transform(embedder) and not has_references:
        return list(embed_images(embedder, images)[:, None]), None

    clip = load_clip(embedder)
    parts, compare = _comparison(detector, clip)
    views, s_img = [], []
    for one in stream_features(clip, images, image_options(embedder, parts=parts)):
        views.append(one.views)
        if has_references:
            # Of an image that could not be read
            unknown = one.error is not None
            s_img.append(np.nan if unknown else image_score(detector, compare(one)))
    return views, np.array(s_img, dtype=np.float64) if has_references else None


def _comparison(detector, clip):
    """Return the features of parts that are compared, and what compares them."""
    if detector.references_ is None:
        return (), None
    parts = parts_compared(detector.fit_params_["reference_method"], clip)
    return parts, comparison(detector, clip)


def _score_views(detector, views, prompts):
    """Return the word scores of images from the embeddings of their views."""
    how = detector.combine_views
    if how == "embeddings":
        views, how = [one.mean(axis=0, keepdims=True) for one in views], "mean"

    n_views = list(map(len, views))
    if prompts.shape[1] > 1:
        prompts = np.repeat(prompts, n_views, axis=1)
    scores = score_embeddings(detector, np.concatenate(views), prompts)
    for name, values in scores.items():
        scores[name] = combine_views(values, n_views, how)
    return scores


# Maps --------------------------------------------------------------------------------


def stream_maps(detector, images, prompts, size):
    """Yield the anomaly maps of images.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    images : iterable
        Images.
    prompts : ndarray of shape (2, n_samples or 1, C_e)
        See `prompts_of`.
    size : tuple of (int, int), or None
        Height and width of the maps, None for those of each image.

    Yields
    ------
    ndarray of shape (height, width), dtype float32
        A map in [0, 1], of NaN for an image that cannot be read.
    """
    embedder, combine = checked_embedder(detector), Combination.of(detector)
    clip = load_clip(embedder)
    parts, compare = _comparison(detector, clip)
    if combine.names != ["s_img"]:
        parts = tuple({"windows", *parts})
    options = image_options(embedder, crops="whole", parts=parts)

    # Of a region the map is made, and then laid out on the whole image.
    cuts = repeat(None)
    if options.region is not None:
        images, cuts = tee(cut_images(images, options.region))
        options = replace(options, region=None)

    features = stream_features(clip, images, options)
    pairs = cycle(prompts.swapaxes(0, 1))
    for one, cut, pair in zip(features, cuts, pairs, strict=False):
        if one.error is not None:
            yield image_map(None, None, combine, size)
            continue
        score = partial(_word_scores, detector, combine.names, pair)
        patches = _patch_maps(one, combine.names, score, compare)
        make = partial(image_map, one, patches, combine)
        yield make(size) if cut is None else spread_map(make, cut, size)


def _word_scores(detector, names, prompts, embeddings):
    components = score_embeddings(detector, embeddings, prompts)
    return [components[name] for name in names if name != "s_img"]


def _patch_maps(features, names, score, compare):
    """Return a map of patches for each component, and the box that it covers."""
    maps = []
    if names != ["s_img"]:
        maps = [(one, features.window_box) for one in word_maps(features, score)]
    if "s_img" in names:
        maps.insert(names.index("s_img"), (compare(features), features.box))
    return maps
