"""A SQLite file for a cache: it may lose what it holds, but never stays broken.

`CacheFile.run` executes work on a connection and copes with what can befall the file:

- **Damaged or foreign.** It is moved aside and begun anew. Opening, closing and moving
  aside happen under a lock on the folder, and only the very file that was found damaged
  is moved, so several processes that find it at once move it once. A process that still
  holds the old file sees by its inode that another one has taken the name.
- **Killed in the middle.** Write-ahead logging: a transaction is there or it is not.
- **Forked.** SQLite connections do not survive a fork, so they are closed before it,
  and a fork waits for what SQLite is about to do (see `skclipad._storage.forks`).
- **Not to be written**, by permission or on read-only media. It is opened for reading.
"""

import contextlib
import os
import pathlib
import sqlite3
import warnings
import weakref

from skclipad._storage.forks import hold_while_forking

try:
    import fcntl
except ImportError:  # Windows, which by itself refuses to move a file that is open
    fcntl = None

_TIMEOUT = 30.0  # seconds to wait for another writer
_PAGE_SIZE = 8192  # bytes; three rows of 640 floats fill one, 4096 would waste a third

# What SQLite raises for a malformed or foreign file, and for rules that only such a
# file can break. OperationalError, beside them, is for locks, permissions, full disks.
_UNSOUND = (sqlite3.DatabaseError, sqlite3.IntegrityError, sqlite3.InternalError)

_FILES = weakref.WeakSet()
_INHERITED = []  # connections of a parent process, to be neither used nor closed


def _close_files():
    for file in list(_FILES):
        file.close()


# Held whenever SQLite is at work.
_LOCK = hold_while_forking(prepare=_close_files)


class CacheFile:
    """One SQLite file with one table, for any number of threads and processes.

    Parameters
    ----------
    path : str
        Absolute path of the file, which is made at the first `run`.

    schema : str
        The CREATE TABLE statement. A file with another one is unsound.

    version : int
        Version of what the rows mean. A file of another one is unsound.
    """

    def __init__(self, path, schema, version):
        self.path = path
        self.schema = schema
        self.version = version
        self._connection = None
        self._identity = None
        self._pid = None

    def run(self, work):
        """Return ``work(connection)``; if that fails, try once more, on a sound file.

        The connection is in autocommit mode. What stands in the way the second time is
        raised: a sqlite3.Error or an OSError.
        """
        with _LOCK:
            try:
                return work(self._connect())
            except (sqlite3.Error, OSError) as error:
                problem = error

            self.close()
            if type(problem) in _UNSOUND:
                self._move_aside(problem)

            try:
                return work(self._connect())
            except BaseException:
                self.close()
                raise

    def close(self):
        """Let go of the file; the next `run` opens it again."""
        with _LOCK:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._pid != os.getpid():  # forked behind Python's back
                _INHERITED.append(connection)
                return
            # The last one to close removes the log, by name.
            with _folder_lock(self.path), contextlib.suppress(sqlite3.Error):
                connection.close()

    def _connect(self):
        """Return this process's connection to the file that bears the name now."""
        if self._pid != os.getpid() or self._identity != _identity(self.path):
            self.close()
        if self._connection is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with _folder_lock(self.path):
                self._identity = _identity(self.path)
                self._connection = self._open()
                self._identity = _identity(self.path)
            self._pid = os.getpid()
            _FILES.add(self)
        return self._connection

    def _open(self):
        """Open the file, or make it; DatabaseError if it is unsound."""
        if os.access(os.path.dirname(self.path), os.W_OK):
            if not os.path.exists(self.path):
                return self._make()
            if os.path.getsize(self.path) == 0:
                raise sqlite3.DatabaseError("it is empty")
            return self._check(_sqlite(self.path), writable=True)

        uri = pathlib.Path(self.path).as_uri()
        # A log that another process keeps can be read. Where there is none SQLite would
        # have to make it, unless it is told that the file does not change.
        try:
            return self._check(_sqlite(uri + "?mode=ro", uri=True))
        except sqlite3.OperationalError:
            return self._check(_sqlite(uri + "?immutable=1", uri=True))

    def _make(self):
        # Logs go by name: those of a file moved or removed would be taken for ours.
        for suffix in ("-journal", "-wal", "-shm"):
            pathlib.Path(self.path + suffix).unlink(missing_ok=True)

        connection = _sqlite(self.path)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(self.schema)
                connection.execute(f"PRAGMA user_version={self.version}")
        except BaseException:  # such as a full disk: leave no empty file behind
            connection.close()
            pathlib.Path(self.path).unlink(missing_ok=True)
            raise

        return self._check(connection, writable=True)

    def _check(self, connection, writable=False):
        """Return the connection, set up, if the file is of our version and schema."""
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != self.version:
                raise sqlite3.DatabaseError(
                    f"it is of version {version}, this skclipad's is {self.version}"
                )
            tables = connection.execute("SELECT sql FROM sqlite_master").fetchall()
            if (self.schema.encode(),) not in tables:
                raise sqlite3.DatabaseError("its table is missing or another one")

            if writable:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise

        return connection

    def _move_aside(self, problem):
        """Make room for a new file, unless another process has done so already."""
        aside = self.path + ".corrupt"
        try:
            with _folder_lock(self.path):
                if _identity(self.path) != self._identity:
                    return
                os.replace(self.path, aside)
        except OSError:  # it may not be moved, and the second try will say so
            return

        warnings.warn(
            f"{self.path} is no sound embedding store ({problem}); it was moved to "
            f"{aside} and a new one begun, so embeddings are computed again.",
            RuntimeWarning,
            stacklevel=5,
        )


def _sqlite(name, uri=False):
    connection = sqlite3.connect(
        name, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False, uri=uri
    )
    connection.text_factory = bytes  # damaged text must not fail to decode
    return connection


def _identity(path):
    """Return what tells the file from the next of its name, None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _folder_lock(path):
    """Lock the folder of `path` itself, which leaves no file and no stale lock."""
    handle = None
    if fcntl is not None:
        with contextlib.suppress(OSError):  # no folder, or a file system without locks
            handle = os.open(os.path.dirname(path), os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
