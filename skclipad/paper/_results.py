"""Results on disk: rows appended whole, one run at a time, one setting a folder."""

import csv
import io
import json
import os
import sqlite3
from pathlib import Path

from skclipad.paper._plan import COLUMNS, row_key

RESULTS, SETTINGS, LOCK = "results.csv", "settings.json", ".lock"
_INTEGERS = ("shots", "l_min", "l_max", "N_p", "seed")


class ResultsFile:
    """The rows of a run, in ``results.csv`` of a folder or in memory alone.

    ``settings.json`` beside it says what all rows were measured with; another run must
    agree with it. Rows are appended with one write that reaches the disk, so that what
    a killed run leaves is a whole table but for at most its last line, which is cut
    off when the file is opened again. Use it as a context: the folder is locked in it.

    Parameters
    ----------
    folder : path or None
        Where the files lie; made if it is not there. None keeps rows in memory.
    settings : dict
        What the rows are measured with: JSON values, and under "pictures" and
        "references" a digest for each category, of which further ones may come.

    Attributes
    ----------
    rows : list of dict
        All rows, those found first.

    Raises
    ------
    BlockingIOError
        If another run is writing to the folder.
    ValueError
        If the folder holds rows of other settings, or a file that is no table of
        results.
    """

    def __init__(self, folder, settings):
        self.rows = []
        self._folder = None if folder is None else Path(folder)
        self._settings = settings
        self._done = set()
        self._lock = None

    def __enter__(self):
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._folder)
            try:
                self._agree()
                _cut_torn_line(self._path)
                self._remember(read_results(self._path))
            except BaseException:
                self._lock.close()
                raise
        return self

    def __exit__(self, *exc_info):
        if self._lock is not None:
            self._lock.close()

    @property
    def _path(self):
        return self._folder / RESULTS

    def missing(self, rows):
        """Return those of some rows that are not there yet.

        Parameters
        ----------
        rows : iterable of dict
            Rows, with or without their values.

        Returns
        -------
        list of dict
            In the order given.
        """
        return [row for row in rows if row_key(row) not in self._done]

    def append(self, rows):
        """Add rows, all at once.

        Parameters
        ----------
        rows : list of dict
            Rows with their values.
        """
        if self._folder is not None and rows:
            _append(self._path, rows)
        self._remember(rows)

    def _remember(self, rows):
        self.rows += rows
        self._done.update(map(row_key, rows))

    def _agree(self):
        """Compare the settings with those of the folder, and write them down."""
        path, settings = self._folder / SETTINGS, self._settings
        if path.exists():
            settings = _merged(json.loads(path.read_text("utf-8")), settings, path)
        elif self._path.exists():
            raise ValueError(
                f"{self._path} exists without {SETTINGS} beside it, so what it was "
                "measured with is not known. Choose another folder, or remove it."
            )
        replace_text(path, json.dumps(settings, indent=1, sort_keys=True) + "\n")


def _merged(old, new, path):
    """Return settings with the categories of both, which must agree where both have."""
    merged = dict(new)

    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            differing = [c for c in before if c in now and before[c] != now[c]]
            if differing:
                raise ValueError(
                    f"The {name} of {differing[0]!r} are not those that the rows in "
                    f"{path.parent} were measured on. Choose another folder for the "
                    "results, or remove it."
                )
            merged[name] = before | now
        elif before != now:
            raise ValueError(
                f"Got {name}={now!r}, but the rows in {path.parent} were measured with "
                f"{before!r}: two settings must not mix. Choose another folder for the "
                "results, or remove it."
            )
    return merged


def _locked(folder):
    """Return an open connection that holds the lock of a folder.

    SQLite's locks end with the process that holds them, however it ends.
    """
    lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise BlockingIOError(
            f"{folder} is being written to by another run ({error}), and two would mix "
            "their rows. Wait for it, or choose another folder."
        ) from error
    return lock


def _cut_torn_line(path):
    """Cut off what a killed run wrote of a last line."""
    if not path.exists():
        return
    with open(path, "r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def _append(path, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o644)
    try:
        if os.fstat(descriptor).st_size == 0:
            writer.writeheader()
        writer.writerows(rows)
        left = text.getvalue().encode()
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path, text):
    """Write a text file whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Its content.
    """
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


def read_results(path):
    """Read a table of results.

    It needs no pandas; ``pandas.read_csv`` reads the file as well.

    Parameters
    ----------
    path : str or path
        A ``results.csv`` that `run_benchmark` wrote.

    Returns
    -------
    list of dict
        One a row, with numbers as numbers and None for what has no part in a row. No
        rows if there is no file.

    Raises
    ------
    ValueError
        If it is another kind of file.

    Examples
    --------
    >>> from skclipad.paper import read_results
    >>> read_results("there/is/none.csv")
    []
    """
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is not None and tuple(reader.fieldnames) != COLUMNS:
            raise ValueError(
                f"{path} has the columns {', '.join(reader.fieldnames)}, but expected "
                f"{', '.join(COLUMNS)}: it is no table of results of this version."
            )

        return [_typed(row) for row in reader]


def as_rows(results):
    """Return results, a DataFrame, a path or rows, as `read_results` has them."""
    if isinstance(results, (str, os.PathLike)):
        return read_results(results)
    if hasattr(results, "to_dict"):
        results = results.to_dict("records")
    return [_typed(row) for row in results]


def _typed(row):
    # A DataFrame has NaN, which differs from itself, and makes floats of integers where
    # some are missing.
    row = {name: None if v == "" or v != v else v for name, v in row.items()}
    integers = {c: int(float(row[c])) for c in _INTEGERS if row[c] is not None}
    return row | integers | {"value": float(row["value"])}
