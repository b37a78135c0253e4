"""Random words: letters and digits, drawn uniformly, of a uniformly drawn length."""

import string

import numpy as np

ALPHABET = np.array(list(string.ascii_letters + string.digits))


def random_words(n_words, l_min, l_max, rng):
    """Draw words of letters and digits, between `l_min` and `l_max` of them.

    Sec. 3.2: the letters are "randomly select[ed] from the English alphabet and digits"
    and each length "between the range from the minimum length l_min to the maximum
    length l_max". Here both ends are included, and both cases are in the alphabet.
    """
    lengths = rng.integers(l_min, l_max, size=n_words, endpoint=True)
    letters = "".join(ALPHABET[rng.integers(len(ALPHABET), size=lengths.sum())])
    ends = np.cumsum(lengths)
    return [letters[end - n : end] for n, end in zip(lengths, ends, strict=True)]
