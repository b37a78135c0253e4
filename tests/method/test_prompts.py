"""Prompts: the paper's templates, blocks of pairs, ensembles."""

import re

import pytest

from skclipad._method.prompts import (
    BLOCK_SIZE,
    WINCLIP_PROMPTS,
    n_blocks,
    query_prompts,
    query_templates,
    training_block,
)

SETTING = {
    "normal_word": "a",
    "anomaly_word": "a damaged",
    "l_min": 5,
    "l_max": 10,
    "seed": 3,
}
WORDS = {"normal_word": "a", "anomaly_word": "a damaged"}
WORD = "[a-zA-Z0-9]{5,10}"


def queries(prompt_set, object_name="object", **words):
    """Write the prompts of both classes for an object."""
    templates = query_templates(prompt_set, **WORDS | words)
    return tuple(query_prompts(prompts, object_name) for prompts in templates)


def test_training_prompts_follow_the_paper():
    prompts = training_block(0, **SETTING)
    assert len(prompts) == 2 * BLOCK_SIZE
    normal = re.compile(f"{WORD} a {WORD} photo {WORD} of {WORD} a {WORD}")
    damaged = re.compile(f"{WORD} a {WORD} photo {WORD} of {WORD} a damaged {WORD}")
    assert all(normal.fullmatch(prompt) for prompt in prompts[:BLOCK_SIZE])
    assert all(damaged.fullmatch(prompt) for prompt in prompts[BLOCK_SIZE:])


def test_every_word_is_drawn_afresh():
    fixed = {"a", "photo", "of", "damaged"}
    words = [
        word
        for block in range(2)
        for prompt in training_block(block, **SETTING)
        for word in prompt.split()
        if word not in fixed
    ]
    assert len(words) == len(set(words)) == 2 * BLOCK_SIZE * 10


def test_blocks_depend_on_seed_and_number_alone():
    assert training_block(4, **SETTING) == training_block(4, **SETTING)
    assert training_block(4, **SETTING) != training_block(5, **SETTING)
    assert training_block(4, **SETTING) != training_block(4, **SETTING | {"seed": 4})


def test_prompts_of_a_seed_stay_the_same():
    prompts = training_block(0, **SETTING)
    assert prompts[0] == "e6lyAysyH a RZWEh photo quKdMo of xT56m8 a FeRyO2"
    assert prompts[-1] == (
        "UbwY9 a rpbnUW photo uJgmvBQLj of Jxal6ESm9 a damaged 4M8oKxz1z"
    )


def test_state_words_do_not_change_the_random_words():
    broken = training_block(0, **SETTING | {"anomaly_word": "a broken"})
    damaged = training_block(0, **SETTING)
    assert [p.replace("broken", "damaged") for p in broken] == damaged


@pytest.mark.parametrize(
    ("n_pairs", "expected"),
    [(1, 1), (BLOCK_SIZE, 1), (BLOCK_SIZE + 1, 2), (10 * BLOCK_SIZE, 10)],
)
def test_pairs_fill_blocks(n_pairs, expected):
    assert n_blocks(n_pairs) == expected


def test_single_queries_are_the_papers():
    assert queries("single") == (
        ("a photo of a object",),
        ("a photo of a damaged object",),
    )
    normal, anomaly = queries("single", "bottle")
    assert (*normal, *anomaly) == (
        "a photo of a bottle",
        "a photo of a damaged bottle",
    )


def test_winclip_has_154_and_88_unique_prompts():
    normal, anomaly = queries("winclip")
    assert (len(normal), len(anomaly)) == (154, 88)
    assert len({*normal, *anomaly}) == 154 + 88
    assert "a photo of the flawless object for visual inspection" in normal
    assert "a jpeg corrupted photo of a object with defect" in anomaly
    assert all("{}" in prompt for prompt in WINCLIP_PROMPTS["normal"])


def test_own_prompts_are_made_unique_and_get_the_object():
    own = {"normal": ["a fine {}", "a fine {}"], "anomaly": ["a bad {} and {}"]}
    assert queries(own, "nut") == (
        ("a fine nut",),
        ("a bad nut and nut",),
    )


@pytest.mark.parametrize(
    ("prompt_set", "message"),
    [
        ({"normal": ["a {}"]}, r"keys \['normal'\].*'normal' and 'anomaly'"),
        ({"normal": ["a {}"], "anomaly": []}, "non-empty list"),
        ({"normal": "a {}", "anomaly": ["b {}"]}, "non-empty list"),
        ({"normal": ["a {}"], "anomaly": ["broken"]}, "'broken'.*with {}"),
        ({"normal": [3], "anomaly": ["b {}"]}, "prompt 3"),
    ],
)
def test_bad_prompt_sets_are_refused(prompt_set, message):
    with pytest.raises(ValueError, match=message):
        query_templates(prompt_set, **WORDS)
