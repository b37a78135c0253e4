"""Natural sentences about what is normal and what is damaged, for Figure 5."""

import json
import re
from pathlib import Path

SENTENCES = {
    "normal": (
        "The water bottle is in excellent condition.",
        "The toy car is new and undamaged.",
        "The ball is round and firm.",
        "The guitar is in pristine condition.",
        "The phone has an unscratched screen.",
        "The roof tiles are all in place.",
        "The circuit board passed every test.",
        "A sturdy chair with four good legs.",
        "The light bulb is good.",
        "The pillow is soft and clean.",
        "The key is straight and turns easily.",
        "The leaves of the plant are green and healthy.",
    ),
    "anomaly": (
        "The water bottle has been crushed flat.",
        "The toy car is smashed, and its wheels are gone.",
        "The ball has been punctured.",
        "The guitar has a cracked neck and a broken string.",
        "The phone has a cracked screen.",
        "Several roof tiles are cracked or missing.",
        "The circuit board is scorched, and a part is missing.",
        "A wobbly chair that has lost one of its legs.",
        "The light bulb has blown, and its glass is broken.",
        "The pillow is stained and leaks feathers.",
        "The key snapped off in the lock.",
        "The leaves of the plant are brown, withered and full of holes.",
    ),
}
"""What Figure 5 shows without a file of captions."""

_STATES = {"normal": r"\bnormal\b", "anomaly": r"\bdamage"}


def read_captions(path, *, n_sentences=300):
    """Find sentences with "normal" or "damage" among COCO captions (Sec. 4.5).

    They serve as the natural sentences of Figure 5.

    Parameters
    ----------
    path : str or path
        A captions file of COCO, such as ``captions_train2017.json``.
    n_sentences : int, default=300
        At most so many of each.

    Returns
    -------
    dict of str to list of str
        Sentences under "normal" and "anomaly", in the file's order; a sentence with
        both words is neither.

    Raises
    ------
    ValueError
        If the file is of another kind, or lacks sentences of either word.

    See Also
    --------
    figure5 : Draws them.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from skclipad.paper import read_captions
    >>> captions = ["A normal dog.", "Storm damage.", "A cat."]
    >>> content = json.dumps({"annotations": [{"caption": c} for c in captions]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "captions.json")
    ...     _ = path.write_text(content)
    ...     read_captions(path)
    {'normal': ['A normal dog.'], 'anomaly': ['Storm damage.']}
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        captions = [one["caption"].strip() for one in content["annotations"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no captions, but expected a JSON file of COCO with "
            "'annotations', each with a 'caption'."
        ) from error

    found = {state: [] for state in _STATES}
    for caption in dict.fromkeys(captions):
        states = [s for s, word in _STATES.items() if re.search(word, caption, re.I)]
        if len(states) == 1 and len(found[states[0]]) < n_sentences:
            found[states[0]].append(caption)

    if not all(found.values()):
        counts = f"{len(found['normal'])} and {len(found['anomaly'])}"
        raise ValueError(
            f"{path} has {counts} captions with the words 'normal' and 'damage', but "
            "expected some of each."
        )
    return found
