"""Files that the commands write: whole or under another name, tables of three kinds."""

import csv
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from skclipad._storage.locks import written_by_one
from skclipad.cli._talk import say

ENDINGS = (".csv", ".jsonl", ".parquet")


def checked_target(name, endings=()):
    """Refuse a place that cannot be written to before the work is done, not after.

    Parameters
    ----------
    name : str
        The file to write.
    endings : sequence of str, default=()
        How its name may end; any way if there are none.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If it is empty, its folder does not exist, it is a folder, or its ending is
        another.
    BlockingIOError
        If another run writes it.
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
    with written_by_one(target):
        return target


def checked_table(name):
    """Refuse a table that cannot be written before the work is done, not after.

    Parameters
    ----------
    name : str
        The file to write.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If its folder does not exist, it is a folder, or its ending is no table's.
    ImportError
        If it is a Parquet file and pyarrow is not installed.
    """
    target = checked_target(name, ENDINGS)
    if target.suffix.lower() == ".parquet":
        _pyarrow()
    return target


@contextmanager
def whole(target, *, keep=False):
    """Give a path beside the target to write to, which takes its name at the end.

    What dies leaves a file of another name than a whole one. Two runs that write one
    file at once would spoil it, so the second is refused.

    Parameters
    ----------
    target : pathlib.Path
        The file to write.
    keep : bool, default=False
        Whether a part of the file is of use, and is left after an interruption.

    Yields
    ------
    pathlib.Path
        Where to write it.

    Raises
    ------
    BlockingIOError
        If another run writes it.
    """
    partial = target.with_name(target.name + ".partial")
    with written_by_one(target):
        try:
            yield partial
        except BaseException:
            if keep:
                say(f"what was done so far is in {partial}")
            else:
                partial.unlink(missing_ok=True)
            raise
        os.replace(partial, target)


@contextmanager
def open_table(target, columns):
    """Open a table that is written block by block.

    Parameters
    ----------
    target : pathlib.Path or None
        A file that ends in .csv, .jsonl or .parquet; None is CSV on standard output.
    columns : dict of str to type
        Name of each column, and `str`, `int` or `float`.

    Yields
    ------
    callable
        Takes a list of rows, each a dict; what a row does not have stays empty.

    Raises
    ------
    ImportError
        If a Parquet file is asked for and pyarrow is not installed.
    """
    if target is None:
        yield _csv_writer(sys.stdout, columns)
        return
    kind = target.suffix.lower()
    if kind == ".parquet":
        pyarrow, parquet = _pyarrow()
        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        schema = pyarrow.schema([(name, types[t]) for name, t in columns.items()])
        # Closed before the file takes its name, and after an interruption: a Parquet
        # file without its end cannot be read.
        with (
            whole(target, keep=True) as path,
            parquet.ParquetWriter(path, schema) as writer,
        ):
            yield lambda rows: writer.write_table(
                pyarrow.Table.from_pylist(rows, schema)
            )
        return
    write = _csv_writer if kind == ".csv" else _json_writer
    with (
        whole(target, keep=True) as path,
        open(path, "w", newline="", encoding="utf-8") as file,
    ):
        yield write(file, columns)


def _csv_writer(file, columns):
    writer = csv.DictWriter(file, list(columns))
    writer.writeheader()
    return writer.writerows


def _json_writer(file, columns):
    empty = dict.fromkeys(columns)

    def write(rows):
        for row in rows:
            file.write(json.dumps(empty | row, ensure_ascii=False) + "\n")

    return write


def _pyarrow():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow, which could not be imported "
            f"({error}). Install it with `pip install 'skclipad[parquet]'`, or give a "
            "name that ends in .csv or .jsonl."
        ) from error
    return pyarrow, parquet
