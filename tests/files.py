"""Files for tests."""

from pathlib import Path


def touch(root, *names):
    """Make empty files, with their folders."""
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
