"""Files that are complete under their name, and stamps that tell changed ones."""

import os
import time
from contextlib import contextmanager, suppress

from skclipad._storage.locks import exclusive
from skclipad._system import WINDOWS

WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries to replace a file on Windows


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
        replace(partial, target)


def replace(partial, target):
    """Give a file its name, in place of another one.

    Windows replaces no file that a program has open. Those that look at every new file
    let go of it in a moment; otherwise a PermissionError says what to do.
    """
    for wait in WAITS if WINDOWS else ():
        with suppress(PermissionError):
            os.replace(partial, target)
            return
        time.sleep(wait)

    try:
        os.replace(partial, target)
    except PermissionError as error:
        raise PermissionError(
            f"{target} cannot be replaced ({error.strerror}); if another program has "
            f"it open, close it there. What was written lies in {partial}."
        ) from error


def atomic_write_text(target, text):
    """Write a text file, in UTF-8, whole or not at all."""
    with atomic_write(target) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def full_path(path):
    """Return an absolute path, by which files are told apart.

    Windows' shells write the letter of a drive as it was typed.
    """
    drive, rest = os.path.splitdrive(os.path.abspath(path))
    return drive.upper() + rest if len(drive) == len("C:") else drive + rest


def file_stamp(path):
    """Return size and time of a file, which a changed one differs in; None if it fails.

    Take it before the file is read: what changes meanwhile then has another stamp.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
