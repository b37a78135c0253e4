"""Kinds of things, told apart by the folders that images lie in."""

import os
from pathlib import Path

MOST_KINDS = 3  # that are named on the terminal


def kind_of(path, roots):
    """Return the kind of thing that an image shows, by the folder that it lies in.

    That is the name of the folder in one of `roots`, however deep the image lies in it;
    "" right in a root, and outside of all the folder that it lies in.

    Examples
    --------
    >>> from skclipad.cli._kinds import kind_of
    >>> [kind_of(p, ["a/"]) for p in ("a/can/good/1.png", "a/2.png", "b/jar/3.png")]
    ['can', '', 'jar']
    """
    for root in roots:
        if Path(path).is_relative_to(root):
            inside = Path(path).relative_to(root).parts
            return inside[0] if len(inside) > 1 else ""
    return Path(os.path.abspath(path)).parent.name


def by_kind(images, roots):
    """Return the images of each kind, by its name."""
    kinds = {}
    for image in images:
        kinds.setdefault(kind_of(image, roots), []).append(image)
    return kinds


def folders_among(names):
    """Return those of some names, of which any may be None, that are folders."""
    return [name for name in names if name is not None and os.path.isdir(name)]


def shown_kind(kind):
    """Write the name of a kind for people."""
    return repr(kind) if kind else "no sub-folder"


def listed(kinds):
    """Name some kinds of things, the first few of many."""
    names = [shown_kind(kind) for kind in kinds]
    more = len(names) - MOST_KINDS
    rest = f" and {more:,} more" if more > 0 else ""
    return ", ".join(names[:MOST_KINDS]) + rest
