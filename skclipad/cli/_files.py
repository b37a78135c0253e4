"""Files that the commands write: looked at before the work, tables of three kinds."""

import csv
import json
import os
import sys
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from skclipad._optional import import_optional
from skclipad._storage.files import atomic_write
from skclipad._storage.ledger import ledger_path
from skclipad._storage.locks import exclusive
from skclipad._system import WINDOWS
from skclipad.cli._console import echo

ENDINGS = (".csv", ".jsonl", ".parquet")


def checked_target(name, endings=()):
    """Return the path of a file to write; refuse it before the work is done, not after.

    A ValueError tells that its folder does not exist, it is a folder, or it ends in
    none of `endings`; a BlockingIOError that another run writes it.
    """
    if not name:
        raise ValueError("Got '' but expected the name of a file.")
    target = Path(name)

    if not target.parent.is_dir():
        raise ValueError(f"{target}: the folder {target.parent} does not exist.")
    if target.is_dir():
        raise ValueError(f"{target} is a folder, but expected the name of a file.")

    if endings and target.suffix.lower() not in endings:
        *others, last = endings
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(
            f"Got {str(target)!r} but expected a name that ends in {expected}."
        )

    with exclusive(target):
        return target


def checked_table(name):
    """Do the same for a table, whose kind may need a package that is not there.

    A table that another run goes on with, ``skclipad watch`` for instance, is refused.
    """
    target = checked_target(name, ENDINGS)
    if target.suffix.lower() == ".parquet":
        import_optional("pyarrow", "parquet")
    with exclusive(ledger_path(target)):
        return target


CHUNK = 1000  # rows that are written at a time


def write_table(target, columns, rows):
    """Write rows, of which an iterable will do, as a table: whole or not at all."""
    rows = iter(rows)
    with atomic_write(target) as path, _opener(target)(path, columns) as write:
        while block := list(islice(rows, CHUNK)):
            write(block)


@contextmanager
def open_table(target, columns):
    """Open a table that is written block by block, and takes its name at the end.

    The target ends in .csv, .jsonl or .parquet; None is CSV on standard output. The
    columns are a dict of name to str, int or float. Gives a function that takes a list
    of rows, each a dict; what a row does not have stays empty.
    """
    if target is None:
        _make_output_a_file()
        yield _csv_writer(sys.stdout, columns)
        return

    with atomic_write(target, keep=True) as path:
        try:
            # Closed before the file takes its name, and after an interruption: a
            # Parquet file without its end cannot be read.
            with _opener(target)(path, columns) as write:
                yield write
        except BaseException:
            echo(f"what was done so far is in {path}")
            raise


def _make_output_a_file():
    """Let redirected output hold on Windows what a file would, to the byte."""
    out = sys.stdout
    if WINDOWS and hasattr(out, "reconfigure") and not out.isatty():
        encoding = None if os.environ.get("PYTHONIOENCODING") else "utf-8"
        out.reconfigure(encoding=encoding, errors=out.errors, newline="")


def _opener(target):
    """Return what opens a table of the kind that the target's ending says."""
    opened = {".csv": _open_csv, ".jsonl": _open_json, ".parquet": _open_parquet}
    return opened[target.suffix.lower()]


@contextmanager
def _open_csv(path, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield _csv_writer(file, columns)


def _csv_writer(file, columns):
    writer = csv.DictWriter(file, list(columns))
    writer.writeheader()
    return writer.writerows


@contextmanager
def _open_json(path, columns):
    empty = dict.fromkeys(columns)

    with open(path, "w", encoding="utf-8", newline="") as file:

        def write(rows):
            for row in rows:
                file.write(json.dumps(empty | row, ensure_ascii=False) + "\n")

        yield write


@contextmanager
def _open_parquet(path, columns):
    pyarrow = import_optional("pyarrow", "parquet")
    parquet = import_optional("pyarrow.parquet", "parquet")
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[t]) for name, t in columns.items()])

    with parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema))
