"""CLIP backbones: open_clip's models, found and loaded by name.

Weights live in one place, a process-level cache, and are found again by name: no
estimator keeps a model in an attribute, so clones and pickles stay small.
"""

import hashlib
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from skclipad._clip.configs import CONFIG_FILE, brings_config, read_config
from skclipad._clip.folding import folded
from skclipad._clip.importing import import_open_clip, making
from skclipad._clip.int8_model import to_int8
from skclipad._clip.paths import (
    COSTS,
    NO_WINDOWS,
    slow_towers,
    towers_of_known_kind,
)
from skclipad._clip.places import places_grid
from skclipad._clip.precision import resolve_precision
from skclipad._clip.sources import (
    PREPROCESS_KEYS,
    find_source,
    folder_of,
    registry_name,
    tokenizer_settings,
    with_hub_tokenizer,
)
from skclipad._exceptions import WeightsNotFoundError, warn_user
from skclipad._storage.forks import ForkSafeLock
from skclipad._storage.process_cache import ProcessCache

SPARE_ROWS = 512  # a text tower may have so many more than tokens, to round its size
TRIED = "open_clip_torch>=3.0,<5"  # as in setup.cfg

CACHE_SIZE = 2
_cache = ProcessCache(CACHE_SIZE)
_loading = ForkSafeLock()  # each backbone and tokenizer once

if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not survive a fork, and it would wait for them for ever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen CLIP with all that goes with it.

    `model` is open_clip's, in eval mode and without gradients, `dtype` the type of its
    inputs, and `precision` "fp32", "bf16", "fp16" or "int8". `image_size` is height and
    width in pixels, `mean` and `std` normalise the three colour channels. The
    fingerprint is a digest of configuration, weights (all their bytes) and tokenizer,
    equal on every machine, on every device and in every precision.
    """

    model_name: str
    pretrained: str | None
    model: torch.nn.Module
    device: torch.device
    dtype: torch.dtype
    precision: str
    embed_dim: int
    context_length: int
    image_size: tuple
    mean: tuple
    std: tuple
    interpolation: str
    fingerprint: str

    @property
    def cache_name(self):
        """Name of what it computes: caches keep no rounder numbers for finer ones."""
        return f"{self.fingerprint} {self.numbers}"

    @property
    def numbers(self):
        """Name of the number format that it computes with."""
        return "int8" if self.precision == "int8" else str(self.dtype)

    @property
    def n_bytes(self):
        """Memory that its weights take."""
        kept = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    @property
    def tokenizer(self):
        """Tokenizer that belongs to the text tower, from open_clip."""
        # Not a cached_property, which before Python 3.12 has a lock that no child of a
        # fork could take.
        with _loading:
            if "_tokenizer" not in vars(self):
                vars(self)["_tokenizer"] = self._load_tokenizer()
            return vars(self)["_tokenizer"]

    def _load_tokenizer(self):
        folder = folder_of(self.model_name)
        name = self.model_name if folder is None else f"local-dir:{folder}"
        try:
            settings = tokenizer_settings(name, folder)
            return import_open_clip().get_tokenizer(name, **settings)
        except Exception as e:
            raise WeightsNotFoundError(
                f"The tokenizer of {self.model_name!r} could not be loaded: {e}. It is "
                "fetched once from the model hub; without network, fill the hub's "
                "cache on another machine, or put its files into a folder with "
                f"{CONFIG_FILE} and use model_name='local-dir:FOLDER'."
            ) from e

    @property
    def vocab_size(self):
        """Tokens that the text tower knows, None if it does not say."""
        return getattr(getattr(self.model, "text", self.model), "vocab_size", None)

    @property
    def slow_paths(self):
        """Towers that this package has no forward pass for: dict of what each costs."""
        costs = {tower: COSTS[tower] for tower in slow_towers(self.model)}
        if "image" in costs and places_grid(self) is not None:
            costs["image"] = NO_WINDOWS
        return costs

    def vocabulary_error(self, got):
        """Return the error that tokenizer and text tower differ, to be raised."""
        return ValueError(
            f"The tokenizer of {self.model_name!r} {got}, but the text tower expects a "
            f"vocabulary of {self.vocab_size}. Put the byte-pair table that belongs to "
            f"the weights beside them and name it in {CONFIG_FILE}, as "
            '"tokenizer_kwargs": {"bpe_path": "FILE.txt.gz"} in "text_cfg", or the '
            'tokenizer\'s own files with a "hf_tokenizer_name" there.'
        )


def resolve_device(device):
    """Turn "auto" (CUDA, then MPS, then CPU) or a torch name into a device.

    A ValueError says that the name is unknown or this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    try:
        resolved = torch.device(device)
    except RuntimeError as e:
        raise ValueError(
            f"Got device={device!r} but expected 'auto', 'cpu', 'cuda', 'cuda:1' or "
            "another torch device name."
        ) from e

    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(resolved.type, 0)
    if (resolved.index or 0) >= available:
        raise ValueError(
            f"Got device={device!r} but this machine has {available} device(s) of type "
            f"{resolved.type!r}. Use device='auto'; on a fitted detector "
            "`set_params(embedder__device='auto')`."
        )
    return resolved


def load_backbone(model_name, pretrained, *, device="auto", precision="auto"):
    """Load a CLIP, or hand out the one that is already loaded.

    The cache is keyed by (`model_name`, `pretrained`, device, precision) and the
    identity of the weights file (path, size, times of change): a file that changes is
    read again. It holds the last 2 backbones used, for the whole process, behind a
    lock; `clear_backbone_cache` empties it.

    Parameters are as in `CLIPImageEmbedder`; `pretrained` None gives seeded random
    weights to names of the registry. What does not fit is a ValueError, what cannot be
    had a WeightsNotFoundError.
    """
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    with _loading:
        source = find_source(model_name, pretrained)
        identity = source.identity()
        key = (model_name, pretrained, str(device), precision, identity)

        backbone = _cache.get(key)
        if backbone is None:
            backbone = _load(source, device, precision)
            _check_vocabulary(backbone, source)
            if source.identity() != identity:
                raise ValueError(
                    f"The files of {model_name!r} ({str(source.weights)!r}) changed "
                    "while they were read, but expected them to stay the same. Load "
                    "the model again when they are written."
                )
            _cache.put(key, backbone)
        return backbone


def embedding_width(model_name):
    """Return the width of a model's embeddings, from its configuration alone.

    No weights are read, but those of ``"hf-hub:NAME"``.
    """
    if model_name.startswith("hf-hub:"):
        return load_backbone(model_name, None).embed_dim
    if folder_of(model_name) is not None:
        return read_config(find_source(model_name, None))["embed_dim"]
    return import_open_clip().get_model_config(registry_name(model_name))["embed_dim"]


def clear_backbone_cache():
    """Forget every loaded backbone and free its memory.

    The next use of an estimator loads its backbone again. Embeddings of prompts and
    trained networks stay.

    Examples
    --------
    >>> import skclipad
    >>> skclipad.clear_backbone_cache()
    """
    _cache.clear()


def _check_vocabulary(backbone, source):
    """Refuse a byte-pair table of another vocabulary than the text tower's.

    The tokenizers of transformers are not looked at here: they may need files that only
    texts do, and count tokens that they never give. `tokenize` looks at what they give.
    """
    name = source.create_kwargs["model_name"]
    if not brings_config(name) or backbone.vocab_size is None:
        return
    if import_open_clip().get_model_config(name)["text_cfg"].get("hf_tokenizer_name"):
        return

    n_tokens = backbone.tokenizer.vocab_size
    if not n_tokens <= backbone.vocab_size < n_tokens + SPARE_ROWS:
        raise backbone.vocabulary_error(f"has {n_tokens} tokens")


def _load(source, device, precision):
    open_clip = import_open_clip()
    config = read_config(source)
    if source.weights is None:
        warn_user(
            f"{source.model_name} with pretrained=None has random weights: its scores "
            "mean nothing. This is for speed measurements and tests.",
        )
    # What open_clip is to compute with: weights become 8 bits after it has read them.
    loaded = "fp32" if precision == "int8" else precision
    model = _create_model(open_clip, source, device, loaded)

    model.eval().requires_grad_(False)
    _warn_of_slow_towers(model, config, source.model_name)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    size = preprocess["size"]
    size = (size, size) if isinstance(size, int) else tuple(size)
    if device.type == "cpu" and loaded == "fp32":
        model.visual = folded(model.visual, size)
    if precision == "int8":
        to_int8(model, source.model_name)
    source = with_hub_tokenizer(source)

    described = [
        config,
        # What open_clip's arguments change of the configuration.
        bool(source.create_kwargs.get("force_quick_gelu")),
        {key: preprocess[key] for key in PREPROCESS_KEYS},
        source.digests(),
    ]

    return Backbone(
        model_name=source.model_name,
        pretrained=source.pretrained,
        model=model,
        device=device,
        dtype=open_clip.get_input_dtype(loaded) or torch.float32,
        precision=precision,
        embed_dim=config["embed_dim"],
        context_length=getattr(model, "context_length", None)
        or config["text_cfg"].get("context_length", 77),
        image_size=size,
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        interpolation=preprocess["interpolation"],
        fingerprint=hashlib.sha256(
            json.dumps(described, sort_keys=True).encode()
        ).hexdigest()[:32],
    )


def _warn_of_slow_towers(model, config, name):
    """Warn where a tower has a fast path by its configuration, but not by its blocks.

    Towers that have none by their nature, as ResNets, are as the documentation says.
    """
    missed = set(slow_towers(model)) & set(towers_of_known_kind(config))
    version = import_open_clip().__version__
    for tower in sorted(missed):
        warn_user(
            f"The {tower} tower of {name!r} runs on the slow path: open_clip "
            f"{version} builds it of blocks that this version of "
            f"skclipad has no forward pass for. What that costs: {COSTS[tower]}. "
            f"`skclipad info` says it too. Blocks are known for {TRIED} without norms "
            "or scales of attention.",
        )


def _create_model(open_clip, source, device, precision):
    # A child of a fork must not find torch's generator seeded, or a logger silenced.
    with making, quiet_root_logger(), torch.random.fork_rng(devices=[]):
        # open_clip draws initial weights from the global generator, which stays as
        # it was for everybody else.
        torch.manual_seed(0)
        try:
            return open_clip.create_model(
                **source.create_kwargs,
                precision=precision,
                device=device,
                pretrained_text=False,
            )
        except Exception as e:
            raise ValueError(
                f"The weights file {str(source.weights)!r} could not be loaded as "
                f"{source.model_name!r}. Check that file and model name belong "
                "together; files are read as safetensors or with weights_only=True. "
                f"The reason was: {e}"
            ) from e


@contextmanager
def quiet_root_logger():
    """Keep open_clip's calls of `logging.warning` from configuring the root logger."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
