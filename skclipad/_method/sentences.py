"""Sentences about whole and damaged things, on which early stopping listens."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

PATH = Path(__file__).parents[1] / "data" / "sentences.tsv"


def load_sentences():
    """Load the sentences on which early stopping checks a network.

    They say in plain English, of 171 everyday things each, that the thing is whole and
    that it is damaged. No random word is in them, so they tell when a network begins to
    learn random words instead of damage.

    Returns
    -------
    dict of str to list of str
        The sentences under "normal" and "anomaly", as many of both; those of one
        number are about the same thing.

    See Also
    --------
    RandomWordCLIPDetector : Takes such sentences as `validation_sentences`.

    Examples
    --------
    >>> from skclipad import load_sentences
    >>> sentences = load_sentences()
    >>> sentences["normal"][0]
    'The mug on my desk is as good as new.'
    >>> sentences["anomaly"][0]
    'The mug on my desk lost its handle when it fell.'
    """
    return {label: list(texts) for label, texts in _shipped().items()}


@cache
def _shipped():
    header, *lines = PATH.read_text(encoding="utf-8").splitlines()
    columns = zip(*(line.split("\t") for line in lines), strict=True)
    return dict(zip(header.split("\t"), columns, strict=True))


def checked_sentences(sentences):
    """Return validation sentences in one form, or refuse them.

    Parameters
    ----------
    sentences : mapping or None
        Sequences of sentences under "normal" and "anomaly"; None stands for those of
        `load_sentences`.

    Returns
    -------
    normal, anomalous : tuple of str
        The sentences.

    Raises
    ------
    ValueError
        If there is no mapping of these two keys to sentences.
    """
    if sentences is None:
        sentences = _shipped()
    if not isinstance(sentences, Mapping) or set(sentences) != {"normal", "anomaly"}:
        raise ValueError(
            f"Got validation_sentences={sentences!r} but expected a mapping with "
            "exactly the keys 'normal' and 'anomaly', each with a list of sentences."
        )
    for label, texts in sentences.items():
        is_list = not isinstance(texts, str) and len(texts) > 0
        if not is_list or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(
                f"Got validation_sentences[{label!r}]={texts!r} but expected a "
                "non-empty list of sentences, such as ['The cup is damaged.']."
            )
    return tuple(tuple(sentences[label]) for label in ("normal", "anomaly"))
