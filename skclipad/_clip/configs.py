"""Configurations of models: read, and refused where they could run code."""

from pathlib import Path

from skclipad._clip.importing import import_open_clip

CONFIG_FILE = "open_clip_config.json"
CONFIG_LIMIT = 1_000_000  # bytes; a real one has a few thousand
# What a folder may set of its tokenizer, by whose it is: nothing that runs code.
SIMPLE_TOKENIZER_KEYS = {"bpe_path", "additional_special_tokens", "clean"}
HF_TOKENIZER_KEYS = {
    *("clean", "strip_sep_token", "language"),
    *("use_fast", "legacy", "padding_side", "truncation_side"),
}


def brings_config(name):
    """Tell whether a model's configuration is a file from elsewhere."""
    return name.startswith(("local-dir:", "hf-hub:"))


def read_config(source):
    """Read a model's configuration; refuse one from elsewhere that could run code."""
    name = source.create_kwargs["model_name"]
    try:
        config = import_open_clip().get_model_config(name)
        _, text = config["embed_dim"], config["text_cfg"]
        settings = dict(text.get("tokenizer_kwargs") or {})
    except Exception as e:
        raise ValueError(
            f"Got model_name={source.model_name!r} but its {CONFIG_FILE} is not what "
            "open_clip writes: JSON with model_cfg, in it embed_dim and text_cfg "
            f"({type(e).__name__}: {e}). Get the folder again, or mend the file."
        ) from e

    _refuse_naflex(source.model_name, config.get("vision_cfg") or {})
    if brings_config(name):
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
