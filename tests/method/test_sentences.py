"""The validation sentences: balanced, of their own, and a form that is checked."""

import re
from collections import Counter
from pathlib import Path

import pytest

from skclipad import ANOMALY_WORDS, NORMAL_WORDS, load_sentences
from skclipad._method.sentences import checked_sentences

SENTENCES = load_sentences()
EVERY = [*SENTENCES["normal"], *SENTENCES["anomaly"]]


def test_there_are_hundreds_as_many_of_both_and_none_twice():
    assert len(SENTENCES["normal"]) == len(SENTENCES["anomaly"]) > 150
    assert len(set(EVERY)) == len(EVERY)


def test_they_read_as_sentences():
    for text in EVERY:
        assert text == text.strip() and text[0].isupper() and text.endswith(".")
        assert text.isascii() and "  " not in text


def test_length_does_not_tell_the_classes_apart():
    means = [
        sum(len(text.split()) for text in texts) / len(texts)
        for texts in SENTENCES.values()
    ]
    assert abs(means[0] - means[1]) < 0.2 * max(means)


def test_both_of_a_number_are_about_the_same_thing():
    small = set("a an the is in of on and has its it are with for to we no".split())

    def words(text):
        return set(re.findall("[a-z]+", text.lower())) - small

    pairs = zip(SENTENCES["normal"], SENTENCES["anomaly"], strict=True)
    shared = [bool(words(a) & words(b)) for a, b in pairs]
    assert sum(shared) > 0.95 * len(shared)


def test_no_beginning_is_a_template():
    beginnings = Counter(" ".join(text.split()[:4]) for text in SENTENCES["normal"])
    assert max(beginnings.values()) <= 3
    assert not any(re.match("(an? )?(photo|picture|image)", t.lower()) for t in EVERY)


def test_the_caller_may_change_the_lists():
    load_sentences()["normal"].clear()
    assert len(load_sentences()["normal"]) > 150


def test_the_file_lies_in_the_package():
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    assert "data/*" in setup.split("[options.package_data]")[1].split("[")[0]


def test_own_sentences_are_put_into_one_form():
    own = {"anomaly": ["It broke."], "normal": ("It is new.", "It works.")}
    assert checked_sentences(own) == (("It is new.", "It works."), ("It broke.",))
    shipped = tuple(map(tuple, SENTENCES.values()))
    assert checked_sentences(None) == checked_sentences(SENTENCES) == shipped


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"normal": ["x"]}, "exactly the keys 'normal' and 'anomaly'"),
        ({"normal": ["x"], "anomaly": []}, r"\['anomaly'\]=\[\] but .* non-empty list"),
        ({"normal": "x", "anomaly": ["y"]}, r"\['normal'\]='x'"),
        ({"normal": [" "], "anomaly": ["y"]}, r"\['normal'\]=\[' '\]"),
        ({"normal": ["x"], "anomaly": [3]}, r"\['anomaly'\]=\[3\]"),
        (["x", "y"], "expected a mapping"),
    ],
)
def test_other_sentences_are_refused(own, message):
    with pytest.raises(ValueError, match=message):
        checked_sentences(own)


def test_words_of_state_are_balanced_and_differ():
    assert len(NORMAL_WORDS) == len(ANOMALY_WORDS)
    assert not set(NORMAL_WORDS) & set(ANOMALY_WORDS)
    for word in (*NORMAL_WORDS, *ANOMALY_WORDS):
        article, *state = word.split()
        if state:
            assert article == ("an" if state[0][0] in "aeiou" else "a")
    assert (NORMAL_WORDS[0], ANOMALY_WORDS[0]) == ("a", "a damaged")  # the paper's
