"""Images to embeddings: threads decode ahead while the model computes."""

import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._clip.backbone import Backbone
from skclipad._clip.transformer import (
    has_plain_blocks,
    run_blocks,
    run_last_block,
    tokens_per_batch,
)
from skclipad._exceptions import ImageReadError
from skclipad._images.crops import GEOMETRY, crop_boxes, resize_image
from skclipad._images.reading import (
    BitDepth,
    image_identity,
    read_image,
    snapshot,
)
from skclipad._storage.store import EmbeddingStore, store_key


@dataclass
class _Prepared:
    """One image on its way: its views, their embeddings, or what went wrong."""

    embeddings: np.ndarray | None = None  # (n_views, C_e)
    views: np.ndarray | None = None
    key: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Preparation:
    """All that is done to an image before the model sees it, in any thread."""

    backbone: Backbone
    crops: str | Callable
    resize_mode: str
    on_error: str
    store: EmbeddingStore | None
    depth: BitDepth

    def __call__(self, row, item):
        try:
            return self._prepare(row, item)
        except ImageReadError as error:
            if self.on_error == "raise":
                raise
            nothing = np.full((1, self.backbone.embed_dim), np.nan, np.float32)
            # The words alone: the exception would hold on to the picture.
            said = f"{error.image} cannot be read: {error.reason}."
            return _Prepared(embeddings=nothing, error=said)

    def _prepare(self, row, item):
        # A callable has no name that would stay the same, so nothing is kept for it.
        if self.store is None or not isinstance(self.crops, str):
            return _Prepared(views=self._views(self._read(item, row)))

        item = snapshot(item, row)
        identity = image_identity(item, row)
        how = (self.crops, GEOMETRY, self.resize_mode, self.depth.bits)
        key = store_key("views", identity, self.backbone.cache_name, *how)
        (known,) = self.store.get_many([key])
        if known is not None:
            return _Prepared(embeddings=known)
        return _Prepared(views=self._views(self._read(item, row)), key=key)

    def _read(self, item, row):
        return read_image(item, row, depth=self.depth)

    def _views(self, image):
        size, interpolation = self.backbone.image_size, self.backbone.interpolation
        boxes = crop_boxes(*image.size, self.crops)
        return np.stack(
            [
                resize_image(image, box, size, self.resize_mode, interpolation)
                for box in boxes
            ]
        )  # (n_views, height, width, 3)


def encode_images(
    backbone,
    images,
    *,
    crops="whole",
    resize_mode="squash",
    batch_size=32,
    n_jobs=None,
    on_error="raise",
    store=None,
    bit_depth=None,
    verbose=False,
):
    """Embed the views of images with the image tower of a backbone.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    images : iterable of images
        From `skclipad._inputs.as_image_list`.
    crops : str or callable, default="whole"
        Views of each image; see `skclipad._images.crops.crop_boxes`.
    resize_mode : {"squash", "shortest", "longest"}, default="squash"
        How a view is brought to the size that the tower reads.
    batch_size : int, default=32
        Views that the model computes at once.
    n_jobs : int or None, default=None
        Threads that decode; None is one a core, eight at most, -1 one a core.
    on_error : {"raise", "nan"}, default="raise"
        What an image that cannot be read does: raise, or give a row of NaN.
    store : EmbeddingStore or None, default=None
        Where embeddings of known images are kept.
    bit_depth : int or None, default=None
        Bits that hold values in 16-bit images; None is all 16, with a warning if no
        image that was read comes near to using them.
    verbose : bool, default=False
        Show a progress bar.

    Returns
    -------
    list of ndarray of shape (n_views, C_e), dtype float32
        Raw embeddings ``e`` of each image's views.

    Raises
    ------
    ImageReadError
        If an image cannot be read and `on_error` is "raise".
    """
    depth = BitDepth(bit_depth)
    prepare = _Preparation(backbone, crops, resize_mode, on_error, store, depth)
    n_decoders = count_threads(n_jobs)
    pool = ThreadPoolExecutor(n_decoders, thread_name_prefix="skclipad-decode")
    rows, waiting, n_views = [], [], 0
    # A GPU computes a batch while the next one is put together, so results are
    # fetched one batch late.
    launched = deque()
    try:
        ahead = run_ahead(pool, prepare, images, 2 * batch_size + n_decoders)
        for prepared in with_progress(ahead, images, verbose):
            rows.append(prepared)
            if prepared.views is not None:
                waiting.append(prepared)
                n_views += len(prepared.views)
            # What cannot be read keeps its place, so that others are computed with
            # the same neighbours, and round alike, when it is left out.
            n_views += prepared.error is not None
            if n_views >= batch_size and waiting:
                launched.append(_launch(backbone, waiting, batch_size))
                waiting, n_views = [], 0
            while len(launched) > 1:
                _fetch(*launched.popleft(), store)
        if waiting:
            launched.append(_launch(backbone, waiting, batch_size))
        while launched:
            _fetch(*launched.popleft(), store)
    finally:
        pool.shutdown(cancel_futures=True)
    errors = [prepared.error for prepared in rows if prepared.error is not None]
    if errors:
        warnings.warn(
            f"{len(errors)} of {len(rows)} images could not be read and have no "
            f"embedding (rows of NaN). The first: {errors[0]}",
            UserWarning,
            stacklevel=4,
        )
    depth.warn_if_dark(stacklevel=4)
    return [prepared.embeddings for prepared in rows]


def with_progress(prepared, images, verbose):
    if not verbose:
        return prepared  # tqdm has a lock of its own, which a fork could catch held
    total = len(images) if hasattr(images, "__len__") else None
    return tqdm(prepared, desc="Encoding images", unit="image", total=total)


def count_threads(n_jobs):
    cores = joblib.cpu_count()
    if n_jobs is None:
        return min(8, cores)
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def run_ahead(pool, function, items, depth):
    """Yield ``function(i, item)`` in order, computed at most `depth` items ahead."""
    pending = deque()
    for i, item in enumerate(items):
        pending.append(pool.submit(function, i, item))
        if len(pending) >= depth:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _launch(backbone, waiting, batch_size):
    """Have the views of the waiting images embedded, and drop them."""
    views = torch.from_numpy(np.concatenate([p.views for p in waiting]))
    n_views = [len(p.views) for p in waiting]
    for prepared in waiting:
        prepared.views = None
    batches = [encode_pixels(backbone, batch) for batch in views.split(batch_size)]
    return waiting, n_views, batches


def _fetch(waiting, n_views, batches, store):
    """Hand out the embeddings that were launched, and keep them."""
    embeddings = torch.cat(batches).cpu().split(n_views)
    for prepared, embeddings_of_one in zip(waiting, embeddings, strict=True):
        prepared.embeddings = embeddings_of_one.numpy()
    keyed = [p for p in waiting if p.key is not None]
    if keyed:
        store.put_many([p.key for p in keyed], [p.embeddings for p in keyed])


def encode_pixels(backbone, pixels):
    """Embed pictures that already have the tower's size.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Pictures.

    Returns
    -------
    torch.Tensor of shape (n, C_e), dtype float32
        Raw embeddings on the backbone's device, as open_clip's ``encode_image``. A GPU
        may still be computing them.
    """
    visual = backbone.model.visual
    with torch.inference_mode():
        if not reads_class_token(visual):
            x = normalized(backbone, pixels)
            return backbone.model.encode_image(x, normalize=False).float()
        n_tokens = len(pixels) * len(visual.positional_embedding)
        n_pieces = -(-n_tokens // tokens_per_batch(backbone.device))
        pieces = pixels.tensor_split(min(n_pieces, len(pixels)))
        return torch.cat([_class_token(backbone, piece) for piece in pieces]).float()


def normalized(backbone, pixels):
    """Bring pictures to the device and normalise their channels.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Pictures.

    Returns
    -------
    torch.Tensor of shape (n, 3, height, width)
        What the image tower reads.
    """
    if backbone.device.type == "cuda":
        pixels = pixels.pin_memory()
    x = pixels.to(backbone.device, non_blocking=True).permute(0, 3, 1, 2)
    mean = torch.tensor(backbone.mean, device=backbone.device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=backbone.device).view(3, 1, 1)
    return x.float().div_(255).sub_(mean).div_(std).to(backbone.dtype)


def reads_class_token(visual):
    """Tell whether an image tower is a plain ViT read at its class token.

    Parameters
    ----------
    visual : torch.nn.Module
        ``model.visual`` of an open_clip model.

    Returns
    -------
    bool
        True if the last block is needed for the class token alone.
    """
    return (
        getattr(visual, "pool_type", None) == "tok"
        and getattr(visual, "attn_pool", None) is None
        and hasattr(visual, "class_embedding")
        and not visual.output_tokens
        and has_plain_blocks(visual.transformer)
    )


def patch_tokens(visual, x):
    """Cut pictures into tokens, as open_clip's ``VisionTransformer`` does.

    Parameters
    ----------
    visual : torch.nn.Module
        A ViT of open_clip.
    x : torch.Tensor of shape (n, 3, height, width)
        Normalised pictures.

    Returns
    -------
    torch.Tensor of shape (n, 1 + n_patches, width)
        Class token and patch tokens before the first block.
    """
    x = visual.conv1(x).flatten(2).transpose(1, 2)  # (n, n_patches, width)
    class_token = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([class_token, x], dim=1)
    return visual.ln_pre(x + visual.positional_embedding.to(x.dtype))


def _class_token(backbone, pixels):
    visual = backbone.model.visual
    *blocks, last = visual.transformer.resblocks
    x = run_blocks(blocks, patch_tokens(visual, normalized(backbone, pixels)))
    first = torch.zeros(len(x), dtype=torch.long, device=x.device)
    x = visual.ln_post(run_last_block(last, x, first))  # (n, width)
    return x if visual.proj is None else x @ visual.proj
