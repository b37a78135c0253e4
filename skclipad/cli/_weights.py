"""Which weights the name of a model takes: said, or refused, before they are read."""

import warnings

from sklearn.base import clone

from skclipad._clip.sources import published_weights
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad._exceptions import WeightsNotFoundError
from skclipad.cli._console import echo
from skclipad.cli._models import table_row
from skclipad.cli._parameters import MODEL_OPTIONS, given

DEFAULT = CLIPImageEmbedder().pretrained  # weights of the default model


def check_weights(args):
    """Say which weights a model takes that was named without any; refuse what has none.

    Nothing is guessed: without `--pretrained` a model takes the default's tag, which
    may not be the one of the table, or none of its own.
    """
    name = _named_alone(args)
    tags = [] if name is None else _tags(name)
    if not tags:  # it brings its weights, or whatever reads them knows more to say
        return

    row = _row_with(name, tags)
    if DEFAULT not in tags:
        raise ValueError(
            f"Got --model {name!r} without --pretrained, and the default's weights, "
            f"{DEFAULT!r}, are none of it. Expected one of its tags: "
            f"{', '.join(tags)}. Add --pretrained {tags[0]}{_known_of(row)}."
        )
    if row is not None and tags[0] != DEFAULT:
        echo(
            f"weights: {DEFAULT} of {name}, since --pretrained was not given; the "
            f"table of models has --pretrained {tags[0]}"
        )


def asked_embedder(args, settings):
    """Return the embedder of a model that is to be looked at, and what its weights are.

    Where none were asked for they are the table's, or the default's if the model has
    these, or random ones.
    """
    embedder = CLIPImageEmbedder(**settings)
    name = _named_alone(args)
    tags = [] if name is None else _tags(name)
    if not tags:
        return embedder, None

    if _row_with(name, tags) is not None:
        return embedder.set_params(pretrained=tags[0]), f"{tags[0]}, as in the table"
    if DEFAULT in tags:
        return embedder, f"{DEFAULT}, the default"
    said = f"--pretrained was not given; its tags are {', '.join(tags)}"
    return embedder.set_params(pretrained=None), said


def load_or_draw(embedder):
    """Return the CLIP of an embedder, and whether it has its weights.

    Published ones that are not on this machine are random: size and paths of a model
    do not depend on them.
    """
    try:
        if embedder.pretrained is not None:
            return load_clip(embedder), True
    except WeightsNotFoundError:
        if embedder.pretrained not in _tags(embedder.model_name):
            raise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is said beside the model
        return load_clip(clone(embedder).set_params(pretrained=None)), False


def _named_alone(args):
    """Return the model that was named without weights, None if there is none."""
    settings = given(args, MODEL_OPTIONS)
    if "embedder__pretrained" in settings:
        return None
    return settings.get("embedder__model_name")


def _tags(name):
    """Return the tags of a model of open_clip's registry, the table's first."""
    row, tags = table_row(name), published_weights().get(name.replace("/", "-"), [])
    return sorted(tags, key=lambda tag: row is None or tag != row["weights"])


def _row_with(name, tags):
    """Return the table's row of a model, None if its weights are unknown here."""
    row = table_row(name)
    return row if row is not None and row["weights"] in tags else None


def _known_of(row):
    if row is None:
        return ""
    sold = "may" if row["sell"] == "yes" else "may not"
    return f", the table's: {row['licence']}, {sold} be sold, {row['pixels']} pixels"
