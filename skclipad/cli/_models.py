"""The table of models: CLIPs to choose from, and what each can do here."""

import csv
from importlib.metadata import version
from pathlib import Path

from skclipad._clip.sources import BUNDLED, published_weights
from skclipad.cli._console import print_aligned, width_of_output

TABLE = Path(__file__).with_name("models.csv")
ABSENT = "(not in this open_clip)"
LEGEND = """\
open_clip_torch {}. sell: whether the weights' licence lets a product
with them be sold. images/s: on two cores. The documentation's page on models,
docs/models.rst, says what the columns mean."""
GAP = "  "  # between columns


def table_row(name):
    """Return the table's row of a model, a dict of str by column; None without one."""
    name = name.replace("/", "-")
    return next((row for row in _rows() if row["name"] == name), None)


def print_models(name=None):
    """Print the table of models, or the row of one, as open_clip has them here."""
    if name is None:
        rows = _rows()
        _print_table([list(rows[0]), *(list(row.values()) for row in rows)])
    else:
        print_aligned(_row_of(name).items())
    print(f"\n{LEGEND.format(version('open_clip_torch'))}")


def _row_of(name):
    row = table_row(name)
    if row is None:
        names = ", ".join(row["name"] for row in _rows())
        raise ValueError(
            f"Got --models with --model {name!r}, but expected a name of the table: "
            f"{names}. `skclipad info --model {name}` says what is known of others."
        )
    return row


def _rows():
    """Read the table, and mark the models that the installed open_clip has not."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    published = published_weights()
    for row in rows:
        is_there = row["weights"] in published.get(row["name"], ())
        if not is_there and row["name"] not in BUNDLED:
            row["needs"] = f"{row['needs']} {ABSENT}".lstrip()
    return rows


def _print_table(lines):
    """Print a table, in blocks of columns where the terminal is narrower than it."""
    columns = [_padded(column) for column in zip(*lines, strict=True)]
    blocks = _blocks(columns, width_of_output())
    for i, block in enumerate(blocks):
        print("\n" * (i > 0), end="")
        for cells in zip(*block, strict=True):
            print(GAP.join(cells).rstrip())


def _padded(column):
    width = max(map(len, column))
    return [cell.ljust(width) for cell in column]


def _blocks(columns, width):
    """Divide columns into blocks of this width, which all begin with the first one."""
    first, *others = columns
    blocks = [[first]]
    for column in others:
        taken = sum(len(one[0]) + len(GAP) for one in blocks[-1]) + len(column[0])
        if width is not None and taken > width and len(blocks[-1]) > 1:
            blocks.append([first])
        blocks[-1].append(column)
    return blocks
