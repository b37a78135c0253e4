"""Files that are complete under their name, and stamps that tell changed ones."""

import os
from contextlib import contextmanager

from skclipad._storage.locks import exclusive


@contextmanager
def atomic_write(target, *, keep=False):
    """Give a path beside the target to write to, which takes its name at the end.

    Nothing stands under the target's name before it is complete and on the disk. Two
    writers of one target would spoil it: the second gets a BlockingIOError. After an
    error what was written is removed, or stays as ``TARGET.partial`` with `keep`.
    """
    partial = target.with_name(target.name + ".partial")

    with exclusive(target):
        try:
            yield partial
        except BaseException:
            if not keep:
                partial.unlink(missing_ok=True)
            raise

        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)


def atomic_write_text(target, text):
    """Write a text file, in UTF-8, whole or not at all."""
    with atomic_write(target) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def file_stamp(path):
    """Return size and time of a file, which a changed one differs in; None if it fails.

    Take it before the file is read: what changes meanwhile then has another stamp.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
