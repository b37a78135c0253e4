"""The paper's tables and figures, measured on data sets on disk.

`run_benchmark` measures, `make_table` and the figures show; from a shell
``skclipad benchmark`` does all of it.
"""

from skclipad.paper._captions import read_captions
from skclipad.paper._figures import figure3, figure4, figure5
from skclipad.paper._measure import run_benchmark
from skclipad.paper._paper import paper_results
from skclipad.paper._plan import Setting
from skclipad.paper._results import read_results
from skclipad.paper._table_files import table_text, write_tables
from skclipad.paper._tables import Cell, Table, make_table

__all__ = [
    "Cell",
    "Setting",
    "Table",
    "figure3",
    "figure4",
    "figure5",
    "make_table",
    "paper_results",
    "read_captions",
    "read_results",
    "run_benchmark",
    "table_text",
    "write_tables",
]
