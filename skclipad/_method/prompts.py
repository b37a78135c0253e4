"""Prompts: the paper's templates, WinCLIP's ensemble, training pairs in blocks."""

from collections.abc import Mapping

import numpy as np

from skclipad._method.words import random_words

TRAINING_TEMPLATE = "{} a {} photo {} of {} {state} {}"
"""Sec. 3.2: five random words around one word of state; a pair uses it twice."""

QUERY_TEMPLATE = "a photo of {state} {object}"
"""Sec. 3.1: the two prompts that an image is compared with."""

WORDS_PER_PROMPT = TRAINING_TEMPLATE.count("{}")

BLOCK_SIZE = 100
"""Pairs drawn from one seed, encoded together and kept together by every cache."""

WINCLIP_STATES = {
    "normal": (
        "{}",
        "flawless {}",
        "perfect {}",
        "unblemished {}",
        "{} without flaw",
        "{} without defect",
        "{} without damage",
    ),
    "anomaly": (
        "damaged {}",
        "{} with flaw",
        "{} with defect",
        "{} with damage",
    ),
}
WINCLIP_TEMPLATES = (
    "a cropped photo of the {}",
    "a cropped photo of a {}",
    "a close-up photo of a {}",
    "a close-up photo of the {}",
    "a bright photo of a {}",
    "a bright photo of the {}",
    "a dark photo of the {}",
    "a dark photo of a {}",
    "a jpeg corrupted photo of a {}",
    "a jpeg corrupted photo of the {}",
    "a blurry photo of the {}",
    "a blurry photo of a {}",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of a small {}",
    "a photo of the small {}",
    "a photo of a large {}",
    "a photo of the large {}",
    "a photo of the {} for visual inspection",
    "a photo of a {} for visual inspection",
    "a photo of the {} for anomaly detection",
    "a photo of a {} for anomaly detection",
)
WINCLIP_PROMPTS = {
    label: tuple(template.format(s) for s in states for template in WINCLIP_TEMPLATES)
    for label, states in WINCLIP_STATES.items()
}
"""Jeong et al., "WinCLIP", CVPR 2023: 7 x 22 normal and 4 x 22 anomaly prompts."""


def n_blocks(n_pairs):
    """Return how many blocks hold `n_pairs` prompt pairs."""
    return -(-n_pairs // BLOCK_SIZE)


def training_block(block, *, normal_word, anomaly_word, l_min, l_max, seed):
    """Write the prompts of one block of training pairs.

    A block has a seed of its own, made of `seed` and its number, so that a larger
    ``N_p`` begins with the very pairs of a smaller one.

    Parameters
    ----------
    block : int
        Number of the block, from 0.
    normal_word, anomaly_word : str
        Words of state put at "[n]" and "[a]".
    l_min, l_max : int
        Shortest and longest random word.
    seed : int
        Seed of the whole set of prompts.

    Returns
    -------
    list of str of length 2 * BLOCK_SIZE
        All normal prompts, then all anomalous prompts; prompt ``i`` and prompt
        ``BLOCK_SIZE + i`` are a pair.
    """
    rng = np.random.default_rng([seed, block])
    n_words = 2 * BLOCK_SIZE * WORDS_PER_PROMPT
    words = random_words(n_words, l_min, l_max, rng)
    five = [words[i : i + WORDS_PER_PROMPT] for i in range(0, n_words, 5)]
    # Ten words to a pair: the first five are the normal prompt's, w0 to w4.
    return [
        TRAINING_TEMPLATE.format(*group, state=state)
        for state, groups in ((normal_word, five[::2]), (anomaly_word, five[1::2]))
        for group in groups
    ]


def query_templates(prompt_set, *, normal_word, anomaly_word):
    """Write the prompts that images are compared with, for any object.

    Parameters
    ----------
    prompt_set : {"single", "winclip"} or mapping
        ``"single"``: the paper's one prompt a class; ``"winclip"``: WinCLIP's 154
        normal and 88 anomaly prompts; a mapping with the keys "normal" and "anomaly"
        holds sequences of prompts with ``{}`` for the object.
    normal_word, anomaly_word : str
        Words of state, used by ``"single"`` alone.

    Returns
    -------
    normal, anomaly : tuple of str
        Unique prompts, in the order written, with ``{}`` for the object.

    Raises
    ------
    ValueError
        If the mapping lacks a class, has an empty one, or a prompt has no ``{}``.
    """
    if isinstance(prompt_set, Mapping):
        templates = _checked_prompts(prompt_set)
    elif prompt_set == "winclip":
        templates = WINCLIP_PROMPTS
    else:
        words = {"normal": normal_word, "anomaly": anomaly_word}
        templates = {
            label: [QUERY_TEMPLATE.format(state=word, object="{}")]
            for label, word in words.items()
        }

    return tuple(
        tuple(dict.fromkeys(templates[label])) for label in ("normal", "anomaly")
    )


def query_prompts(templates, object_name):
    """Put an object's name into the prompts that images are compared with.

    Parameters
    ----------
    templates : sequence of str
        Prompts with ``{}`` for the object.
    object_name : str
        What the images show; "object" if nothing is known (Sec. 3.1).

    Returns
    -------
    tuple of str
        Unique prompts, in the order of the templates.
    """
    return tuple(dict.fromkeys(t.replace("{}", object_name) for t in templates))


def _checked_prompts(prompt_set):
    if set(prompt_set) != {"normal", "anomaly"}:
        raise ValueError(
            f"Got prompt_set with the keys {sorted(map(str, prompt_set))} but expected "
            "exactly 'normal' and 'anomaly', each with a list of prompts."
        )
    for label, prompts in prompt_set.items():
        if isinstance(prompts, str) or len(prompts) == 0:
            raise ValueError(
                f"Got prompt_set[{label!r}]={prompts!r} but expected a non-empty list "
                "of prompts, such as ['a photo of a flawless {}']."
            )
        for prompt in prompts:
            if not isinstance(prompt, str) or "{}" not in prompt:
                raise ValueError(
                    f"Got the prompt {prompt!r} in prompt_set[{label!r}] but expected "
                    "a string with {} where the object's name goes."
                )
    return prompt_set
