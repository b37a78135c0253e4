"""Images that have come into a folder and wait until they are complete."""

import time
from dataclasses import dataclass

from skclipad._storage.files import file_stamp


@dataclass
class _Waiting:
    stamp: list
    since: float  # when this stamp was first seen
    delay: float  # how long it must stay the same
    tried: bool = False  # whether it could not be read, complete as it seemed


class Arrivals:
    """Files that are being written, and those of them that seem to be complete.

    Nothing tells in general that a file is complete. One that has kept its size and
    time for a while is taken to be; one that cannot be read then, for instance because
    its writer has paused, is waited for once more, and longer.

    Parameters
    ----------
    is_known : callable
        Tells whether ``(path, stamp)`` needs no score any more.
    settle : float
        Seconds for which a file must not change.
    patience : float
        Seconds after which a file that cannot be read is given up, until it changes.
    clock : callable, default=time.monotonic
        Gives the time in seconds.
    """

    def __init__(self, is_known, settle, patience, clock=time.monotonic):
        self._is_known, self._clock = is_known, clock
        self._settle, self._patience = settle, patience
        self._waiting = {}

    def __len__(self):
        return len(self._waiting)

    def note(self, path):
        """Look at a file that has come or changed, or may have."""
        stamp, waits = file_stamp(path), self._waiting.get(path)
        if stamp is None or self._is_known(path, stamp):
            self._waiting.pop(path, None)
        elif waits is None or waits.stamp != stamp:
            self._waiting[path] = _Waiting(stamp, self._clock(), self._settle)

    def complete(self, most):
        """Take up to `most` files that seem complete: a dict of path to stamp."""
        now, taken = self._clock(), {}
        due = [
            p for p, waits in self._waiting.items() if waits.since + waits.delay <= now
        ]

        for path in due:
            before = self._waiting[path].stamp
            self.note(path)
            waits = self._waiting.get(path)
            if waits is not None and waits.stamp == before:
                taken[path] = before
                if len(taken) == most:
                    break
        return taken

    def may_wait(self, path):
        """Say of a file that was taken and cannot be read whether it is tried again."""
        waits = self._waiting.get(path)
        if waits is None or waits.tried:
            return False
        waits.tried, waits.delay = True, max(self._patience, self._settle)
        return True

    def drop(self, path):
        """Wait for a file no more: it has its row, or is gone."""
        self._waiting.pop(path, None)

    def next_look(self):
        """Return in how many seconds a file may be complete; None if none waits."""
        if not self._waiting:
            return None
        due = min(waits.since + waits.delay for waits in self._waiting.values())
        return max(0.0, due - self._clock())
