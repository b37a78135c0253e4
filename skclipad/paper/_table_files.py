"""Tables as text: Markdown, LaTeX and CSV."""

import csv
import io
from pathlib import Path

from skclipad._storage.files import atomic_write_text
from skclipad.paper._plan import TABLES
from skclipad.paper._results import as_rows
from skclipad.paper._tables import make_table

CSV_COLUMNS = (
    *("table", "row", "column", "mean", "std", "n_seeds"),
    *("paper_mean", "paper_std", "difference", "note"),
)
LEGEND = (
    "Percent, mean ± standard deviation over seeds; in brackets the paper's value and "
    "what is measured minus that."
)
_TEX = {letter: "\\" + letter for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def write_tables(results, folder, *, tables=TABLES, setting=None, note=None):
    """Write tables as Markdown, LaTeX and CSV.

    Of a table that does not apply the files say so.

    Parameters
    ----------
    results : DataFrame, path or list of dict
        What `run_benchmark` returned or wrote, of one data set or several.
    folder : path
        Where ``table1.md``, ``table1.tex``, ``table1.csv`` and so on go; made if it is
        not there.
    tables : iterable of int, default=(1, ..., 10)
        Which tables.
    setting : Setting, default=None
        The network's setting; see `make_table`.
    note : str, default=None
        What to say under every table that applies.

    Returns
    -------
    list of Path
        The files.

    Examples
    --------
    >>> import tempfile
    >>> from skclipad.paper import write_tables
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_tables([], folder, tables=[4])]
    ['table4.md', 'table4.tex', 'table4.csv']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    rows, written = as_rows(results), []
    for number in tables:
        table = make_table(rows, number, setting=setting)
        if note is not None and table.rows:
            table.notes.insert(0, note)

        for suffix, kind in (("md", "markdown"), ("tex", "latex"), ("csv", "csv")):
            path = folder / f"table{number}.{suffix}"
            atomic_write_text(path, table_text(table, kind))
            written.append(path)
    return written


def table_text(table, kind="markdown"):
    """Write a table as text.

    A cell without measured number is a dash.

    Parameters
    ----------
    table : Table
        What `make_table` made.
    kind : {"markdown", "latex", "csv"}, default="markdown"
        Markdown and LaTeX show the paper's value and the difference in brackets; CSV
        has a line for each cell, unrounded, and no notes but that a table does not
        apply.

    Returns
    -------
    str
        The text, ending in a line break.

    Raises
    ------
    ValueError
        If the kind is none of these.

    Examples
    --------
    >>> from skclipad.paper import make_table, table_text
    >>> print(table_text(make_table([], 4)))
    **Table 4.** CLIP and our method on SewerML.
    <BLANKLINE>
    Does not apply: it is about SewerML, which was not measured.
    """
    writers = {"markdown": _markdown, "latex": _latex, "csv": _csv}
    if kind not in writers:
        raise ValueError(f"Got kind={kind!r} but expected one of {', '.join(writers)}.")
    return writers[kind](table)


def _markdown(table):
    lines = [f"**Table {table.number}.** {table.title}.", ""]
    if table.rows:
        lines += ["| | " + " | ".join(map(_bar_free, table.columns)) + " |"]
        lines += ["|---" * (len(table.columns) + 1) + "|"]
        for title, cells in table.rows:
            texts = [_bar_free(title), *map(_cell_text, cells)]
            lines.append("| " + " | ".join(texts) + " |")
        lines += ["", LEGEND, ""]

    notes = [f"- {note}" for note in table.notes] if table.rows else table.notes
    return "\n".join([*lines, *notes]) + "\n"


def _bar_free(text):
    return text.replace("|", "\\|")


def _cell_text(cell):
    """Write "92.3 ± 0.4 (92.2 ± 0.3; +0.1)"; what is not there is a dash."""
    text = _number(cell.mean, cell.std)
    if cell.paper_mean is not None:
        difference = cell.difference
        text += f" ({_number(cell.paper_mean, cell.paper_std)}"
        text += ")" if difference is None else f"; {difference:+.1f})"
    return text


def _number(mean, std):
    if mean is None:
        return "-"
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def _latex(table):
    caption = [f"{table.title}.", *([LEGEND] if table.rows else []), *table.notes]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_tex(' '.join(caption))}}}"]
    lines.append(rf"\label{{tab:{table.number}}}")

    if table.rows:
        lines.append(rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}")
        lines += [r"\hline", _tex_row(["", *map(_tex, table.columns)]), r"\hline"]
        for title, cells in table.rows:
            lines.append(_tex_row([_tex(title), *(_tex(_cell_text(c)) for c in cells)]))
        lines += [r"\hline", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex_row(texts):
    return " & ".join(texts) + r" \\"


def _tex(text):
    escaped = "".join(_TEX.get(letter, letter) for letter in text)
    return escaped.replace(" ± ", r"$\,\pm\,$").replace("±", r"$\pm$")


def _csv(table):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    if not table.rows:
        blank = [""] * (len(CSV_COLUMNS) - 2)
        writer.writerow([table.number, *blank, *table.notes])
    for title, cells in table.rows:
        for column, cell in zip(table.columns, cells, strict=True):
            numbers = (cell.mean, cell.std, cell.n_seeds or None)
            numbers += (cell.paper_mean, cell.paper_std, cell.difference)
            writer.writerow([table.number, title, column, *numbers, None])
    return text.getvalue()
