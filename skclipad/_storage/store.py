"""Embeddings on disk, so that no image is encoded twice.

One SQLite file holds float32 arrays under text keys. It is a cache: whatever befalls it
(a killed writer, a full disk, a damaged or foreign file), callers see a missing entry
and a warning, never an exception and never a wrong array. Every row carries a digest of
its key, shape and bytes, checked on each read. Nothing in the file is unpickled. How it
is kept whole under threads, processes and forks stands in `skclipad._storage.database`.
"""

import contextlib
import hashlib
import numbers
import os
import sqlite3
import warnings

import joblib
import numpy as np

from skclipad._storage.database import CacheFile

FILE_NAME = "skclipad-embeddings.sqlite"

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE embeddings (key BLOB PRIMARY KEY NOT NULL, d0 INTEGER, d1 INTEGER, "
    "d2 INTEGER, digest BLOB NOT NULL, data BLOB NOT NULL)"
)
_CHUNK = 500  # keys per query; SQLite before 3.32 allows 999


def store_key(*parts):
    """Name an entry by what determines its content, in 64 hexadecimal digits.

    Parts are str, int, float, None or tuples of these, in a fixed order. Each is
    written with its type and length, so ``("ab", "c")`` and ``("a", "bc")``, or ``1``
    and ``1.0``, have different keys, which are the same in every process.
    """
    return hashlib.blake2b(_encode(parts), digest_size=32).hexdigest()


def open_store(memory):
    """Open the embedding store that a `memory` parameter asks for; None without one.

    `memory` is the folder of the store, made where there is none, or a
    ``joblib.Memory``, of which the ``location`` is taken. An empty store is false like
    any empty container: compare with None.
    """
    folder = memory.location if isinstance(memory, joblib.Memory) else memory
    if folder is None:
        return None

    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(
            f"Got memory={memory!r} of type {type(memory).__name__}, but expected "
            "None, a folder as str or path, or a joblib.Memory; pass a folder's path."
        )

    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            f"Got memory={memory!r}, which is or lies in a file, but expected a "
            "folder; name one, existing or new."
        ) from error
    except OSError as error:
        raise type(error)(
            f"Got memory={memory!r}, but this folder cannot be made "
            f"({error.strerror}); name one that you may write to."
        ) from error

    store = EmbeddingStore(folder)
    if not os.path.exists(store.path) and not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Got memory={memory!r}, a folder without a store that may not be written, "
            "but expected one that may; change its permissions or name another."
        )
    return store


@contextlib.contextmanager
def lent_store(memory):
    """Give the store that `open_store` opens, and let go of its file in the end."""
    store = open_store(memory)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


class EmbeddingStore:
    """Float32 arrays under text keys, in one SQLite file.

    Safe under threads and processes that read and write at once, forked or spawned.
    Pickling a store hands over its path alone. Where the file may not be written or the
    disk is full, it warns once and the run goes on.

    Parameters
    ----------
    folder : str or path-like
        Where the file lies; `open_store` checks it first.

    Attributes
    ----------
    path : str
        Absolute path of the SQLite file.

    Examples
    --------
    >>> import tempfile
    >>> from skclipad._storage.store import EmbeddingStore
    >>> with tempfile.TemporaryDirectory() as folder, EmbeddingStore(folder) as store:
    ...     store.put_many(["a"], [[0.5, 2.0]])
    ...     store.get_many(["a", "b"])
    [array([0.5, 2. ], dtype=float32), None]
    """

    def __init__(self, folder):
        self.path = os.path.join(os.path.abspath(os.fspath(folder)), FILE_NAME)
        self._file = CacheFile(self.path, _SCHEMA, _VERSION)
        self._warned = False

    def __reduce__(self):
        return EmbeddingStore, (os.path.dirname(self.path),)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __len__(self):
        query = "SELECT count(*) FROM embeddings"
        return self._run(lambda connection: connection.execute(query).fetchone()[0], 0)

    def __repr__(self):
        size = f"{self.nbytes / 1e6:.1f} MB"
        return f"EmbeddingStore({self.path!r}, {len(self)} entries, {size})"

    @property
    def nbytes(self):
        """Size on disk in bytes, with the write-ahead log."""
        total = 0
        for path in (self.path, self.path + "-wal"):
            with contextlib.suppress(FileNotFoundError):
                total += os.path.getsize(path)
        return total

    def get_many(self, keys):
        """Return the arrays of many keys, some of which may repeat, as a list.

        Each has the shape that it was put with and is a copy of its own; None stands
        for a key that is not there or whose row is damaged.
        """
        keys = _check_keys(keys)
        unique = list(dict.fromkeys(keys))

        def read(connection):
            rows = {}
            for start in range(0, len(unique), _CHUNK):
                chunk = unique[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT * FROM embeddings WHERE key IN ({marks})"
                rows |= {key: row for key, *row in connection.execute(query, chunk)}
            return rows

        rows = self._run(read, {})
        arrays = [_unpack(key, *rows[key]) if key in rows else None for key in keys]
        pairs = zip(keys, arrays, strict=True)
        damaged = [(key,) for key, array in pairs if array is None and key in rows]
        self._write("DELETE FROM embeddings WHERE key = ?", damaged)
        return arrays

    def put_many(self, keys, arrays):
        """Write many arrays in one transaction; a key that is there is overwritten.

        They are real numbers in up to three dimensions, kept as float32. Of a key that
        repeats, the last array stays.
        """
        keys = _check_keys(keys)
        if len(keys) != len(arrays):
            raise ValueError(
                f"Got {len(keys)} keys and {len(arrays)} arrays, but expected one "
                "array per key; pass two sequences of one length."
            )
        rows = [_pack(key, array) for key, array in zip(keys, arrays, strict=True)]
        self._write("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?)", rows)

    def clear(self):
        """Remove all entries and a damaged file moved aside; give back the space."""

        def empty(connection):
            connection.execute("DELETE FROM embeddings")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        try:
            self._file.run(empty)
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path + ".corrupt")
        except (sqlite3.Error, OSError) as error:
            raise OSError(
                f"{self.path} could not be cleared ({error}); close the programs that "
                "use it, or remove the file."
            ) from error

    def close(self):
        """Let go of the file; the next use opens it again."""
        self._file.close()

    def _write(self, statement, rows):
        """Execute a statement for each row, all or none."""

        def write(connection):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(statement, rows)

        if rows:
            self._run(write, None)

    def _run(self, work, otherwise):
        """Return ``work(connection)``, or warn once and return `otherwise`."""
        try:
            return self._file.run(work)
        except (sqlite3.Error, OSError) as error:
            problem = error

        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.path} could not be used ({problem}); the run goes on, and what "
                "is not read or kept there is computed again.",
                RuntimeWarning,
                stacklevel=4,
            )
        return otherwise


def _encode(part):
    """Write a part as type letter, length and content, which is unambiguous."""
    if part is None:
        tag, content = b"n", b""
    elif isinstance(part, str):
        # File names that are not UTF-8 hold lone surrogates.
        tag, content = b"s", part.encode("utf-8", "surrogatepass")
    elif isinstance(part, numbers.Integral):
        tag, content = b"i", b"%x" % int(part)
    elif isinstance(part, numbers.Real):
        tag, content = b"f", float(part).hex().encode()
    elif isinstance(part, tuple):
        tag, content = b"t", b"".join(map(_encode, part))
    else:
        raise TypeError(
            f"Got {part!r} of type {type(part).__name__} as a part of a store key, but "
            "expected str, int, float, None or a tuple of these; convert it first."
        )

    return b"%b%d:%b" % (tag, len(content), content)


def _check_keys(keys):
    """Return keys as bytes, which can hold any str."""
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise TypeError(
            f"Got keys={keys!r}, but expected a sequence of str; store_key makes them."
        )
    return [key.encode("utf-8", "surrogatepass") for key in keys]


def _digest(key, shape, data):
    """Bind content to its key and shape in 16 bytes."""
    head = b"%d:%b%b" % (len(key), key, repr(shape).encode())
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(data)
    return digest.digest()


def _pack(key, array):
    """Write an array as the row of its key."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or array.ndim > 3:
        raise ValueError(
            f"Got an array of shape {array.shape} and dtype {array.dtype}, but "
            "expected real numbers in at most 3 dimensions; convert or reshape it."
        )
    data = array.astype("<f4").tobytes()
    sides = array.shape + (None,) * (3 - array.ndim)
    return (key, *sides, _digest(key, array.shape, data), data)


def _unpack(key, d0, d1, d2, digest, data):
    """Read the array of a row, None if it is not what was put under this key."""
    shape = tuple(side for side in (d0, d1, d2) if side is not None)
    if not isinstance(data, bytes) or digest != _digest(key, shape, data):
        return None
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
