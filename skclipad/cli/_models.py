"""``skclipad info --models``: CLIPs to choose from, and what each can do here."""

import csv
from importlib.metadata import version
from pathlib import Path

from skclipad._clip.sources import published_weights

TABLE = Path(__file__).with_name("models.csv")
ABSENT = "(not in this open_clip)"


def print_models():
    """Print the table of models, and which of them the installed open_clip has."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    published = published_weights()
    for row in rows:
        if row["weights"] not in published.get(row["name"], ()):
            row["needs"] = f"{row['needs']} {ABSENT}".lstrip()

    _print_columns([list(rows[0]), *(list(row.values()) for row in rows)])
    print(
        f"\nopen_clip_torch {version('open_clip_torch')}. sell: whether the weights' "
        "licence lets a product with them be sold.\nimages/s: on two cores. The "
        "documentation's page on models says what the columns mean."
    )


def _print_columns(lines):
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(n) for cell, n in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())
