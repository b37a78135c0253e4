"""Images scored as they come, each row kept before anything is done about it."""

import time
from contextlib import contextmanager

from skclipad._images.regions import blank_image
from skclipad._optional import import_optional
from skclipad._storage.files import file_stamp
from skclipad.scoring._arrivals import Arrivals
from skclipad.scoring._rows import Block, printable, score_block

CHANGES = frozenset({"created", "modified", "moved", "deleted", "closed"})


class Watch:
    """What came into a folder, scored batch by batch, with its rows in a ledger.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        One that gives images it cannot read no score.
    ledger : Ledger
        Where rows are kept.
    above : float or None
        Score above which there is something to be done about an image.
    settle, patience, clock
        See `Arrivals`.
    """

    def __init__(
        self, detector, ledger, *, above=None, settle, patience, clock=time.monotonic
    ):
        self._detector, self._ledger, self._above = detector, ledger, above
        self.arrivals = Arrivals(ledger.has, settle, patience, clock)

    def score_next(self):
        """Score a batch of what is complete, and return its rows, which are kept."""
        taken = self.arrivals.complete(self._detector.embedder.batch_size)
        if not taken:
            return []

        results, due = [], set()
        for path, row in zip(taken, self._score(list(taken)), strict=True):
            stamp = file_stamp(path)
            if not self._is_final(path, row, taken[path], stamp):
                continue
            results.append((path, stamp, row))
            # Of a file that is gone nothing can be done.
            if stamp is not None and self._is_above(row):
                due.add(path)

        self._ledger.put_many(results, due)
        for path, _, _ in results:
            self.arrivals.drop(path)
        return [row for _, _, row in results]

    def _is_final(self, path, row, before, now):
        """Tell whether a row is that of a complete image, which is there or was."""
        if now is not None and now != before:  # written to while it was read
            self.arrivals.note(path)
            return False
        if "score" in row:
            return True
        if now is None:
            self.arrivals.drop(path)
            return False
        return not self.arrivals.may_wait(path)

    def _is_above(self, row):
        return self._above is not None and row.get("score", -1) > self._above

    def _score(self, paths):
        """Return the rows of images; one that raises an error gets it in its row."""
        try:
            return score_block(self._detector, Block(0, paths))
        except Exception as error:
            if len(paths) > 1:
                return [self._score([path])[0] for path in paths]
            self._check_detector(error)
            reason = f"{type(error).__name__}: {error}"
            return [{"path": printable(paths[0]), "error": reason}]

    def _check_detector(self, error):
        """Raise an error that is not an image's, but comes with any image."""
        try:
            region = self._detector.embedder.region
            self._detector.score_components([blank_image(region)])
        except Exception:
            raise error from None


@contextmanager
def changes_in(folder, note):
    """Have ``note(path)`` called, in another thread, for whatever changes in a folder.

    An ImportError says that the extra "watch" is not installed, an OSError that the
    system cannot watch so much.
    """
    events = import_optional("watchdog.events", "watch")
    observers = import_optional("watchdog.observers", "watch")

    class Handler(events.FileSystemEventHandler):
        def on_any_event(self, event):
            if event.event_type in CHANGES:
                for path in {event.src_path, event.dest_path} - {"", b""}:
                    note(path)

    observer = observers.Observer()
    observer.schedule(Handler(), folder, recursive=True)
    observer.start()
    try:
        yield
    finally:
        observer.stop()
        observer.join()
