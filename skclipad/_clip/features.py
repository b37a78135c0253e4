"""Images to features: threads decode ahead while the model computes.

Whatever is asked of an image, the embeddings of its views or the features of its parts,
comes from one reading of it.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._clip.parts import check_parts, joined, see_parts
from skclipad._clip.places import embed_windows, places_grid
from skclipad._clip.preparation import (
    WHOLE,
    ImageFeatures,
    Preparation,
    part_keys,
)
from skclipad._clip.vision import encode_pixels, reads_class_token
from skclipad._clip.windows import WINDOWS, crop_features, token_features
from skclipad._exceptions import warn_user
from skclipad._images.bit_depth import BitDepth
from skclipad._images.regions import cut_images


def reference_parts(clip):
    """Return the parts that WinCLIP's comparison with references takes of a tower.

    These are patches and windows of a plain ViT, and what stands for patches of any
    other: crops, which are all that could stand for its windows, are worth less than
    they cost.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.

    Returns
    -------
    tuple of str
        As `ImageOptions` has them.
    """
    has_tokens = reads_class_token(clip.model.visual)
    return ("windows", "patches") if has_tokens else ("patches",)


def stream_features(clip, images, options):
    """Yield the features of images, one by one.

    A plain ViT sees a window as WinCLIP has it: the class token and the tokens of the
    window, with the positions that they have in the image, run through all blocks on
    their own. Of a tower that ends in average pooling and a linear map (``lite``) a
    window is the mean of its places. Other towers (ResNets, most of timm's) see crops
    instead: the image is cut into 6 x 6 cells, and each square of 2 x 2 or 3 x 3 cells
    is resized and run through the whole tower. What stands for patches of these, and
    the depths of every tower, come from inside it, in one pass.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    images : iterable
        Images, as `read_image` takes them.
    options : ImageOptions
        How they are read, and what is computed.

    Yields
    ------
    ImageFeatures
        Of each image, in order.

    Raises
    ------
    ImageReadError
        If an image cannot be read and `on_error` is "raise".
    ValueError
        If the tower has none of the parts asked for.
    """
    if _look_inside(clip, options):
        check_parts(clip)
    depth = BitDepth(options.bit_depth)
    prepare = Preparation(clip, options, depth)
    n_threads = count_threads(options.n_jobs)
    errors, n_images = [], 0
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="skclipad-decode")
    try:
        shown = cut_images(images, options.region)
        ahead = prefetch(pool, prepare, shown, 2 * options.batch_size + n_threads)
        ahead = _with_progress(ahead, images, options.verbose)
        for features in _computed(prepare, ahead):
            n_images += 1
            if features.error is not None:
                errors.append(features.error)
            yield features
    finally:
        pool.shutdown(cancel_futures=True)
        if options.store is not None:
            options.store.close()

    _warn_of(errors, n_images)
    depth.warn_if_dark()


def _look_inside(clip, options):
    """Tell whether features are wanted that `see_parts` gives."""
    patches = "patches" in options.parts and not reads_class_token(clip.model.visual)
    return patches or "depths" in options.parts


def prefetch(pool, function, items, depth):
    """Yield ``function(i, item)`` in order, computed at most `depth` items ahead."""
    pending = deque()
    for i, item in enumerate(items):
        pending.append(pool.submit(function, i, item))
        if len(pending) >= depth:
            yield pending.popleft().result()

    while pending:
        yield pending.popleft().result()


def count_threads(n_jobs):
    """Return how many threads decode: None is one a core, eight at most."""
    cores = joblib.cpu_count()
    if n_jobs is None:
        return min(8, cores)
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def _with_progress(prepared, images, verbose):
    if not verbose:
        return prepared  # tqdm has a lock of its own, which a fork could catch held
    total = len(images) if hasattr(images, "__len__") else None
    return tqdm(prepared, desc="Encoding images", unit="image", total=total)


def _warn_of(errors, n_images):
    if errors:
        warn_user(
            f"{len(errors)} of {n_images} images could not be read and have no "
            f"embedding (rows of NaN). The first: {errors[0]}",
        )


# The model ---------------------------------------------------------------------------


def _computed(preparation, prepared):
    """Yield the features of prepared images, computed batch by batch.

    A GPU computes a batch while the next one is put together, so results are fetched
    one batch late.
    """
    options, launched = preparation.options, deque()
    for batch in _batches(prepared, options.batch_size):
        launched.append(_launch(preparation, batch))
        if len(launched) > 1:
            yield from _fetch(*launched.popleft(), options.store)

    while launched:
        yield from _fetch(*launched.popleft(), options.store)


def _batches(prepared, batch_size):
    """Yield lists of images that have about `batch_size` views to be computed."""
    batch, n_views = [], 0
    for one in prepared:
        batch.append(one)
        n_views += one.n_views
        # Known images pass through at once, a batch of them at a time.
        if n_views >= batch_size or len(batch) >= 2 * batch_size:
            yield batch
            batch, n_views = [], 0
    if batch:
        yield batch


def _launch(preparation, batch):
    """Have what is not known of a batch computed, and drop the pixels.

    The embeddings of views stay on the model's device, which may still compute them.
    """
    clip, batch_size = preparation.clip, preparation.options.batch_size
    new = [one for one in batch if one.view_pixels is not None]
    n_views = [len(one.view_pixels) for one in new]
    embedded = _embed(clip, [one.view_pixels for one in new], batch_size)

    with_parts = [one for one in batch if one.part_pixels is not None]
    pixels = [one.part_pixels for one in with_parts]
    seen = _parts(clip, pixels, preparation.options)
    for one, features in zip(with_parts, seen, strict=True):
        known = {"size": one.size, "digest": one.digest}
        one.whole = preparation.finished(**features, **known)

    for one in batch:
        one.view_pixels = one.part_pixels = None
    return batch, (new, n_views, embedded), with_parts


def _parts(clip, pixels, options):
    """Return what is known of the parts of each image, as `ImageFeatures` has it."""
    if not pixels:
        return []
    found = [{"parts": {}} for _ in pixels]
    if _look_inside(clip, options):
        for one, (image, depths) in zip(found, _inside(clip, pixels), strict=True):
            one |= {"image": image, "depths": depths}

    if reads_class_token(clip.model.visual):
        _add_tokens(clip, pixels, options, found)
    else:
        _add_inside(options, found)
        if "windows" in options.parts and places_grid(clip) is not None:
            _add_places(clip, pixels, found)
        elif "windows" in options.parts:
            _add_crops(clip, pixels, options, found)
    if "depths" not in options.parts:
        for one in found:
            one.pop("depths", None)
    return found


def _add_tokens(clip, pixels, options, found):
    """Add the windows and patches of a plain ViT to what is known of each image."""
    wanted = {name: name in options.parts for name in ("windows", "patches")}
    if any(wanted.values()):
        features = token_features(clip, pixels, **wanted)
        for one, (image, parts) in zip(found, features, strict=True):
            one |= {"image": image, "parts": parts}


def _add_inside(options, found):
    """Add what stands for the patches of other towers."""
    if "patches" in options.parts:
        for one in found:
            one["parts"][1] = one["depths"].astype(np.float32)


def _add_places(clip, pixels, found):
    """Add windows of places."""
    whole = torch.from_numpy(np.stack([views[0] for views in pixels]))
    sides = [side for side in WINDOWS if side <= min(places_grid(clip))]
    images, windows = embed_windows(clip, whole, sides)
    for i, one in enumerate(found):
        one["image"] = images[i]
        one["parts"] |= {side: window[i] for side, window in windows.items()}


def _add_crops(clip, pixels, options, found):
    """Add crops for windows."""
    for one, views in zip(found, pixels, strict=True):
        embedded = torch.cat(_embed(clip, [views], options.batch_size))
        one["image"], windows = crop_features(embedded.cpu().numpy())
        one["parts"] |= windows


def _inside(clip, pixels):
    """Yield the embedding and the depths of each image, from one pass."""
    seen = see_parts(clip, torch.from_numpy(np.stack([views[0] for views in pixels])))
    images = seen.images.cpu().numpy()
    yield from zip(images, joined(seen.depths).half().cpu().numpy(), strict=True)


def _embed(clip, pixels, batch_size):
    """Return the embeddings of views, batch by batch, on the model's device."""
    if not pixels:
        return []
    views = torch.from_numpy(np.concatenate(pixels))
    return [encode_pixels(clip, some) for some in views.split(batch_size)]


def _fetch(batch, launched, with_parts, store):
    """Yield the features of a batch that was launched, and keep them."""
    new, n_views, embedded = launched
    if new:
        views = torch.cat(embedded).cpu().split(n_views)
        for one, of_one in zip(new, views, strict=True):
            one.views = of_one.numpy()

    if store is not None:
        _keep(store, new, with_parts)
    for one in batch:
        yield _finished(one)


def _keep(store, with_views, with_parts):
    keyed = [one for one in with_views if one.views_key is not None]
    if keyed:
        store.put_many([one.views_key for one in keyed], [one.views for one in keyed])

    for one in with_parts:
        kept = {name: getattr(one.whole, name) for name in WHOLE} | one.whole.parts
        if one.whole.depths is not None:
            kept["depths"] = one.whole.depths
        store.put_many(part_keys(one.parts_key, kept), list(kept.values()))


def _finished(one):
    if one.whole is None:
        return ImageFeatures(one.views, error=one.error)
    return one.whole if one.views is None else replace(one.whole, views=one.views)
