"""What a fork of the process does to locks: one rule for all of the package.

A forked child has one thread, the one that forked. A lock that another thread held is
never let go of in the child, and what that thread was changing stays half changed. So
each lock is one of these three, and nothing else takes a `threading.Lock`:

- `ForkSafeLock`, for all that may take long, such as a fit. A fork does not wait for
  it. If another thread held it, the child has a new one, and what it guards is put back
  into a sound state.
- `hold_while_forking`, for moments that a child could not begin anew: SQLite at work,
  whose own mutexes would stay locked, and a model being made, which changes settings of
  the whole process. A fork waits for these moments.
- On a file, that of an `OwnFile`. It belongs to the process that took it, but a child
  would inherit it and hold it for as long as it lives.
"""

import os
import threading

_locks = []
_held = []  # pairs of lock and what to call when it is held
_files = set()


class ForkSafeLock:
    """A re-entrant lock that no other thread holds in a forked child.

    If a thread that does not exist there held it, `restore` is called in the child, to
    put what the lock guards into a sound state.
    """

    def __init__(self, restore=None):
        self._lock = threading.RLock()
        self._restore = restore
        _locks.append(self)

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *exc_info):
        self._lock.release()

    def renew(self):
        """Replace the lock, in a child, if another thread holds it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return

        self._lock = threading.RLock()
        if self._restore is not None:
            self._restore()


def hold_while_forking(prepare=None):
    """Return a re-entrant lock that forks of this process wait for.

    Hold it for moments only, and take no other lock of the package under it. `prepare`
    is called before each fork, when the lock is held.
    """
    lock = threading.RLock()
    _held.append((lock, prepare))
    return lock


_opening = hold_while_forking()


class OwnFile:
    """A file to be locked, made if there is none; a fork closes the child's copy.

    `handle` is its descriptor, None when it is closed.
    """

    def __init__(self, path):
        with _opening:
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            _files.add(self)

    def close(self):
        """Close the file and so let go of its lock; do nothing if it is closed."""
        with _opening:
            if self.handle is not None:
                os.close(self.handle)
            self.handle = None
            _files.discard(self)


def _before_fork():
    for lock, prepare in _held:
        lock.acquire()
        if prepare is not None:
            prepare()


def _in_parent():
    for lock, _ in reversed(_held):
        lock.release()


def _in_child():
    _in_parent()

    for file in list(_files):
        file.close()

    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child
    )
