"""Tables that the commands read: scores as `skclipad score` writes them, and labels."""

import csv
import json
from pathlib import Path

import numpy as np

from skclipad._optional import import_optional

LABELS = {"0": 0, "good": 0, "normal": 0, "1": 1, "damaged": 1, "anomalous": 1}


def read_columns(name, wanted, optional=()):
    """Read columns of a table, .csv, .jsonl or .parquet: a dict of name to list.

    What is not there in a row is None or "". A ValueError tells that the file is no
    such table or has no such column; those that are `optional` may be missing.
    """
    path = Path(name)
    readers = {".jsonl": _read_json, ".parquet": _read_parquet}
    try:
        read = readers.get(path.suffix.lower(), _read_csv)
        columns = read(path, (*wanted, *optional))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file. `skclipad score -o` writes tables of scores, and "
            "the report's page saves labels.csv, in the browser's folder of downloads."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} cannot be read as a table ({error}). Expected a file that "
            "`skclipad score` wrote, or the report's page."
        ) from error

    absent = [column for column in wanted if column not in columns]
    if absent:
        raise ValueError(
            f"{path} has no column {' and no column '.join(absent)}. Expected a table "
            f"with the columns {', '.join(wanted)}."
        )
    return columns


def read_scores(name):
    """Return the scores of a table by path, without images that have none."""
    columns = read_columns(name, ("path", "score"))
    scores = {}
    for path, text in zip(columns["path"], columns["score"], strict=True):
        if text in (None, ""):
            continue
        try:
            score = float(text)
        except ValueError as error:
            raise ValueError(
                f"{name}: the score of {path} is {text!r}, but expected a number."
            ) from error
        if np.isfinite(score):
            scores[path] = score

    if not scores:
        raise ValueError(f"{name} holds no score.")
    return scores


def read_labels(name):
    """Return the labels of a table by path, and what the images showed.

    Labels are 0 for good and 1 for damaged images; what an image showed is the
    beginning of its `image_identity`, of those of which it is known.
    """
    columns = read_columns(name, ("path", "label"), optional=("picture",))
    shown = dict(zip(columns["path"], columns.get("picture", ()), strict=False))
    labels = {}
    for path, text in zip(columns["path"], columns["label"], strict=True):
        label = LABELS.get(str(text).strip().lower())
        if label is None:
            raise ValueError(
                f"{name}: the label of {path} is {text!r}, but expected 0 or good, 1 "
                "or damaged."
            )
        if labels.setdefault(path, label) != label:
            raise ValueError(
                f"{name} labels {path} both good and damaged. Take one line out."
            )
    return labels, {path: picture for path, picture in shown.items() if picture}


def _read_csv(path, wanted):
    # Spreadsheets add a mark at the beginning, and some of them write semicolons.
    with open(path, newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        separator = ";" if ";" in head and "," not in head else ","
        rows = csv.reader(file, delimiter=separator, strict=True)
        names = next(rows, [])
        places = {name: names.index(name) for name in wanted if name in names}
        columns = {name: [] for name in places}
        for row in rows:
            for name, place in places.items() if row else ():
                columns[name].append(row[place] if place < len(row) else "")
    return columns


def _read_json(path, wanted):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} holds lines that are no JSON objects.")
    there = [name for name in wanted if not rows or any(name in row for row in rows)]
    return {name: [row.get(name) for row in rows] for name in there}


def _read_parquet(path, wanted):
    parquet = import_optional("pyarrow.parquet", "parquet")
    pyarrow = import_optional("pyarrow", "parquet")
    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file ({error}).") from error
    there = [name for name in wanted if name in table.column_names]
    return {name: table.column(name).to_pylist() for name in there}
