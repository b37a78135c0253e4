"""Tables that grow: ``skclipad score --update`` and ``skclipad watch``."""

import os
import time

from skclipad._images.video import file_of
from skclipad.cli._files import write_table
from skclipad.scoring._rows import label_of

WRITE_AGAIN = 2.0  # seconds after which a table is written again at the earliest
WRITING_SHARE = 20  # seconds without writing for each second of it


class GrowingTable:
    """A table that is written as a whole again and again, from its ledger.

    It is not written after each row: a large one takes a while. What is not yet in it
    is in the ledger.
    """

    def __init__(self, target, columns, ledger, threshold, clock=time.monotonic):
        self.target = target
        self._columns, self._ledger, self._clock = columns, ledger, clock
        self._threshold = threshold
        self._next, self.is_behind = clock(), False

    def touch(self):
        """Note that the ledger has rows which the table has not."""
        self.is_behind = True

    def due_in(self):
        """Return in how many seconds it is to be written; None if it has all rows."""
        return max(0.0, self._next - self._clock()) if self.is_behind else None

    def write(self, rows=None):
        """Write all rows that are known, or those that were read already."""
        begun = self._clock()
        self._next = begun + WRITE_AGAIN  # also if another run is writing it just now
        write_table(self.target, self._columns, self.rows() if rows is None else rows)
        now = self._clock()
        self._next = now + max(WRITE_AGAIN, WRITING_SHARE * (now - begun))
        self.is_behind = False

    def rows(self):
        """Yield all rows, with labels by the threshold of now."""
        for row in self._ledger.rows():
            if "score" in row:
                row["label"] = label_of(row["score"], self._threshold)
            yield row


def growing_columns(columns):
    """Return the columns of a table that grows: one says that an image is gone."""
    return columns | {"gone": int}


def is_there(path):
    """Tell whether there is the file, or a link, from which an image is read."""
    return os.path.lexists(file_of(path))
