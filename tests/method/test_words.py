"""Random words: alphabet, lengths, seeds."""

import string
from collections import Counter

import numpy as np

from skclipad._method.words import random_words

N_WORDS = 20_000


def words(l_min, l_max, n_words=N_WORDS):
    return random_words(n_words, l_min, l_max, np.random.default_rng(0))


def test_lengths_are_uniform_over_the_closed_interval():
    counts = Counter(map(len, words(5, 10)))
    assert sorted(counts) == [5, 6, 7, 8, 9, 10]
    expected = N_WORDS / 6
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_letters_are_uniform_over_both_cases_and_digits():
    counts = Counter("".join(words(5, 10)))
    assert set(counts) == set(string.ascii_letters + string.digits)
    expected = counts.total() / 62
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_equal_bounds_give_one_length():
    assert set(map(len, words(7, 7, 50))) == {7}
    assert set(map(len, words(1, 1, 50))) == {1}


def test_same_generator_state_gives_the_same_words():
    assert words(5, 10, 30) == words(5, 10, 30)
    assert len(set(words(5, 10, 1000))) == 1000
