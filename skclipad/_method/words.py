"""Random words: letters and digits, drawn uniformly, of a uniformly drawn length."""

import string

import numpy as np

ALPHABET = np.array(list(string.ascii_letters + string.digits))


def random_words(n_words, l_min, l_max, rng):
    """Draw random words.

    Parameters
    ----------
    n_words : int
        Number of words.
    l_min, l_max : int
        Shortest and longest word, in letters; both lengths are drawn.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of str of length n_words
        Words over the English alphabet (both cases) and the ten digits.

    Notes
    -----
    Sec. 3.2 of [1]_: the letters are "randomly select[ed] from the English alphabet
    and digits" and each length "between the range from the minimum length l_min to
    the maximum length l_max".

    References
    ----------
    .. [1] M. Tamura, "Random Word Data Augmentation with CLIP for Zero-Shot Anomaly
       Detection", BMVC 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.words import random_words
    >>> [len(w) for w in random_words(3, 4, 4, np.random.default_rng(0))]
    [4, 4, 4]
    """
    lengths = rng.integers(l_min, l_max, size=n_words, endpoint=True)
    letters = "".join(ALPHABET[rng.integers(len(ALPHABET), size=lengths.sum())])
    ends = np.cumsum(lengths)
    return [letters[end - n : end] for n, end in zip(lengths, ends, strict=True)]
