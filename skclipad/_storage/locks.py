"""A file or folder that one run at a time may write."""

import contextlib
import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None

from skclipad._storage.forks import OwnFile

FAR = 2**30  # the byte that is locked on Windows, where what is locked cannot be read


@contextlib.contextmanager
def exclusive(target):
    """Keep other runs from writing to a place; BlockingIOError if one is at it.

    Beside the target lies ``TARGET.lock`` for as long. The system lets go of the lock
    when the process ends, however it ends, so that a file left behind by a killed run
    stops nobody; children that were forked meanwhile do not hold it. File systems
    without locks are not guarded.
    """
    path = target.with_name(target.name + ".lock")
    file = _acquire(path, target)

    try:
        yield
    finally:
        # A forked child has no part in the lock: there the file is closed.
        if file is not None and file.handle is not None:
            _let_go(path, file)


def _acquire(path, target):
    while True:
        file = OwnFile(path)

        try:
            _lock(file.handle)
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
            with contextlib.suppress(OSError):
                os.remove(path)
            return None

        # Its holder may have removed the file between our opening and locking it.
        if _is_still(path, file.handle):
            os.ftruncate(file.handle, 0)
            os.write(file.handle, f"process {os.getpid()}".encode())
            return file
        file.close()


def _lock(handle):
    """Lock a file; BlockingIOError if it is locked, OSError if it cannot be."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return

    if msvcrt is None:
        raise OSError("no locks on this system")
    os.lseek(handle, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(*error.args) from error
    finally:
        os.lseek(handle, 0, os.SEEK_SET)


def _let_go(path, file):
    if fcntl is not None:
        # Removed while it is held: the next run makes a file of its own.
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        file.close()
        return

    # Windows removes no file that is open, be it by the next run.
    file.close()
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.remove(path)


def _is_still(path, handle):
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
