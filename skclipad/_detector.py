"""`RandomWordCLIPDetector`: from random words to anomaly scores."""

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from numbers import Integral, Real
from time import perf_counter

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skclipad._callbacks import FitCallbacks
from skclipad._combination import Combination, check_scale, check_scores
from skclipad._embedder import (
    CLIPImageEmbedder,
    embedder_of,
    load_clip,
    region_name,
    text_encoder,
)
from skclipad._image_scores import (
    measure_scales,
    prompts_of,
    score_embeddings,
    score_images,
    stream_maps,
)
from skclipad._inputs import check_labels, keep_columns, look_at
from skclipad._method.maps import height_and_width
from skclipad._method.prompt_embeddings import object_prompts
from skclipad._method.prompts import query_templates
from skclipad._method.training import (
    TrainingPrompts,
    TrainingSettings,
    check_word,
    train_once,
)
from skclipad._references import (
    REFERENCE_METHODS,
    draw_references,
    embed_references,
    keep_references,
)
from skclipad._repr import AnomalyMaps, summary_html


class RandomWordCLIPDetector(FitCallbacks, ClassifierMixin, BaseEstimator):
    """Tell damaged from normal images without any training image.

    `fit` writes pairs of prompts with random words in them, one of a pair about a
    normal and one about a damaged thing, turns them into text embeddings with CLIP,
    and trains a small feed-forward network (FNN) to tell the two apart. Because CLIP
    puts texts and images in one space, the network then judges images [1]_.

    Parameters
    ----------
    l_min, l_max : int, default=5 and 10
        Shortest and longest random word, in letters and digits.
    N_p : int, default=10000
        Number of prompt pairs.
    normal_word, anomaly_word : str, default="a" and "a damaged"
        Words of state, with their article. They stand at [state], the paper's [n] and
        [a], in the prompts that images are compared with, "a photo of [state] object",
        and in those that the FNN is trained on, "[w] a [w] photo [w] of [w] [state]
        [w]", where each [w] is another random word.
    object_name : str, default="object"
        What the images show, for the prompts that images are compared with. The
        default is the paper's unknown-object set-up; "bottle" is a known object. For
        images of several objects X may be a DataFrame with the columns "image" and
        "object"; then each row is scored with the prompts of its own object, and this
        parameter is not used.
    scores : "auto" or sequence of {"prompt", "fnn", "reference"}, default="auto"
        Which scores are combined: ``("prompt",)`` is the paper's "CLIP", ``("fnn",)``
        its "ours", both its "CLIP + ours"; ``("reference",)`` is ``s_img`` alone.
        "auto" combines all that there are: both scores of words and, with `n_shots`,
        that of the references.
    prompt_set : {"single", "winclip"} or mapping, default="single"
        Prompts that images are compared with: the paper's two, WinCLIP's ensemble of
        154 and 88, or your own as ``{"normal": [...], "anomaly": [...]}`` with ``{}``
        for the object.
    prompt_average : {"unit", "raw"}, default="unit"
        How the embeddings of several prompts of a class become one: the mean of the
        embeddings scaled to unit length (WinCLIP's way), or of the raw ones. The mean
        is scaled to unit length either way.
    combine_views : {"max", "mean", "embeddings"}, default="max"
        How several views of an image (the embedder's `crops`) give one score: the
        highest of theirs, their mean, or that of the views' mean embedding, which is
        what a Pipeline with the embedder gives. Our choice, by
        ``benchmarks/crops.py``.
    n_shots : int or "all", default=0
        Number of normal images that `fit` draws from its X as references; "all" are
        all of them, at most `max_references`. With any, there is a score ``s_img``; 0
        needs no image. Without y all images are references: with
        ``reference_method="mutual"`` a few damaged ones among them do no harm, so that
        an unlabelled folder is its own reference.
    reference_method : {"winclip", "mutual"}, default="winclip"
        How images are compared with references: "winclip" with the most similar part
        of all of them, for a few that are known to be normal; "mutual" with many of
        them, as MuSc [3]_ does, for a folder in which some may be damaged. See the
        notes.
    reference_share : float, default=0.3
        With "mutual", share of the references that a part has to be like: its distance
        is the mean over so many of the nearest. The default is MuSc's.
    reference_top : float, default=0.03
        With "mutual", share of an image's parts, those least like the references, whose
        mean score is that of the image; at least one. 0 is the maximum: small damage
        is averaged away by more, large one is not. Our choice, by
        ``benchmarks/photos.py``.
    max_references : int, default=200
        Most references that ``n_shots="all"`` takes; of more images so many are drawn.
        Memory and time of a comparison grow with them.
    combine : {"auto", "sum", "standardized"}, default="auto"
        How `scores` become one: "sum" is their mean, the paper's way, which ranks as
        their sum does; "standardized" measures each by its median and spread over the
        references, and lets words raise the score of the references, a little, but
        never lower it: see the notes. "auto" is "standardized" with
        ``reference_method="mutual"`` and 8 references or more, else "sum". Our choice,
        by ``benchmarks/photos.py``.
    temperature : float, default=0.01
        ``T`` of the prompt score. A higher one draws ``s_pr`` towards 0.5, so that it
        weighs less in the combined score. The default is the paper's.
    hidden_layer_sizes : sequence of int, default=(128, 32, 16)
        Widths of the FNN's hidden layers, as many as are given; ``()`` is none. The
        paper has three and does not give their widths: our choice, by
        ``benchmarks/choose_fnn.py``.
    dropout : float, default=0.5
        Share of units dropped in training. Our choice, by
        ``benchmarks/choose_fnn.py``.
    n_epochs : int, default=2
        Passes over the prompt pairs.
    batch_size : int, default=128
        Prompts in a batch; both of a pair are always in one.
    learning_rate : float, default=1e-3
        Learning rate of AdamW in the first epoch.
    weight_decay : float, default=1e-4
        Weight decay of AdamW.
    lr_decay : float, default=0.1
        Factor on the learning rate after each epoch. Our choice, by
        ``benchmarks/choose_fnn.py``.
    input_noise : float, default=0.0
        Length of a random vector that is added to each text embedding whenever it is
        trained on, as a multiple of the embedding's own length. It keeps the FNN from
        what tells texts apart but not images. Our addition; 1.0 makes seeds differ
        less, by ``benchmarks/photos.py`` and ``benchmarks/tiny_accuracy.py``.
    n_networks : int, default=1
        Networks trained on the same prompts from different initial weights; the FNN
        is then their average. Our addition; 5 make seeds differ less, by the same.
    normalize : bool, default=True
        Whether the FNN sees embeddings of unit length. Our choice, by
        ``benchmarks/choose_fnn.py``; the paper writes raw ones (Sec. 3.3).
    threshold : float, default=0.5
        Combined score above which an image is called anomalous.
    memory : str, path, joblib.Memory or None, default=None
        Folder where prompt embeddings are kept between runs. A larger `N_p` extends
        what a smaller one left there.
    random_state : int, RandomState instance or None, default=None
        Drives words, initial weights, batches and dropout. Pass an int for results
        that repeat, and for a grid search that trains each setting once.
    embedder : CLIPImageEmbedder or None, default=None
        The CLIP: its text tower encodes the prompts, its image tower the images.
        None is ``CLIPImageEmbedder()``, the paper's backbone.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        ``[0, 1]``: normal, anomalous.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the FNN, batch norms folded in.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of the FNN.
    loss_curve_ : list of float
        Binary cross-entropy of each training step.
    n_iter_ : int
        Training steps.
    prompt_templates_ : tuple of two tuples of str
        Prompts of normal and of anomalous that images are compared with, ``{}`` where
        the object's name goes.
    fit_params_ : dict of str to object
        Parameters that the network, the prompts and the references were made with, and
        the ``seed`` of its random numbers. What depends on them goes on to use these:
        of the parameters that determine scores only `scores`, `combine`,
        `combine_views`, `temperature`, `reference_share`, `reference_top` and
        `threshold` can be changed without another fit, and where scores are
        standardized `scores` and `threshold`.
    prompt_embeddings_ : ndarray of shape (2, C_e)
        Unit text embeddings of normal and anomalous that images are compared with.
    references_ : dict of ndarray, or None
        With `n_shots`, features of the references. For "winclip", by the side of the
        window: patch tokens or what stands for them (1) and, of plain ViTs, embeddings
        of windows of 2 and 3 patches a side, each of shape (n_references, n_down,
        n_right, width). For "mutual" ``"parts"``, the same as float16, of at most 128
        numbers a part; ``"basis"``, which brings features to these; ``"sides"`` of the
        squares that they are averaged over; and ``"digests"``, which tell an image that
        is among the references.
    reference_rows_ : ndarray of shape (n_references,), or None
        Which rows of `fit`'s X are the references.
    n_references_offered_ : int
        How many images they were drawn from.
    reference_scales_ : dict of str to (float, float), or None
        Where scores are standardized, median and spread of each over the references.
    backbone_ : str
        Fingerprint of the CLIP that `fit` used.
    n_features_in_ : int
        Width ``C_e`` of the embeddings.
    feature_names_in_ : ndarray of shape (C_e,)
        Names of the columns, if `fit` saw embeddings in a DataFrame.
    fit_time_ : float
        Seconds that `fit` took.

    Notes
    -----
    With ``e`` the embedding of an image, ``s_pr`` the softmax over its cosines to the
    two prompts (Sec. 3.1) and ``s_FNN = sigmoid(f(e))`` (Sec. 3.3), the combined score
    is their mean: ``predict_proba(X)[:, 1]``. ``decision_function`` is the combined
    score minus `threshold`, and `predict` is 1 where that is positive.

    With `n_shots` there is a score ``s_img`` too: how far the parts of an image are
    from the most similar ones of the references, ``(1 - cos) / 2``. For "winclip" [2]_
    parts are patches and windows of 2 x 2 and of 3 x 3 of them, and ``s_img`` is the
    maximum; for "mutual" [3]_ they are what the image tower shows at several depths,
    distances are averaged over the nearest references, and no image is compared with
    itself. References are taken from the whole image, whatever the embedder's `crops`,
    and are those of `fit`: an image scores the same whatever comes with it.

    Standardized scores are ``z = (s - median) / spread`` over the references, each of
    which is compared with the others; of ``s_pr`` and ``s_FNN`` the logarithms of the
    odds are measured. The combined score rises with
    ``z_img + min(max(z_words, 0), 2) / 2``: from 0 to 1, 0.5 at 3 spreads. The
    documentation's page on references has all equations.

    Scikit-learn's outlier detectors call outliers -1; here anomalous is 1, as labels
    of anomaly data sets have it. ``1 - 2 * detector.predict(X)`` turns the sign.

    Pickles hold numpy arrays and names, never CLIP's weights.

    References
    ----------
    .. [1] M. Tamura, "Random Word Data Augmentation with CLIP for Zero-Shot Anomaly
       Detection", BMVC 2023.
    .. [2] J. Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and
       Segmentation", CVPR 2023.
    .. [3] X. Li et al., "MuSc: Zero-Shot Industrial Anomaly Classification and
       Segmentation with Mutual Scoring of the Unlabeled Images", ICLR 2024.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.datasets import make_defect_images
    >>> detector = RandomWordCLIPDetector(
    ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
    ... ).fit()
    >>> images = make_defect_images(4, random_state=0).images
    >>> detector.predict_proba(images).shape
    (4, 2)
    """

    _parameter_constraints: dict = {
        "l_min": [Interval(Integral, 1, None, closed="left")],
        "l_max": [Interval(Integral, 1, None, closed="left")],
        "N_p": [Interval(Integral, 1, None, closed="left")],
        "normal_word": [str],
        "anomaly_word": [str],
        "object_name": [str],
        "scores": ["array-like", StrOptions({"auto"})],
        "prompt_set": [StrOptions({"single", "winclip"}), Mapping],
        "prompt_average": [StrOptions({"unit", "raw"})],
        "combine_views": [StrOptions({"max", "mean", "embeddings"})],
        "n_shots": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
        "reference_method": [StrOptions(set(REFERENCE_METHODS))],
        "reference_share": [Interval(Real, 0, 1, closed="right")],
        "reference_top": [Interval(Real, 0, 1, closed="both")],
        "max_references": [Interval(Integral, 1, None, closed="left")],
        "combine": [StrOptions({"auto", "sum", "standardized"})],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "hidden_layer_sizes": ["array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_decay": [Interval(Real, 0, None, closed="neither")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "memory": [str, HasMethods("__fspath__"), HasMethods("cache"), None],
        "random_state": ["random_state"],
        "embedder": [CLIPImageEmbedder, None],
    }

    def __init__(
        self,
        l_min=5,
        l_max=10,
        N_p=10000,
        *,
        normal_word="a",
        anomaly_word="a damaged",
        object_name="object",
        scores="auto",
        prompt_set="single",
        prompt_average="unit",
        combine_views="max",
        n_shots=0,
        reference_method="winclip",
        reference_share=0.3,
        reference_top=0.03,
        max_references=200,
        combine="auto",
        temperature=0.01,
        hidden_layer_sizes=(128, 32, 16),
        dropout=0.5,
        n_epochs=2,
        batch_size=128,
        learning_rate=1e-3,
        weight_decay=1e-4,
        lr_decay=0.1,
        input_noise=0.0,
        n_networks=1,
        normalize=True,
        threshold=0.5,
        memory=None,
        random_state=None,
        embedder=None,
    ):
        self.l_min = l_min
        self.l_max = l_max
        self.N_p = N_p
        self.normal_word = normal_word
        self.anomaly_word = anomaly_word
        self.object_name = object_name
        self.scores = scores
        self.prompt_set = prompt_set
        self.prompt_average = prompt_average
        self.combine_views = combine_views
        self.n_shots = n_shots
        self.reference_method = reference_method
        self.reference_share = reference_share
        self.reference_top = reference_top
        self.max_references = max_references
        self.combine = combine
        self.temperature = temperature
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.lr_decay = lr_decay
        self.input_noise = input_noise
        self.n_networks = n_networks
        self.normalize = normalize
        self.threshold = threshold
        self.memory = memory
        self.random_state = random_state
        self.embedder = embedder

    def set_params(self, **params):
        """Set parameters of this detector or of its embedder.

        Where `embedder` is None, ``embedder__model_name`` and its like set those of the
        default embedder, so that a grid may hold them.

        Parameters
        ----------
        **params : dict
            New values by name, as scikit-learn has them.

        Returns
        -------
        RandomWordCLIPDetector
            This detector.

        Raises
        ------
        ValueError
            If there is no parameter of a name.

        Examples
        --------
        >>> from skclipad import RandomWordCLIPDetector
        >>> RandomWordCLIPDetector().set_params(embedder__model_name="tiny")
        RandomWordCLIPDetector(embedder=CLIPImageEmbedder(model_name='tiny'))
        """
        of_embedder = any(name.startswith("embedder__") for name in params)
        if of_embedder and params.get("embedder", self.embedder) is None:
            params = {**params, "embedder": CLIPImageEmbedder()}
        return super().set_params(**params)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Train on prompts with random words; without `n_shots` no image is needed.

        The prompts are written, embedded and learnt from as in Sec. 3.2 and 3.3.

        Parameters
        ----------
        X : sequence of images, default=None
            With `n_shots`, images to draw the references from. Else not read, unless
            it holds embeddings, whose width is checked.
        y : array-like of shape (n_samples,), default=None
            0 for normal and 1 for anomalous images; other labels are refused, since
            metrics would take them the wrong way round. With `n_shots`, those with 0
            may be references, all if None: an unlabelled folder, for
            ``n_shots="all"`` and ``reference_method="mutual"``, may hold damaged ones.
            Nothing else is learnt from it.

        Returns
        -------
        RandomWordCLIPDetector
            This detector, fitted.

        Raises
        ------
        ValueError
            If a parameter does not fit, X holds embeddings of another width than the
            model's, y holds other labels than 0 and 1, X and y do not offer `n_shots`
            normal images, or the image tower shows no parts to compare.
        TypeError
            If there is an `n_shots` and X is None.
        ImageReadError
            If a reference cannot be read.
        PromptTooLongError
            If a prompt does not fit the context of the text tower.
        WeightsNotFoundError
            If the weights are not on this machine and cannot be fetched.
        """
        start = perf_counter()
        tell = self._begin_callbacks(X, y, n_tasks=3 if self.n_shots else 2)
        embedder = embedder_of(self)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        settings = self._checked_settings(seed)
        clip = load_clip(embedder)
        inputs = look_at(X, self, width=lambda: clip.embed_dim, fitting=True)
        y = check_labels(y, X)
        rows, chosen, n_offered = draw_references(self, inputs, y, seed)

        with text_encoder(embedder, self.memory) as texts:
            # Random words, Sec. 3.2: embedded when the network asks for them
            prompts = TrainingPrompts(texts, settings, tell)

            # The network, Sec. 3.3
            network = train_once(prompts)

            # What images are compared with, Sec. 3.1
            templates = self._query_templates()
            queries = object_prompts(
                texts, templates, self.object_name, average=self.prompt_average
            )

        # Images with whose parts those of others are compared
        rows, features = embed_references(self, embedder, chosen, rows, tell)

        # Nothing is set before all of it stands: a fit that fails changes nothing
        fitted = copy(self)
        fitted._keep_settings(clip, embedder, settings, inputs)
        fitted._keep_network(network)
        fitted.prompt_templates_, fitted.prompt_embeddings_ = templates, queries
        fitted.reference_rows_, fitted.n_references_offered_ = rows, n_offered
        fitted.references_ = keep_references(self.reference_method, clip, features)
        fitted.reference_scales_ = measure_scales(fitted, inputs.objects, features)
        fitted.fit_time_ = perf_counter() - start
        self.__dict__ = vars(fitted)
        self._end_callbacks(X, y)
        return self

    def score_components(self, X):
        """Score images by each method alone.

        These are the numbers behind all others: `predict_proba` gives the mean of those
        that are combined.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images, as `CLIPImageEmbedder.transform` takes them, a DataFrame with the
            columns "image" and "object", or embeddings.

        Returns
        -------
        sklearn.utils.Bunch
            ``s_pr``, the prompt score, ``s_fnn``, the score of the network, and with
            `n_shots` ``s_img``, the score of references, each an ndarray of shape
            (n_samples,) in [0, 1], whatever `scores` combines. An image without
            embedding (`on_error="nan"`) has NaN.

        Raises
        ------
        BackboneMismatchError
            If images are to be embedded by another CLIP than `fit` used.
        ImageReadError
            If an image cannot be read.
        ValueError
            If X holds embeddings of another width than the model's, or any embeddings
            where references need images; if a parameter that is read when images are
            scored does not fit; or if references were read in another `resize_mode`
            or `region`.
        """
        self._check_before_scoring()
        inputs = look_at(X, self, width=lambda: self.n_features_in_)
        prompts = prompts_of(self, inputs.objects)
        if inputs.embeddings is None:
            return score_images(self, inputs.images(), prompts)

        if self.references_ is not None:
            raise ValueError(
                "Got embeddings, but this detector was fitted with n_shots="
                f"{len(self.reference_rows_)} and compares images patch by patch. Pass "
                "the images themselves, or fit with n_shots=0."
            )
        return score_embeddings(self, inputs.embeddings, prompts)

    def anomaly_map(self, X, size=None):
        """Show where images are anomalous.

        Each part of an image is scored as images are, by what CLIP says of windows of
        patches (WinCLIP's way, see the references of the class); no mask and, without
        `n_shots`, no image is needed to learn it.

        Parameters
        ----------
        X : sequence of images
            Images, as `CLIPImageEmbedder.transform` takes them, or a DataFrame with the
            columns "image" and "object".
        size : int or tuple of (int, int), default=None
            Height and width of the maps in pixels; None is each image's own size.

        Returns
        -------
        list of ndarray of shape (height, width), dtype float32
            One map an image, in [0, 1], higher for more anomalous. An image that cannot
            be read has a map of NaN (`on_error="nan"`), of one pixel if `size` is None.
            A notebook shows the list as images.

        Raises
        ------
        BackboneMismatchError
            If the embedder holds another CLIP than `fit` used.
        ImageReadError
            If an image cannot be read.
        ValueError
            If X holds embeddings, `size` is not positive, or a parameter does not fit,
            as in `score_components`.

        Notes
        -----
        Windows of 2 x 2 and 3 x 3 patches are scored; their scores go to patches by
        harmonic mean, and so do these two maps and the score of the whole image to one
        map, for each of `scores`. The mean of these and, with `n_shots`, the map of the
        references is interpolated bilinearly. With ``resize_mode="shortest"``, what
        CLIP did not see has the value at the border of what it saw. Outside the
        embedder's `region` maps are 0.

        Examples
        --------
        >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
        >>> from skclipad.datasets import make_defect_images
        >>> detector = RandomWordCLIPDetector(
        ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
        ... ).fit()
        >>> images = make_defect_images(2, random_state=0).images
        >>> [one.shape for one in detector.anomaly_map(images)]
        [(64, 64), (64, 64)]
        """
        self._check_before_scoring()
        size = height_and_width(size)
        inputs = look_at(X, self, width=lambda: self.n_features_in_)
        if inputs.embeddings is not None:
            raise ValueError(
                "Got embeddings, but a map is made of the parts of an image. Pass the "
                "images themselves."
            )

        prompts = prompts_of(self, inputs.objects)
        return AnomalyMaps(stream_maps(self, inputs.images(), prompts, size))

    def predict_proba(self, X):
        """Score images as normal and anomalous.

        The scores are no calibrated probabilities: see ``CalibratedClassifierCV`` with
        ``FrozenEstimator`` for these.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images or embeddings.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Normal and anomalous; the second column is the combined score, in [0, 1].
        """
        scores = self.combine_components(self.score_components(X))
        return np.stack([1 - scores, scores], axis=1)

    def decision_function(self, X):
        """Score images relative to the threshold.

        This is what scikit-learn's ranking metrics and displays ask for.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images or embeddings.

        Returns
        -------
        ndarray of shape (n_samples,)
            Combined score minus `threshold`; positive means anomalous.
        """
        return self.combine_components(self.score_components(X)) - self.threshold

    def predict(self, X):
        """Call images normal or anomalous.

        An image is anomalous if its combined score is above `threshold`.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images or embeddings.

        Returns
        -------
        ndarray of shape (n_samples,), dtype int
            0 for normal, 1 for anomalous.

        Raises
        ------
        ValueError
            If an image has no score (`on_error="nan"`): an image that nobody saw is
            called neither normal nor anomalous.
        """
        decision = self.decision_function(X)
        unscored = np.flatnonzero(np.isnan(decision))
        if len(unscored):
            raise ValueError(
                f"{len(unscored)} of {len(decision)} samples have no score (rows "
                f"{unscored[:5].tolist()}{' ...' if len(unscored) > 5 else ''}), so "
                "they cannot be called normal or anomalous. Use predict_proba or "
                "decision_function, which give NaN there, or leave these samples out."
            )
        return self.classes_[(decision > 0).astype(int)]

    def combine_components(self, components):
        """Put the scores of each method together, as `scores` says.

        `predict_proba` does this with what `score_components` gives; where components
        are kept, nothing has to be computed again for another combination.

        Parameters
        ----------
        components : mapping of str to ndarray of shape (n_samples,)
            What `score_components` gives.

        Returns
        -------
        ndarray of shape (n_samples,)
            The combined score.

        Raises
        ------
        ValueError
            If `combine` or `scores` ask for references, and `fit` had none.
        """
        combination = Combination.of(self)
        return combination([components[name] for name in combination.names])

    # Fitting -------------------------------------------------------------------------

    def _checked_settings(self, seed):
        """Return what determines the network, or refuse it before anything is done."""
        check_scores(self.scores, self.n_shots != 0)
        if self.combine == "standardized" and self.n_shots != "all":
            check_scale(self.n_shots, self.n_shots)
        check_word("object_name", self.object_name, "bottle")
        self._query_templates()  # refuses an unusable prompt_set

        settings = TrainingSettings.of(self, seed)
        settings.check()
        return settings

    def _query_templates(self):
        return query_templates(
            self.prompt_set,
            normal_word=self.normal_word,
            anomaly_word=self.anomaly_word,
        )

    def _keep_settings(self, clip, embedder, settings, inputs):
        keep_columns(self, inputs.columns)
        self.n_features_in_ = clip.embed_dim
        self.classes_ = np.array([0, 1])
        self.backbone_ = clip.fingerprint
        self.fit_params_ = {
            **asdict(settings),
            "prompt_average": self.prompt_average,
            "reference_method": self.reference_method,
            "combine_views": self.combine_views,
            "temperature": self.temperature,
            "reference_share": self.reference_share,
            "reference_top": self.reference_top,
            "embedder__resize_mode": embedder.resize_mode,
            "embedder__region": region_name(embedder),
        }

    def _keep_network(self, network):
        # Copies: the network is shared by all that have the same settings.
        self.coefs_ = [coef.copy() for coef in network.coefs]
        self.intercepts_ = [intercept.copy() for intercept in network.intercepts]
        self.loss_curve_ = list(network.loss_curve)
        self.n_iter_ = network.n_iter

    # Scoring -------------------------------------------------------------------------

    def _check_before_scoring(self):
        """Refuse parameters that were changed after `fit` to what does not fit."""
        check_is_fitted(self)
        self._validate_params()
        check_scores(self.scores, self.references_ is not None)
        Combination.of(self)

    # What scikit-learn and notebooks ask for -----------------------------------------

    def _repr_html_inner(self):
        return super()._repr_html_inner() + summary_html(self)

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = self._repr_html_inner()
        return bundle

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True  # y is never seen
        tags.input_tags.string = True
        return tags
