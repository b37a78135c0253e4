"""Natural sentences of COCO about what is normal and what is damaged, for Figure 5."""

import json
import re
from pathlib import Path

_STATES = {"normal": r"\bnormal\b", "anomaly": r"\bdamage"}


def read_captions(path, *, n_sentences=300):
    """Find sentences with "normal" or "damage" among COCO captions (Sec. 4.5).

    They serve as the natural sentences of Figure 5, and as `validation_sentences` of a
    detector.

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
    skclipad.load_sentences : Sentences of this package's own.

    Examples
    --------
    >>> import json, tempfile
    >>> from skclipad.paper import read_captions
    >>> captions = ["A normal dog.", "Storm damage.", "A cat."]
    >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    ...     json.dump({"annotations": [{"caption": c} for c in captions]}, file)
    ...     file.flush()
    ...     read_captions(file.name)
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
