"""The ledger of a table that grows: its rows on the disk, each found by its image.

It is a SQLite file, so that a row is there or it is not, whatever ends the process, and
so that a run of many days holds none of them in memory. The table that people read is
written from it as a whole.
"""

import contextlib
import json
import os
import sqlite3
from collections import defaultdict
from itertools import islice

from skclipad._storage.files import full_path
from skclipad._storage.journal import differences
from skclipad._storage.locks import exclusive

ENDING = ".rows"  # of the ledger of a table, after the table's own name

_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    size INTEGER,
    time INTEGER,
    row TEXT NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0,
    task BLOB
);
CREATE INDEX tasks ON rows (number) WHERE task IS NOT NULL;
PRAGMA user_version = 1;
"""
_PUT = """
INSERT INTO rows (path, size, time, row, gone, task) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET size = excluded.size, time = excluded.time,
    row = excluded.row, gone = excluded.gone, task = excluded.task
"""
_GET = "SELECT path, size, time, row FROM rows WHERE path IN (%s)"
_AT_ONCE = 500  # paths in one question; SQLite may allow no more than 999
_ANYTHING_TO_DO = b""  # the task of a row for which nothing has been planned yet


def ledger_path(table):
    """Return where the ledger of a table lies: beside it."""
    return table.with_name(table.name + ENDING)


class Ledger:
    """Rows by the path of their image, in the order in which they came.

    An image has one row: a new one takes the place of the old one. Paths are compared
    in full, so a table may be gone on with from another folder. Use it as a context:
    the file is locked in it, and stays when it is left. A child that is forked
    meanwhile must leave it alone, as SQLite asks; the commands that hold one fork none.

    Parameters
    ----------
    path : pathlib.Path
        The file, which is made if there is none.
    identity : dict of str to str
        What determines the rows. If the file is of another identity, or damaged,
        entering the context raises a ValueError that says so.
    """

    keeps_failures = True  # the table is made of nothing else

    def __init__(self, path, identity):
        self.path = path
        self._identity = identity
        self._connection, self._held = None, contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(exclusive(self.path))
            self._connection = sqlite3.connect(self.path)
            stack.callback(self._connection.close)

            try:
                self._open()
            except sqlite3.DatabaseError as error:
                raise ValueError(
                    f"{self.path} holds no rows that can be read ({error}), but "
                    "expected what an earlier run left. Remove it, and all pictures "
                    "are scored again."
                ) from error
            self._held = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._held.close()

    # What is known of an image

    def get_many(self, stamps):
        """Yield path and row of each image that has a score, and the stamp of a dict.

        Hundreds are asked for at once, which is faster than one by one.
        """
        paths = iter(stamps)
        while some := list(islice(paths, _AT_ONCE)):
            named = defaultdict(list)
            for path in some:
                named[_key(path)].append(path)

            found = self._connection.execute(
                _GET % ", ".join("?" * len(named)), [*named]
            )
            for key, size, time, text in found:
                row = json.loads(text)
                for path in named[key] if "score" in row else ():
                    if stamps[path] == [size, time]:
                        yield path, row

    def has(self, path, stamp):
        """Tell whether the image, as it is now, has a row, with a score or without."""
        found = self._find(path)
        return found is not None and stamp is not None and list(found[:2]) == stamp

    def knows(self, path):
        """Tell whether the image has a row, of whatever it was then."""
        return self._find(path) is not None

    def stamps(self):
        """Return the stamps of all images that have a score, by their full paths."""
        found = self._connection.execute("SELECT path, size, time, row FROM rows")
        return {
            os.fsdecode(path): [size, time]
            for path, size, time, row in found
            if "score" in json.loads(row)
        }

    def put_many(self, results, due=()):
        """Keep rows, each a tuple of path, stamp and row: all or none of them.

        Of the paths in `due` there is something to be done, see `tasks`.
        """
        with self._connection as connection:
            connection.executemany(
                _PUT,
                [
                    (
                        _key(path),
                        *(stamp or (None, None)),
                        json.dumps(row),
                        int(stamp is None),
                        _ANYTHING_TO_DO if path in due else None,
                    )
                    for path, stamp, row in results
                ],
            )

    # The table

    def __len__(self):
        return self._connection.execute("SELECT count(*) FROM rows").fetchone()[0]

    def paths(self):
        """Return the full paths of the images, in the order of `rows`."""
        found = self._connection.execute("SELECT path FROM rows ORDER BY number")
        return [os.fsdecode(path) for (path,) in found]

    def rows(self):
        """Yield all rows, each with "gone": 1 if its image is there no more, else 0."""
        found = self._connection.execute("SELECT row, gone FROM rows ORDER BY number")
        for row, gone in found:
            yield json.loads(row) | {"gone": gone}

    @property
    def n_gone(self):
        """How many rows are marked as those of images that are gone."""
        count = "SELECT count(*) FROM rows WHERE gone"
        return self._connection.execute(count).fetchone()[0]

    def mark_gone(self, is_there):
        """Mark the rows of images of which ``is_there(path)`` says that they are gone.

        It may return None for an image that it says nothing of. Marks of those that are
        back are taken away. Returns how many rows changed.
        """
        found = self._connection.execute("SELECT number, path, gone FROM rows")
        changed = []
        for number, path, gone in found:
            there = is_there(os.fsdecode(path))
            if there is not None and gone == bool(there):
                changed.append((int(not there), number))

        with self._connection as connection:
            connection.executemany("UPDATE rows SET gone = ? WHERE number = ?", changed)
        return len(changed)

    def drop_gone(self):
        """Remove the rows that are marked, and say how many they were."""
        with self._connection as connection:
            return connection.execute("DELETE FROM rows WHERE gone").rowcount

    # What is to be done about images

    def tasks(self):
        """Return what is to be done: a list of path, row and where to move it.

        That place is None as long as `plan` has named none.
        """
        found = self._connection.execute(
            "SELECT path, row, task FROM rows WHERE task IS NOT NULL ORDER BY number"
        )
        return [
            (os.fsdecode(path), json.loads(row), os.fsdecode(task) if task else None)
            for path, row, task in found
        ]

    def plan(self, path, target):
        """Keep where an image will be moved, before it is."""
        with self._connection as connection:
            connection.execute(
                "UPDATE rows SET task = ? WHERE path = ?", (_key(target), _key(path))
            )

    def finish(self, path, moved=None):
        """Keep that the task of an image is done.

        If the image was moved, `moved` is a pair of its new path and of how to write
        this in its row.
        """
        with self._connection as connection:
            if moved is not None:
                target, written = moved
                self._rename(connection, path, target, written)
                path = target
            connection.execute(
                "UPDATE rows SET task = NULL WHERE path = ?", (_key(path),)
            )

    def _rename(self, connection, path, target, written):
        row = json.loads(self._find(path)[2]) | {"path": written}
        connection.execute(
            "UPDATE rows SET path = ?, row = ?, gone = 0 WHERE path = ?",
            (_key(target), json.dumps(row), _key(path)),
        )

    # The file

    def _open(self):
        connection = self._connection
        # A row that was told to be kept is on the disk, whatever happens to the power.
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            self._begin()

        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != 1:
            raise sqlite3.DatabaseError(f"it is of version {version}, not 1")
        found = connection.execute("SELECT value FROM about WHERE name = 'identity'")
        begun_with = json.loads(found.fetchone()[0])
        if begun_with != self._identity:
            raise ValueError(
                f"{self.path} was begun with "
                f"{differences(begun_with, self._identity)}, but expected the same as "
                "now: their scores do not belong into one table. Take what it was "
                "begun with, name another output, or remove it to begin anew."
            )

    def _begin(self):
        # In one transaction, which executescript does not open by itself.
        about = json.dumps(self._identity).replace("'", "''")
        self._connection.executescript(
            f"BEGIN; {_SCHEMA}INSERT INTO about VALUES ('identity', '{about}'); COMMIT;"
        )

    def _find(self, path):
        return self._connection.execute(
            "SELECT size, time, row FROM rows WHERE path = ?", (_key(path),)
        ).fetchone()


def _key(path):
    """Return the full path as bytes: names may be no UTF-8."""
    return os.fsencode(full_path(path))
