"""A file or folder that one run at a time may write."""

import contextlib
import os

try:
    import fcntl
except ImportError:  # Windows: nothing is guarded there
    fcntl = None

from skclipad._storage.forks import OwnFile


@contextlib.contextmanager
def exclusive(target):
    """Keep other runs from writing to a place; BlockingIOError if one is at it.

    Beside the target lies ``TARGET.lock`` for as long. The system lets go of the lock
    when the process ends, however it ends, so that a file left behind by a killed run
    stops nobody; children that were forked meanwhile do not hold it. File systems
    without locks, and Windows, are not guarded.
    """
    path = target.with_name(target.name + ".lock")
    file = None if fcntl is None else _acquire(path, target)

    try:
        yield
    finally:
        # A forked child has no part in the lock: there the file is closed.
        if file is not None and file.handle is not None:
            # Removed while it is held: the next run makes a file of its own.
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            file.close()


def _acquire(path, target):
    while True:
        file = OwnFile(path)

        try:
            fcntl.flock(file.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file.handle, 100).decode(errors="replace")
            file.close()
            raise BlockingIOError(
                f"{target} is being written by another run ({holder or 'just begun'}), "
                "but expected to be the only one; wait until it has ended, or name "
                "another output."
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return None

        # Its holder may have removed the file between our opening and locking it.
        if _is_still(path, file.handle):
            os.ftruncate(file.handle, 0)
            os.write(file.handle, f"process {os.getpid()}".encode())
            return file
        file.close()


def _is_still(path, handle):
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
