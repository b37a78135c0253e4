"""Results on disk: one table that is always complete, one run at a time writes it."""

import csv
import io
import json
import os
from contextlib import ExitStack
from pathlib import Path

from skclipad._storage.files import atomic_write_text
from skclipad._storage.locks import exclusive
from skclipad.paper._plan import COLUMNS, row_key

RESULTS, SETTINGS = "results.csv", "settings.json"
_INTEGERS = ("shots", "l_min", "l_max", "N_p", "seed")


class ResultsFile:
    """The rows of a run, in ``results.csv`` of a folder or in memory alone.

    ``settings.json`` beside it says what all rows were measured with; another run must
    agree with it, or it is refused with a ValueError. With each append the table is
    written anew and then takes the place of the one before, so that it can be read at
    any time, and what a killed run leaves is a table of complete rows. Use it as a
    context: another run to the folder gets a BlockingIOError meanwhile.

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
    """

    def __init__(self, folder, settings):
        self.rows = []
        self._folder = None if folder is None else Path(folder)
        self._settings = settings
        self._done = set()
        self._lock = ExitStack()

    def __enter__(self):
        if self._folder is None:
            return self

        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(exclusive(self._folder / "results"))
            self._agree()
            self._remember(read_results(self._path))
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._lock.close()

    @property
    def _path(self):
        return self._folder / RESULTS

    def missing(self, rows):
        """Return those of some rows, with or without values, that are not there yet."""
        return [row for row in rows if row_key(row) not in self._done]

    def append(self, rows):
        """Add rows with their values, all at once."""
        self._remember(rows)
        if self._folder is not None and rows:
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            atomic_write_text(self._path, text.getvalue())

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
        atomic_write_text(path, json.dumps(settings, indent=1, sort_keys=True) + "\n")


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
    """Return results as `read_results` does: of a DataFrame, a path or rows."""
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
