"""A file or folder that one run at a time may write."""

import contextlib
import os

try:
    import fcntl
except ImportError:  # Windows: nothing is guarded there
    fcntl = None


@contextlib.contextmanager
def written_by_one(target):
    """Keep other runs from writing to a place while this one does.

    Beside the target lies ``TARGET.lock`` for as long. The system lets go of the lock
    when the process ends, however it ends, so that a file left behind by a killed run
    stops nobody. File systems without locks, and Windows, are not guarded.

    Parameters
    ----------
    target : pathlib.Path
        The file or folder to be written.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    BlockingIOError
        If another run writes there.
    """
    path = target.with_name(target.name + ".lock")
    handle = None if fcntl is None else _acquire(path, target)
    try:
        yield
    finally:
        if handle is not None:
            # Removed while it is held: the next run makes a file of its own.
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            os.close(handle)


def _acquire(path, target):
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 100).decode(errors="replace")
            os.close(handle)
            raise BlockingIOError(
                f"{target} is being written by another run ({holder or 'just begun'}), "
                "but expected to be the only one; wait until it has ended, or name "
                "another output."
            ) from None
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        # Its holder may have removed the file between our opening and locking it.
        if _is_still(path, handle):
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()}".encode())
            return handle
        os.close(handle)


def _is_still(path, handle):
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
