"""CLIP backbones: the only file that imports open_clip.

Weights live in one place, a process-level cache, and are found again by name: no
estimator keeps a model in an attribute, so clones and pickles stay small.
"""

import hashlib
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from skclipad import lite, tiny
from skclipad._clip.folding import folded
from skclipad._clip.int8_model import to_int8
from skclipad._clip.paths import (
    COSTS,
    NO_WINDOWS,
    slow_towers,
    towers_of_known_kind,
)
from skclipad._clip.places import places_grid
from skclipad._clip.precision import resolve_precision
from skclipad._exceptions import WeightsNotFoundError, warn_user
from skclipad._storage.forks import ForkSafeLock, hold_while_forking
from skclipad._storage.process_cache import ProcessCache

# What open_clip looks for in a folder, these names first.
FOLDER_SUFFIXES = (".safetensors", ".bin", ".pth")
FOLDER_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
BUNDLED = {"tiny": tiny.FOLDER, "lite": lite.FOLDER}
CAVEATS = {"tiny": tiny.CAVEAT, "lite": lite.CAVEAT}  # what each is no good for
CONFIG_FILE = "open_clip_config.json"
CONFIG_LIMIT = 1_000_000  # bytes; a real one has a few thousand
# What a folder may set of its tokenizer, by whose it is: nothing that runs code.
SIMPLE_TOKENIZER_KEYS = {"bpe_path", "additional_special_tokens", "clean"}
HF_TOKENIZER_KEYS = {
    *("clean", "strip_sep_token", "language"),
    *("use_fast", "legacy", "padding_side", "truncation_side"),
}
SPARE_ROWS = 512  # a text tower may have so many more than tokens, to round its size
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")

# Names of files that a tokenizer is read from, beside a model's weights.
TOKENIZER_FILES = ("*token*", "*vocab*", "merges*", "*.model")

TRIED = "open_clip_torch>=3.0,<5"  # as in setup.cfg

CACHE_SIZE = 2
_cache = ProcessCache(CACHE_SIZE)
_digests = ProcessCache(1000)  # of files, by their identity
_loading = ForkSafeLock()  # each backbone and tokenizer once
_making = hold_while_forking()

if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not survive a fork, and it would wait for them for ever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def _open_clip():
    # Importing open_clip takes seconds and brings torchvision and timm: an estimator
    # that is only cloned, unpickled or fed with embeddings never needs it.
    try:
        with _making:  # what is half imported stays so in a forked child
            import open_clip
    except ImportError as e:
        raise ImportError(
            "open_clip could not be imported, but reading images or texts needs it. "
            f"Install it with `pip install open_clip_torch`. The reason was: {e}"
        ) from e
    return open_clip


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
        folder = _folder_of(self.model_name)
        name = self.model_name if folder is None else f"local-dir:{folder}"
        try:
            settings = _tokenizer_settings(name, folder)
            return _open_clip().get_tokenizer(name, **settings)
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
        source = _find_source(model_name, pretrained)
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
    if _folder_of(model_name) is not None:
        return _read_config(_find_source(model_name, None))["embed_dim"]
    return _open_clip().get_model_config(_registry_name(model_name))["embed_dim"]


def published_weights():
    """Return the tags of published weights by the names of open_clip's registry."""
    names = {}
    for name, tag in _open_clip().list_pretrained():
        names.setdefault(name, []).append(tag)
    return names


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


@dataclass(frozen=True)
class _Source:
    """Where a model comes from: open_clip's own arguments and the weights file."""

    model_name: str
    pretrained: str | None
    create_kwargs: dict
    weights: Path | None
    tokenizer: tuple = ()  # files, where they are known

    def identity(self):
        """Tell these files from others, without reading them."""
        files = () if self.weights is None else (self.weights, *self.tokenizer)
        return tuple(map(_file_identity, files))

    def digests(self):
        """Name what the files hold."""
        if self.weights is None:
            # Seeded weights are equal where the same code draws them.
            torch_version, _, _ = torch.__version__.partition("+")
            return ["random", torch_version, _open_clip().__version__]
        named = ([path.name, _file_digest(path)] for path in self.tokenizer)
        return [_file_digest(self.weights), *named]


def _file_identity(path):
    # The time of the last change of the file's entry too: whoever changes a file can
    # set its modification time back, as some programs that copy do.
    status = path.stat()
    times = status.st_mtime_ns, status.st_ctime_ns
    return str(path.resolve()), status.st_ino, status.st_size, *times


def _file_digest(path):
    """Digest all bytes of a file, once in a process as long as it does not change."""
    identity = _file_identity(path)
    found = _digests.get(identity)
    if found is None:
        digest = hashlib.blake2b(digest_size=32)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        found = digest.hexdigest()
        _digests.put(identity, found)
    return found


def _find_source(model_name, pretrained):
    folder = _folder_of(model_name)
    if folder is not None:
        return _folder_source(model_name, folder)
    if model_name.startswith("hf-hub:"):
        repository = model_name.removeprefix("hf-hub:")
        path = _from_hub(model_name, pretrained, lambda hub: hub(repository))
        return _Source(model_name, pretrained, {"model_name": model_name}, path)
    return _registry_source(model_name, pretrained)


def _folder_of(model_name):
    """Return the folder that a name stands for, None if it is another kind of name."""
    if model_name.startswith("local-dir:"):
        return Path(model_name.removeprefix("local-dir:"))
    return BUNDLED.get(model_name)


def _folder_source(model_name, folder):
    config = folder / CONFIG_FILE
    if not config.is_file():
        raise WeightsNotFoundError(
            f"Got model_name={model_name!r} but {str(folder)!r} holds no "
            f"{CONFIG_FILE}. Expected a folder as open_clip writes it: that file, the "
            "weights (.safetensors or .bin) and the tokenizer's files."
        )
    if config.stat().st_size > CONFIG_LIMIT:
        raise ValueError(
            f"Got {str(config)!r} of {config.stat().st_size} bytes but expected a "
            f"configuration of at most {CONFIG_LIMIT}. Check where the folder is from."
        )

    files = [p for p in folder.iterdir() if p.suffix in FOLDER_SUFFIXES]
    if not files:
        raise WeightsNotFoundError(
            f"Got model_name={model_name!r} but {str(folder)!r} holds no weights file. "
            f"Expected one ending in {', '.join(FOLDER_SUFFIXES)}."
        )

    kwargs = {"model_name": f"local-dir:{folder}"}
    tokenizer = {
        path
        for pattern in TOKENIZER_FILES
        for path in folder.glob(pattern)
        if path.is_file() and path not in files
    }
    weights = min(files, key=_preference)
    return _Source(model_name, None, kwargs, weights, tuple(sorted(tokenizer)))


def _preference(path):
    """Order weights as open_clip does, which loads the first."""
    known = path.name in FOLDER_NAMES
    rank = FOLDER_NAMES.index(path.name) if known else len(FOLDER_NAMES)
    return rank, path.suffix != ".safetensors", path


def _brings_config(name):
    """Tell whether a model's configuration is a file from elsewhere."""
    return name.startswith(("local-dir:", "hf-hub:"))


def _read_config(source):
    """Read a model's configuration; refuse one from elsewhere that could run code."""
    name = source.create_kwargs["model_name"]
    try:
        config = _open_clip().get_model_config(name)
        _, text = config["embed_dim"], config["text_cfg"]
        settings = dict(text.get("tokenizer_kwargs") or {})
    except Exception as e:
        raise ValueError(
            f"Got model_name={source.model_name!r} but its {CONFIG_FILE} is not what "
            "open_clip writes: JSON with model_cfg, in it embed_dim and text_cfg "
            f"({type(e).__name__}: {e}). Get the folder again, or mend the file."
        ) from e

    _refuse_naflex(source.model_name, config.get("vision_cfg") or {})
    if _brings_config(name):
        _check_tokenizer_settings(source.model_name, text, settings)
        _check_text_model(source.model_name, text)
    return config


def _refuse_naflex(model_name, vision):
    """Refuse an image tower that reads lists of patches instead of images."""
    settings = vision.get("timm_model_kwargs") or {}
    trunk = str(vision.get("timm_model_name") or "")
    if trunk.startswith("naflex") or settings.get("use_naflex"):
        raise ValueError(
            f"Got {model_name!r}, whose image tower is a NaFlex ViT: it reads patches "
            "of images of any shape, but expected one that reads images of one size. "
            "Use the model of the same family with a fixed size, such as "
            "'ViT-B-16-SigLIP2'."
        )


def _check_tokenizer_settings(model_name, text, settings):
    is_simple = not text.get("hf_tokenizer_name")
    allowed = SIMPLE_TOKENIZER_KEYS if is_simple else HF_TOKENIZER_KEYS
    unknown = sorted(settings.keys() - allowed)
    if unknown:
        raise ValueError(
            f"Got {', '.join(unknown)} in the tokenizer_kwargs of "
            f"{model_name!r} but expected nothing beside {', '.join(sorted(allowed))}: "
            f"no {CONFIG_FILE} may let code run. Remove it from that file. If the "
            "tokenizer needs it and you trust its code, register the configuration in "
            "your own code with open_clip.add_model_config, and give the weights as "
            "pretrained=."
        )

    table = settings.get("bpe_path", "table")
    if Path(str(table)).name != table or table in ("", ".."):
        raise ValueError(
            f"Got bpe_path={table!r} in the {CONFIG_FILE} of {model_name!r} but "
            "expected the name of a file beside it. Put the table there."
        )


def _check_text_model(model_name, text):
    """Refuse a text tower from transformers that needs code from elsewhere.

    open_clip leaves it to transformers, which asks at a terminal; a folder is no
    reason to be asked.
    """
    if not text.get("hf_model_name"):
        return
    try:
        import transformers
    except ImportError:
        return  # open_clip says what to install

    try:
        transformers.AutoConfig.from_pretrained(
            text["hf_model_name"], trust_remote_code=False
        )
    except Exception as e:
        raise ValueError(
            f"Got hf_model_name={text['hf_model_name']!r} in the {CONFIG_FILE} of "
            f"{model_name!r}, but transformers does not read its configuration without "
            f"running code from elsewhere, or not at all: {e}. Use a model whose text "
            "tower is open_clip's own or part of transformers."
        ) from e


def _tokenizer_settings(name, folder):
    """Return what is said to open_clip about a tokenizer over its configuration."""
    if not _brings_config(name):
        return {}
    text = _open_clip().get_model_config(name)["text_cfg"]
    if text.get("hf_tokenizer_name"):
        return {"trust_remote_code": False}
    table = (text.get("tokenizer_kwargs") or {}).get("bpe_path")
    if table is None:
        return {}
    if folder is None:
        return {"bpe_path": _from_hub_or_cache(name.removeprefix("hf-hub:"), table)}
    return {"bpe_path": str(folder / table)}


def _with_hub_tokenizer(source):
    """Add the byte-pair table of a model on the hub, so that its fingerprint has it."""
    name = source.create_kwargs["model_name"]
    if not name.startswith("hf-hub:"):
        return source
    table = _tokenizer_settings(name, None).get("bpe_path")
    return source if table is None else replace(source, tokenizer=(Path(table),))


def _check_vocabulary(backbone, source):
    """Refuse a byte-pair table of another vocabulary than the text tower's.

    The tokenizers of transformers are not looked at here: they may need files that only
    texts do, and count tokens that they never give. `tokenize` looks at what they give.
    """
    name = source.create_kwargs["model_name"]
    if not _brings_config(name) or backbone.vocab_size is None:
        return
    if _open_clip().get_model_config(name)["text_cfg"].get("hf_tokenizer_name"):
        return

    n_tokens = backbone.tokenizer.vocab_size
    if not n_tokens <= backbone.vocab_size < n_tokens + SPARE_ROWS:
        raise backbone.vocabulary_error(f"has {n_tokens} tokens")


def _registry_name(model_name):
    name = model_name.replace("/", "-")
    if name not in _open_clip().list_models():
        raise ValueError(
            f"Got model_name={model_name!r} but open_clip knows no such model. "
            "Expected a name of open_clip.list_models() such as 'ViT-B-16-plus-240', "
            "'local-dir:FOLDER', 'hf-hub:NAME', or the bundled 'lite' or 'tiny'."
        )
    return name


def _registry_source(model_name, pretrained):
    open_clip = _open_clip()
    name = _registry_name(model_name)
    kwargs = {"model_name": name}
    if pretrained is None:
        return _Source(name, None, kwargs, None)

    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        kwargs |= _preprocess_of([tag])
        # Some weights were trained with QuickGELU, whatever the model's name says.
        kwargs["force_quick_gelu"] = bool(tag.get("quick_gelu", False))
        path = _from_hub(name, pretrained, lambda hub: _tag_file(tag, hub))
    elif Path(pretrained).is_file():
        path = Path(pretrained)
        kwargs |= _preprocess_of_file(name, pretrained)
    else:
        raise WeightsNotFoundError(
            f"Got pretrained={pretrained!r} but it is neither a file nor a tag of "
            f"{name}. Its tags are "
            f"{open_clip.list_pretrained_tags_by_model(name) or 'none'}."
        )
    return _Source(name, pretrained, kwargs | {"pretrained": str(path)}, path)


def _preprocess_of(tags):
    """Return the preprocessing that open_clip's registry gives for these tags."""
    cfg = {key: tags[0][key] for key in PREPROCESS_KEYS if key in tags[0]}
    return {"force_preprocess_cfg": cfg}


def _preprocess_of_file(name, path):
    open_clip = _open_clip()
    names = open_clip.list_pretrained_tags_by_model(name)
    tags = [open_clip.get_pretrained_cfg(name, tag) for tag in names]

    if len({(tuple(tag["mean"]), tuple(tag["std"])) for tag in tags}) > 1:
        warn_user(
            f"The weights file {str(path)!r} does not say how its images were "
            f"normalised, and the published weights of {name} differ in it: taken as "
            f"for the tag {names[0]!r}. A folder with open_clip_config.json "
            "(model_name='local-dir:FOLDER') settles it.",
        )
    return _preprocess_of(tags) if tags else {}


def _tag_file(tag, hub):
    """Find the weights of a tag: in the hub's cache first, so that offline is fast."""
    open_clip = _open_clip()
    if tag.get("hf_hub"):
        repository, _, file = tag["hf_hub"].rpartition("/")
        return hub(repository, file or None)
    return open_clip.download_pretrained(tag)


def _from_hub(model_name, pretrained, find):
    try:
        return Path(find(_hub_file))
    except Exception as e:
        raise WeightsNotFoundError(
            f"The weights of model_name={model_name!r}, pretrained={pretrained!r} are "
            f"not on this machine and could not be fetched ({e}). Three ways to bring "
            "them: (1) load them once on a machine with network and copy its model "
            "cache (the folder that HF_HOME names) here; (2) copy the weights file and "
            "give its path as pretrained=; (3) copy a folder with "
            "open_clip_config.json, weights and tokenizer and use "
            "model_name='local-dir:FOLDER'. Without any, there is "
            "model_name='lite', a small model for photos that comes with the package."
        ) from e


def _from_hub_or_cache(repository, file):
    import huggingface_hub as hub  # comes with open_clip

    path = hub.try_to_load_from_cache(repository, file)
    return path if isinstance(path, str) else hub.hf_hub_download(repository, file)


def _hub_file(repository, file=None):
    open_clip = _open_clip()
    import huggingface_hub as hub  # comes with open_clip

    if file:
        names = [Path(file).with_suffix(".safetensors").name, file]
    else:
        names = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    for name in names:
        path = hub.try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return path
    # One short question first: a download without network retries for a minute.
    hub.HfApi().repo_info(repository, timeout=10)
    return open_clip.pretrained.download_pretrained_from_hf(repository, filename=file)


def _load(source, device, precision):
    open_clip = _open_clip()
    config = _read_config(source)
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
    source = _with_hub_tokenizer(source)

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
    for tower in sorted(missed):
        warn_user(
            f"The {tower} tower of {name!r} runs on the slow path: open_clip "
            f"{_open_clip().__version__} builds it of blocks that this version of "
            f"skclipad has no forward pass for. What that costs: {COSTS[tower]}. "
            f"`skclipad info` says it too. Blocks are known for {TRIED} without norms "
            "or scales of attention.",
        )


def _create_model(open_clip, source, device, precision):
    # A child of a fork must not find torch's generator seeded, or a logger silenced.
    with _making, quiet_root_logger(), torch.random.fork_rng(devices=[]):
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
