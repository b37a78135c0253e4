"""What commands leave, read back: tables and pages."""

import csv
import io
import json
from pathlib import Path


def read_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def read_table(path):
    # Without newline translation: names of pictures may hold line breaks.
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page_data(path):
    """Return the numbers that the report's page shows."""
    page = Path(path).read_text(encoding="utf-8")
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])
