"""Where a model comes from: names to files, on this machine or from the hub."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from skclipad import lite, tiny
from skclipad._clip.configs import CONFIG_FILE, CONFIG_LIMIT, brings_config
from skclipad._clip.importing import import_open_clip
from skclipad._exceptions import WeightsNotFoundError, warn_user
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
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")

# Names of files that a tokenizer is read from, beside a model's weights.
TOKENIZER_FILES = ("*token*", "*vocab*", "merges*", "*.model")

_digests = ProcessCache(1000)  # of files, by their identity


@dataclass(frozen=True)
class Source:
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
            return ["random", torch_version, import_open_clip().__version__]
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


def find_source(model_name, pretrained):
    """Return the `Source` of a model; a WeightsNotFoundError says it has none."""
    folder = folder_of(model_name)
    if folder is not None:
        return _folder_source(model_name, folder)
    if model_name.startswith("hf-hub:"):
        repository = model_name.removeprefix("hf-hub:")
        path = _from_hub(model_name, pretrained, lambda hub: hub(repository))
        return Source(model_name, pretrained, {"model_name": model_name}, path)
    return _registry_source(model_name, pretrained)


def folder_of(model_name):
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
    return Source(model_name, None, kwargs, weights, tuple(sorted(tokenizer)))


def _preference(path):
    """Order weights as open_clip does, which loads the first."""
    known = path.name in FOLDER_NAMES
    rank = FOLDER_NAMES.index(path.name) if known else len(FOLDER_NAMES)
    return rank, path.suffix != ".safetensors", path


def tokenizer_settings(name, folder):
    """Return what is said to open_clip about a tokenizer over its configuration."""
    if not brings_config(name):
        return {}
    text = import_open_clip().get_model_config(name)["text_cfg"]
    if text.get("hf_tokenizer_name"):
        return {"trust_remote_code": False}
    table = (text.get("tokenizer_kwargs") or {}).get("bpe_path")
    if table is None:
        return {}
    if folder is None:
        return {"bpe_path": _from_hub_or_cache(name.removeprefix("hf-hub:"), table)}
    return {"bpe_path": str(folder / table)}


def with_hub_tokenizer(source):
    """Add the byte-pair table of a model on the hub, so that its fingerprint has it."""
    name = source.create_kwargs["model_name"]
    if not name.startswith("hf-hub:"):
        return source
    table = tokenizer_settings(name, None).get("bpe_path")
    return source if table is None else replace(source, tokenizer=(Path(table),))


def registry_name(model_name):
    """Return a name as open_clip has it; a ValueError tells that it knows no such."""
    name = model_name.replace("/", "-")
    if name not in import_open_clip().list_models():
        raise ValueError(
            f"Got model_name={model_name!r} but open_clip knows no such model. "
            "Expected a name of open_clip.list_models() such as 'ViT-B-16-plus-240', "
            "'local-dir:FOLDER', 'hf-hub:NAME', or the bundled 'lite' or 'tiny'."
        )
    return name


def _registry_source(model_name, pretrained):
    open_clip = import_open_clip()
    name = registry_name(model_name)
    kwargs = {"model_name": name}
    if pretrained is None:
        return Source(name, None, kwargs, None)

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
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise WeightsNotFoundError(
            f"Got pretrained={pretrained!r} but it is neither a file nor a tag of "
            f"{name}. Its tags are {', '.join(tags) or 'none'}; where none is named, "
            "that of the default model is taken."
        )
    return Source(name, pretrained, kwargs | {"pretrained": str(path)}, path)


def _preprocess_of(tags):
    """Return the preprocessing that open_clip's registry gives for these tags."""
    cfg = {key: tags[0][key] for key in PREPROCESS_KEYS if key in tags[0]}
    return {"force_preprocess_cfg": cfg}


def _preprocess_of_file(name, path):
    open_clip = import_open_clip()
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
    open_clip = import_open_clip()
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
    open_clip = import_open_clip()
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


def published_weights():
    """Return the tags of published weights by the names of open_clip's registry."""
    names = {}
    for name, tag in import_open_clip().list_pretrained():
        names.setdefault(name, []).append(tag)
    return names
