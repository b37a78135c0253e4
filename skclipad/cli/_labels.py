"""Labels that came back: which of them are of images of a table of scores."""

import os

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import image_identity
from skclipad.cli._console import echo
from skclipad.cli._tables import read_labels

MOST_NAMES = 3  # of pictures that are named on the terminal


def labels_of(name, table, scores):
    """Return the labels of images that have a score: by path, 0 or 1.

    What was labelled is known by its path, and where the report's page wrote what each
    image showed, by that: a label of another image of the same name is left out. A
    ValueError says that none is left, or those of one kind alone.
    """
    if os.path.realpath(name) == os.path.realpath(table):
        raise ValueError(
            f"--labels {name} is the table of scores, whose column label says what "
            "lies above a threshold, not what somebody saw. Label pictures on the "
            "report's page (`skclipad score --report`), and give the labels.csv that "
            "it saves."
        )
    labels, shown = read_labels(name)
    known = {path: label for path, label in labels.items() if path in scores}
    if labels and not known:
        raise ValueError(
            f"None of the {len(labels):,} labels of {name} is of a picture with a "
            f"score in {table}: it labels {next(iter(labels))!r}, and the table has "
            f"{next(iter(scores))!r}. Score the pictures by the names that they had "
            "when they were labelled."
        )

    changed = {path for path in known if _is_another(path, shown.get(path))}
    known = {path: label for path, label in known.items() if path not in changed}
    if changed and not known:
        raise ValueError(
            f"Got {name}, but {_listed(changed)} and all others of its "
            f"{len(changed):,} pictures show something else now than when they were "
            "labelled. Is it the labels.csv of another folder, or were names used "
            "again? Label these pictures."
        )
    _echo_labels(name, table, known, [path for path in labels if path not in scores])
    if changed:
        echo(
            f"  {len(changed):,} show something else now than when they were labelled, "
            f"and are left out: {_listed(changed)}"
        )
    _check_kinds(name, known)
    return known


def count_pictures(n):
    """Write how many pictures there are, in words."""
    return "1 picture" if n == 1 else f"{n:,} pictures"


def _is_another(path, shown):
    """Tell whether an image shows something else than what was labelled."""
    if not shown or not os.path.exists(path):
        return False  # nothing is known of it
    try:
        return not image_identity(path).startswith(shown)
    except ImageReadError:
        return True


def _echo_labels(name, table, known, others):
    n_damaged = sum(known.values())
    echo(
        f"{name}: {count_pictures(len(known))} of {table}, {n_damaged:,} damaged and "
        f"{len(known) - n_damaged:,} good"
    )
    if others:
        echo(f"  {len(others):,} more have no score there: {_listed(others)}")
    if len(others) > len(known):
        echo("  these are the most of them: is it the labels.csv of another folder?")


def _check_kinds(name, known):
    n_damaged = sum(known.values())
    if n_damaged not in (0, len(known)):
        return

    there, missing = ("damaged", "good") if n_damaged else ("good", "damaged")
    more = ""
    if not n_damaged:
        more = " With good ones alone: `skclipad score --normal-dir GOOD --fpr 0.01`."
    raise ValueError(
        f"Got {len(known):,} {there} pictures in {name} and none that is {missing}, "
        'but a threshold lies between some of both. "Label pictures" on the report\'s '
        f"page goes on where you ended.{more}"
    )


def _listed(paths):
    named = ", ".join(sorted(paths)[:MOST_NAMES])
    return named + (", ..." if len(paths) > MOST_NAMES else "")
