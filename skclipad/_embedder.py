"""`CLIPImageEmbedder`: images in, CLIP embeddings out."""

import contextlib
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skclipad._clip.backbone import embedding_width, load_backbone
from skclipad._clip.features import stream_features
from skclipad._clip.precision import PRECISIONS
from skclipad._clip.preparation import ImageOptions
from skclipad._clip.text import encode_texts
from skclipad._exceptions import BackboneMismatchError
from skclipad._images.regions import parse_region
from skclipad._inputs import keep_columns, look_at
from skclipad._method.prompt_embeddings import TextEncoder
from skclipad._storage.store import lent_store, open_store


class CLIPImageEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Turn images into CLIP embeddings.

    The embedder learns nothing from data: `fit` only checks the parameters. It holds
    no weights either; they are found by name in a cache of the process (see
    `skclipad.clear_caches`), so clones and pickles are small.

    Parameters
    ----------
    model_name : str, default="ViT-B-16-plus-240"
        Which CLIP: a name of ``open_clip.list_models()``, ``"local-dir:FOLDER"`` (a
        folder with ``open_clip_config.json``, weights and tokenizer),
        ``"hf-hub:NAME"``, or a model bundled with this package: ``"lite"``, a small
        one for photographs where no other can be had, or ``"tiny"``, for tests on
        painted images. The default is the paper's (Sec. 4.2).
    pretrained : str or None, default="laion400m_e32"
        Which weights, for names of open_clip's registry: a tag of
        ``open_clip.list_pretrained_tags_by_model(model_name)``, or the path of a
        weights file (``.safetensors``, or ``.bin`` / ``.pt`` read with
        ``weights_only=True``). None gives seeded random weights, with a warning.
        Unused by the other kinds of name, which bring their weights. In open_clip,
        "laion400m_e31" and "laion400m_e32" of the default model name the same file.
    crops : {"whole", "multi", "tiles"} or callable, default="whole"
        Views of each image, whose embeddings `transform` averages. ``"whole"``: one
        view; ``"multi"``: the whole view and overlapping square crops of 0.85 of
        the short side, 2 x 2 of them in a square image; ``"tiles"``: square tiles of
        images that are not square. A callable takes width and height and returns
        boxes (left, upper, right, lower) in pixels. The paper does not give the
        geometry of its multi-crop: this one is our choice, by
        ``benchmarks/crops.py``.
    resize_mode : {"squash", "shortest", "longest"}, default="squash"
        How a view is brought to the square that CLIP reads. ``"squash"`` keeps the
        whole view, ``"shortest"`` scales the shorter side and cuts the rest off (the
        default of open_clip, which loses defects near an edge), ``"longest"`` fits
        the view in and pads.
    region : str, path, sequence of 4 int, array or None, default=None
        What is looked at of each image, in pixels of the upright image; None is all of
        it. ``"x,y,width,height"`` or four numbers are a box. A mask is the path of an
        image that is white where to look, or an array of shape (height, width) of bool
        or uint8: then images are cut to its box, and the rest inside the box is covered
        with one grey. An image that the region does not fit is an `ImageReadError`.
    bit_depth : int or None, default=None
        Bits that hold values in 16-bit images: files, arrays of dtype uint16, PIL
        images of mode I. Many cameras write 12 bits, 0..4095, into 16: set 12, and
        these become 0..255; a larger value is an `ImageReadError`. None takes the full
        range 0..65535, and warns if no image of a call reaches an eighth of it. Other
        images are not concerned, nor are PIL images in colour, which have 8 bits.
    decode : {"full", "reduced"}, default="full"
        How JPEG files are decoded. "reduced" has their decoder give 1/2, 1/4 or 1/8 of
        width and height as long as each view keeps twice the pixels a side that CLIP
        reads: large photographs take a third of the time or less, and get slightly
        other scores, see :doc:`/scaling`. References, maps and images of a `region` are
        decoded in full, and so is every other format.
    batch_size : int, default=32
        Views that the model computes at once.
    device : str, default="auto"
        "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}, default="auto"
        Number format of the model: "auto" is fp16 on CUDA and fp32 elsewhere, whatever
        else a CPU is fast at. "int8" is for CPUs, and for models of whose towers most
        lies in linear layers, as of ViTs and ConvNeXts; others are refused. It takes a
        third of the time and changes scores a little: :doc:`/scaling` says how to see
        what it does to your images.
    memory : str, path, joblib.Memory or None, default=None
        Folder where embeddings of images, and for references and maps the features
        of their parts, are kept between runs, by the content of the image. None keeps
        nothing. An embedding takes some kB; with the default model the parts of an
        image take 1.7 MB for WinCLIP's comparison and 3.2 MB for the mutual one, see
        :doc:`/scaling`.
    n_jobs : int or None, default=None
        Threads that decode images ahead of the model; None is one a core, eight at
        most, -1 is one a core.
    on_error : {"raise", "nan"}, default="raise"
        What an image that cannot be read does: raise `ImageReadError`, or give a row
        of NaN, with one warning for all of them.
    verbose : bool, default=False
        Show a progress bar while texts and images are encoded.

    Attributes
    ----------
    n_features_in_ : int
        Width of X, if `fit` saw embeddings.

    See Also
    --------
    RandomWordCLIPDetector : Scores the embeddings.

    References
    ----------
    .. [1] A. Radford et al., "Learning Transferable Visual Models From Natural
       Language Supervision", ICML 2021.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder
    >>> from skclipad.datasets import make_defect_images
    >>> images = make_defect_images(4, random_state=0).images
    >>> CLIPImageEmbedder(model_name="tiny").transform(images).shape
    (4, 96)
    """

    _parameter_constraints: dict = {
        "model_name": [str],
        "pretrained": [str, None],
        "crops": [StrOptions({"whole", "multi", "tiles"}), callable],
        "resize_mode": [StrOptions({"squash", "shortest", "longest"})],
        "region": [str, HasMethods("__fspath__"), "array-like", None],
        "bit_depth": [Interval(Integral, 8, 16, closed="both"), None],
        "decode": [StrOptions({"full", "reduced"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "precision": [StrOptions(set(PRECISIONS))],
        "memory": [str, HasMethods("__fspath__"), HasMethods("cache"), None],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "on_error": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model_name="ViT-B-16-plus-240",
        pretrained="laion400m_e32",
        *,
        crops="whole",
        resize_mode="squash",
        region=None,
        bit_depth=None,
        decode="full",
        batch_size=32,
        device="auto",
        precision="auto",
        memory=None,
        n_jobs=None,
        on_error="raise",
        verbose=False,
    ):
        self.model_name = model_name
        self.pretrained = pretrained
        self.crops = crops
        self.resize_mode = resize_mode
        self.region = region
        self.bit_depth = bit_depth
        self.decode = decode
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.memory = memory
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Check the parameters; nothing is learnt.

        `transform` may be called without it.

        Parameters
        ----------
        X : ignored
            Not read, unless it holds embeddings, whose width is checked.
        y : ignored
            Not read.

        Returns
        -------
        CLIPImageEmbedder
            This embedder.

        Raises
        ------
        ValueError
            If X holds embeddings of another width than the model's.

        See Also
        --------
        transform : Embed images.

        Examples
        --------
        >>> from skclipad import CLIPImageEmbedder
        >>> CLIPImageEmbedder(model_name="tiny").fit()
        CLIPImageEmbedder(model_name='tiny')
        """
        inputs = look_at(X, self, width=self._width, fitting=True)
        keep_columns(self, inputs.columns)
        return self

    def transform(self, X):
        """Embed images.

        Threads decode and resize images ahead while the model computes.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images: paths, PIL images, arrays of shape (height, width[, 1, 3 or 4]),
            tensors of shape (channels, height, width), stacks of those, a DataFrame
            column of paths, or a generator of any. Arrays of uint8 hold 0..255, of
            uint16 0..65535 (see `bit_depth`), of floats 0..1. A 2-D array of numbers is
            taken as embeddings, which pass through.

            Files and PIL images are turned upright by the EXIF orientation that they
            carry. ``image.rotate`` leaves it in a PIL image, which would be turned
            twice: use ``PIL.ImageOps.exif_transpose(image)`` instead, or pass
            ``np.asarray(image)`` of what you turned.

        Returns
        -------
        ndarray of shape (n_samples, C_e), dtype float32
            Raw embeddings, one a row.

        Raises
        ------
        ImageReadError
            If an image cannot be read and `on_error` is "raise".
        WeightsNotFoundError
            If the weights are not on this machine and cannot be fetched.
        ValueError
            If X holds embeddings of another width than the model's.

        See Also
        --------
        encode_text : Embed texts in the same space.

        Examples
        --------
        >>> import numpy as np
        >>> from skclipad import CLIPImageEmbedder
        >>> images = np.zeros((3, 64, 64, 3), dtype=np.uint8)
        >>> embeddings = CLIPImageEmbedder(model_name="tiny").transform(images)
        >>> len(embeddings)
        3
        """
        self._validate_params()
        inputs = look_at(X, self, width=self._width)
        if inputs.embeddings is not None:
            return inputs.embeddings

        features = stream_features(self._load(), inputs.images(), image_options(self))
        return np.stack([one.views.mean(axis=0) for one in features])

    def encode_text(self, texts):
        """Embed texts with the text tower of the same CLIP.

        Texts and images have embeddings in one space, where a cosine compares them.

        Parameters
        ----------
        texts : sequence of str
            Texts.

        Returns
        -------
        ndarray of shape (n_texts, C_e), dtype float32
            Raw embeddings, one a row.

        Raises
        ------
        PromptTooLongError
            If a text does not fit the context of the model.

        See Also
        --------
        transform : Embed images in the same space.

        Examples
        --------
        >>> from skclipad import CLIPImageEmbedder
        >>> embedder = CLIPImageEmbedder(model_name="tiny")
        >>> embedder.encode_text(["a photo of a damaged object"]).shape
        (1, 96)
        """
        self._validate_params()
        return encode_texts(self._load(), texts, verbose=self.verbose)

    def _text_cache_name(self):
        """Name what `encode_text` computes with, None if a subclass computes its own.

        Texts without a name are kept nowhere, nor is what is made of them.
        """
        if getattr(self.encode_text, "__func__", None) is CLIPImageEmbedder.encode_text:
            return self._load().cache_name
        return None

    def _load(self):
        return load_backbone(
            self.model_name,
            self.pretrained,
            device=self.device,
            precision=self.precision,
        )

    def _width(self):
        return self._load().embed_dim

    @property
    def _n_features_out(self):
        # scikit-learn asks when an estimator is shown: no reason to fetch weights.
        return embedding_width(self.model_name)

    def _get_fitted_attr_html(self, doc_link=""):
        # Nothing is learnt. scikit-learn 1.9 would read every property to find out, and
        # that above raises if the model is unknown.
        return {}

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


# What other rooms ask of an embedder -------------------------------------------------


def embedder_of(detector):
    """Return the embedder of a detector, the default one where it has none."""
    return CLIPImageEmbedder() if detector.embedder is None else detector.embedder


def checked_embedder(detector):
    """Return the embedder of a detector, if it still is what `fit` used.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.

    Returns
    -------
    CLIPImageEmbedder
        Its embedder.

    Raises
    ------
    BackboneMismatchError
        If it holds another CLIP than `fit` used.
    ValueError
        If there are references, and it reads images in another `resize_mode` or
        another `region`.
    """
    embedder = embedder_of(detector)
    embedder._validate_params()
    if load_clip(embedder).fingerprint != detector.backbone_:
        raise BackboneMismatchError(
            f"The embedder holds {embedder.model_name!r} (pretrained="
            f"{embedder.pretrained!r}), which is not the CLIP that this detector was "
            "fitted with: texts and images would not share a space. Set the embedder "
            "back, or call fit again."
        )

    resize_mode = detector.fit_params_["embedder__resize_mode"]
    if detector.references_ is not None and embedder.resize_mode != resize_mode:
        raise ValueError(
            f"Got embedder__resize_mode={embedder.resize_mode!r}, but the references "
            f"of this detector were read with {resize_mode!r}: their parts would not "
            "compare. Set it back, or call fit again."
        )

    # Detectors of before there were regions have none.
    region = detector.fit_params_.get("embedder__region")
    if detector.references_ is not None and region_name(embedder) != region:
        shown = "all of each image" if region is None else repr(region)
        raise ValueError(
            f"Got embedder__region={region_name(embedder)!r}, but the references of "
            f"this detector show {shown}: what one of them lacks would count as "
            "anomalous. Leave the region as it was, or call fit again with this one."
        )
    return embedder


def region_name(embedder):
    """Return the name of the region that an embedder looks at, None if it is all."""
    region = parse_region(embedder.region)
    return None if region is None else region.name


def load_clip(embedder):
    """Return the `Backbone` that an embedder names, of those that the process keeps."""
    return embedder._load()


def embed_images(embedder, X):
    """Embed images into an array, whatever output scikit-learn is set to.

    With ``set_output`` or ``transform_output``, `transform` itself gives a frame of
    pandas or polars.

    Parameters
    ----------
    embedder : CLIPImageEmbedder
        Embeds.
    X : sequence of images
        See `CLIPImageEmbedder.transform`.

    Returns
    -------
    ndarray of shape (n_samples, C_e), dtype float32
        Raw embeddings.
    """
    return np.ascontiguousarray(embedder.transform(X), dtype=np.float32)


def has_own_transform(embedder):
    """Tell whether a subclass embeds images in a way of its own."""
    return type(embedder).transform is not CLIPImageEmbedder.transform


def image_options(embedder, **changes):
    """Return how an embedder reads images, for `stream_features`.

    Parameters
    ----------
    embedder : CLIPImageEmbedder
        Says how.
    **changes : dict
        Attributes of `ImageOptions` that differ from its parameters.

    Returns
    -------
    ImageOptions
        The options.
    """
    names = ("crops", "resize_mode", "bit_depth", "batch_size", "n_jobs")
    names += ("decode", "on_error", "verbose")
    given = {name: getattr(embedder, name) for name in names}
    given["store"] = open_store(embedder.memory)
    given["region"] = parse_region(embedder.region)
    return ImageOptions(**given | changes)


@contextlib.contextmanager
def text_encoder(embedder, memory=None):
    """Give the text tower of an embedder as the method uses it, for a while.

    Parameters
    ----------
    embedder : CLIPImageEmbedder
        Encodes.
    memory : str, path, joblib.Memory or None, default=None
        Folder where embeddings of texts are kept between runs.

    Yields
    ------
    TextEncoder
        It keeps nothing of a subclass that encodes texts its own way.
    """
    with lent_store(memory) as store:
        yield TextEncoder(
            embedder.encode_text,
            embedder._text_cache_name(),
            load_clip(embedder).device,
            store,
        )
