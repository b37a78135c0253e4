"""The paper's tables, measured: each cell with the paper's own value beside it."""

from dataclasses import dataclass, field

import numpy as np

from skclipad.paper._paper import (
    DATASET_TITLES,
    paper_categories,
    paper_index,
    slug,
)
from skclipad.paper._plan import METRICS, TABLE_3_WORDS, TABLES, Setting
from skclipad.paper._results import as_rows

METRIC_TITLES = {"auroc": "AUROC", "aupr": "AUPR", "f1_max": "F1-max"}
TITLES = {
    1: "Comparison against state-of-the-art methods",
    2: "Methods without multiple crops",
    3: "AUROC with various words for normal (rows) and anomaly (columns), 0-shot, "
    "object unknown",
    4: "CLIP and our method on SewerML",
    5: "Class-wise AUROC on MVTec-AD",
    6: "Class-wise AUPR on MVTec-AD",
    7: "Class-wise F1-max on MVTec-AD",
    8: "Class-wise AUROC on VisA",
    9: "Class-wise AUPR on VisA",
    10: "Class-wise F1-max on VisA",
}
MEASURED_AS = {"WinCLIP": "WinCLIP prompts"}
REFERENCE_METHODS = ("SPADE", "PaDiM", "PatchCore", "RegAD")
WINCLIP_NOTE = (
    "WinCLIP is measured as its prompt ensemble on the same crops and, with shots, the "
    "same reference score: this package's, not its authors' code."
)


@dataclass(frozen=True)
class Cell:
    """A number of a table, in percent.

    What was measured and what the paper prints stand in it side by side.

    Parameters
    ----------
    mean, std : float or None, default=None
        Measured: mean and standard deviation over seeds, of the mean over categories;
        no deviation where no seed has a part.
    n_seeds : int, default=0
        How many seeds these are of; 0 if none has a part or nothing was measured.
    paper_mean, paper_std : float or None, default=None
        What the paper prints.

    See Also
    --------
    Table : Holds cells.

    Examples
    --------
    >>> from skclipad.paper import Cell
    >>> Cell(mean=92.5, paper_mean=92.0).difference
    0.5
    """

    mean: float | None = None
    std: float | None = None
    n_seeds: int = 0
    paper_mean: float | None = None
    paper_std: float | None = None

    @property
    def difference(self):
        """Measured minus printed.

        Both are in percent, and so is the difference.

        Returns
        -------
        float or None
            None if either is missing.

        See Also
        --------
        Cell : What it is the difference of.

        Examples
        --------
        >>> from skclipad.paper import Cell
        >>> Cell(mean=92.5).difference is None
        True
        """
        if self.mean is None or self.paper_mean is None:
            return None
        return self.mean - self.paper_mean


@dataclass
class Table:
    """A table of the paper, measured.

    It holds numbers; `table_text` writes them down.

    Parameters
    ----------
    number : int
        Its number in the paper.
    title : str
        Its title.
    columns : list of str, default=[]
        Titles of the columns.
    rows : list of (str, list of Cell), default=[]
        Title and cells of each row; none if the table does not apply.
    notes : list of str, default=[]
        What a reader must know.

    See Also
    --------
    make_table : Makes it.

    Examples
    --------
    >>> from skclipad.paper import make_table
    >>> make_table([], 4).rows
    []
    """

    number: int
    title: str
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def make_table(results, number, *, setting=None):
    """Make one of the paper's tables of measured rows.

    Tables 1 to 3 are made for any data set, 5 to 7 for any but VisA and SewerML; the
    paper's own values stand only where the data set is the paper's, and those for means
    over categories only where all of its categories were measured.

    Parameters
    ----------
    results : DataFrame, path or list of dict
        What `run_benchmark` returned or wrote, of one data set or several.
    number : int
        Number of the table, 1 to 10.
    setting : Setting, default=None
        The network's setting. None is the first in `results`, the one of which a run
        measures everything.

    Returns
    -------
    Table
        The table. If it does not apply it has no rows, and a note says why.

    Raises
    ------
    ValueError
        If there is no such table.

    See Also
    --------
    write_tables : Writes all tables to files.
    table_text : Writes one as Markdown, LaTeX or CSV.

    Examples
    --------
    >>> from skclipad.paper import make_table
    >>> table = make_table([], 8)
    >>> table.notes
    ['Does not apply: it is about VisA, which was not measured.']
    """
    if number not in TABLES:
        raise ValueError(f"Got number={number!r} but expected a table from 1 to 10.")
    measured = _Measured(as_rows(results), setting)
    if number == 1:
        table = _table_1(measured)
    elif number in (2, 3):
        table = (_table_2 if number == 2 else _table_3)(measured)
    elif number == 4:
        table = _table_4(measured)
    else:
        table = _class_table(measured, number)
    if not table.rows:
        return Table(number, TITLES[number], notes=table.notes)
    cells = [cell for _, cells in table.rows for cell in cells]
    if all(cell.mean is None for cell in cells):
        return Table(number, TITLES[number], notes=["Was not measured in this run."])
    table.notes += measured.notes()
    return table


class _Measured:
    """Measured rows by what they are about."""

    def __init__(self, rows, setting):
        self._values = {}  # what a row is about -> {seed: {category: value}}
        self.categories = {}  # data set -> its categories, in order
        for row in rows:
            about = (row["dataset"], *_about(row))
            by_seed = self._values.setdefault(about, {})
            by_seed.setdefault(row["seed"], {})[row["category"]] = row["value"]
            found = self.categories.setdefault(row["dataset"], {})
            found[row["category"]] = None
        self.setting = first_setting(rows) if setting is None else setting

    @property
    def datasets(self):
        return list(self.categories)

    def is_complete(self, dataset):
        """Tell whether a data set has the paper's categories, all and no other."""
        expected = paper_categories(dataset)
        found = frozenset(map(slug, self.categories[dataset]))
        return found == expected or (dataset == "sewerml" and len(found) == 1)

    def cell(
        self,
        table,
        dataset,
        metric,
        *,
        method,
        setup,
        crops="multi",
        shots=0,
        category=None,
        words=None,
    ):
        """Return a cell; without category the mean over all, without words the main."""
        setting = self.setting
        normal, anomaly = words or (setting.normal_word, setting.anomaly_word)
        row = {
            "setup": setup,
            "method": MEASURED_AS.get(method, method),
            "crops": crops,
            "shots": shots,
            "normal_word": normal,
            "anomaly_word": anomaly,
            "l_min": setting.l_min,
            "l_max": setting.l_max,
            "N_p": setting.N_p,
            "metric": metric,
        }
        mean, std, n_seeds = self._mean_and_std((dataset, *_about(row)), category)
        is_paper = category is not None or self.is_complete(dataset)
        words = (
            ("", "")
            if method in (*MEASURED_AS, *REFERENCE_METHODS)
            else (
                normal,
                anomaly,
            )
        )
        printed = (None, None)
        if is_paper:
            name = "mean" if category is None else slug(category)
            key = (table, dataset, name, setup, method, shots, *words, metric)
            printed = paper_index().get(key, printed)
        return Cell(mean, std, n_seeds, *printed)

    def _mean_and_std(self, about, category):
        by_seed = self._values.get(about, {})
        names = self.categories.get(about[0], {}) if category is None else [category]
        means = {
            seed: 100 * np.mean([values[name] for name in names])
            for seed, values in by_seed.items()
            if all(name in values for name in names)
        }
        if not means:
            return None, None, 0
        mean = float(np.mean(list(means.values())))
        if None in means:
            return mean, None, 0
        return mean, float(np.std(list(means.values()))), len(means)

    def notes(self):
        """Say what is not as in the paper."""
        notes = []
        if self.setting != Setting():
            notes.append(f"Not the paper's setting, but {_words_of(self.setting)}.")
        for dataset in self.datasets:
            title = DATASET_TITLES.get(dataset)
            if title and not self.is_complete(dataset):
                n, total = len(self.categories[dataset]), len(paper_categories(dataset))
                notes.append(
                    f"Means are over the {n} categories measured, which are not the "
                    f"paper's {total} of {title}: its means are not set beside them."
                )
        return notes


def _words_of(setting):
    return (
        f"N_p = {setting.N_p:,}, words of {setting.l_min} to {setting.l_max} letters, "
        f'"{setting.normal_word}" and "{setting.anomaly_word}"'
    )


def _about(row):
    """Return what a row is about, whichever its seed and category."""
    trained = row["method"] in ("ours", "CLIP + ours")
    words = row["method"] != "WinCLIP prompts"
    return (
        *(row["setup"], row["method"], row["crops"], row["shots"], row["metric"]),
        *((row["normal_word"], row["anomaly_word"]) if words else (None, None)),
        *((row["l_min"], row["l_max"], row["N_p"]) if trained else (None,) * 3),
    )


def first_setting(rows):
    names = list(Setting.__annotations__)
    trained = (row for row in rows if row["N_p"] is not None)
    first = next(trained, None)
    return Setting() if first is None else Setting(*(first[name] for name in names))


# Which rows and columns


def _table_1(measured):
    datasets = [d for d in measured.datasets if d != "sewerml"]
    if not datasets:
        return _not_about(1, "MVTec-AD, VisA or data of your own")
    lines = [
        *((0, "unknown", method) for method in ("CLIP", "ours", "CLIP + ours")),
        *((0, "known", method) for method in ("WinCLIP", "CLIP", "CLIP + ours")),
    ]
    for shots in (1, 2, 4):
        methods = (*REFERENCE_METHODS, "WinCLIP", "CLIP + ours")
        lines += [(shots, "known", method) for method in methods]
    table = Table(1, TITLES[1], notes=[WINCLIP_NOTE])
    table.columns = [
        f"{_title(dataset)} {METRIC_TITLES[metric]}"
        for dataset in datasets
        for metric in METRICS
    ]
    for shots, setup, method in lines:
        cells = [
            measured.cell(1, d, metric, method=method, setup=setup, shots=shots)
            for d in datasets
            for metric in METRICS
        ]
        known = f", object {setup}" if shots == 0 else ""
        if any(c.mean is not None or c.paper_mean is not None for c in cells):
            table.rows.append((f"{shots}-shot{known}: {method}", cells))
    return table


def _table_2(measured):
    datasets = [d for d in measured.datasets if d != "sewerml"]
    if not datasets:
        return _not_about(2, "MVTec-AD or data of your own")
    table = Table(2, TITLES[2], [METRIC_TITLES[metric] for metric in METRICS])
    table.notes = [
        "The paper's set-up is not legible in the text that was transcribed, nor are "
        "four of its values: it is taken as known object.",
        WINCLIP_NOTE,
    ]
    for dataset in datasets:
        for setup in ("known", "unknown"):
            for method in ("WinCLIP", "CLIP", "ours", "CLIP + ours"):
                cells = [
                    measured.cell(
                        2, dataset, metric, method=method, setup=setup, crops="whole"
                    )
                    for metric in METRICS
                ]
                title = f"{_title(dataset)}, object {setup}: {method}"
                table.rows.append((title, cells))
    return table


def _table_3(measured):
    datasets = [d for d in measured.datasets if d != "sewerml"]
    if not datasets:
        return _not_about(3, "MVTec-AD or data of your own")
    normals = list(dict.fromkeys(normal for normal, _ in TABLE_3_WORDS))
    anomalies = list(dict.fromkeys(anomaly for _, anomaly in TABLE_3_WORDS))
    methods = ("CLIP", "CLIP + ours")
    table = Table(3, TITLES[3])
    table.columns = [f'"{a}" {m}' for a in anomalies for m in methods]
    table.notes = ['The paper prints its first row as "an".']
    for dataset in datasets:
        for normal in normals:
            cells = [
                measured.cell(
                    *(3, dataset, "auroc"),
                    method=method,
                    setup="unknown",
                    words=(normal, anomaly),
                )
                for anomaly in anomalies
                for method in methods
            ]
            table.rows.append((f'{_title(dataset)}: "{normal}"', cells))
    return table


def _table_4(measured):
    if "sewerml" not in measured.datasets:
        return _not_about(4, "SewerML")
    table = Table(4, TITLES[4], [METRIC_TITLES[metric] for metric in METRICS])
    for method in ("CLIP", "ours", "CLIP + ours"):
        cells = [
            measured.cell(4, "sewerml", metric, method=method, setup="unknown")
            for metric in METRICS
        ]
        table.rows.append((method, cells))
    return table


def _class_table(measured, number):
    metric = list(METRICS)[(number - 5) % 3]
    if number < 8:
        datasets = [d for d in measured.datasets if d not in ("visa", "sewerml")]
        about = "MVTec-AD or data of your own"
    else:
        datasets = [d for d in measured.datasets if d == "visa"]
        about = "VisA"
    if not datasets:
        return _not_about(number, about)
    columns = [(0, "unknown", "CLIP"), (0, "unknown", "CLIP + ours")]
    for shots in (0, 1, 2, 4):
        columns += [(shots, "known", method) for method in ("WinCLIP", "CLIP + ours")]
    table = Table(number, TITLES[number], notes=[WINCLIP_NOTE])
    table.columns = [
        f"{shots}-shot{f' {setup}' if shots == 0 else ''}: {method}"
        for shots, setup, method in columns
    ]
    for dataset in datasets:
        if dataset not in DATASET_TITLES:
            table.title = f"Class-wise {METRIC_TITLES[metric]}"
        for category in [*measured.categories[dataset], None]:
            cells = [
                measured.cell(
                    *((1 if category is None else number), dataset, metric),
                    method=method,
                    setup=setup,
                    shots=shots,
                    category=category,
                )
                for shots, setup, method in columns
            ]
            name = "mean" if category is None else category
            title = f"{_title(dataset)}: {name}" if len(datasets) > 1 else name
            table.rows.append((title, cells))
    return _without_blank_columns(table)


def _without_blank_columns(table):
    """Leave out columns, such as those of shots, that have no number at all."""
    rows = [cells for _, cells in table.rows]
    kept = [
        i
        for i, column in enumerate(zip(*rows, strict=True))
        if any(c.mean is not None or c.paper_mean is not None for c in column)
    ]
    table.columns = [table.columns[i] for i in kept]
    table.rows = [(title, [cells[i] for i in kept]) for title, cells in table.rows]
    return table


def _title(dataset):
    return DATASET_TITLES.get(dataset, dataset)


def _not_about(number, about):
    note = f"Does not apply: it is about {about}, which was not measured."
    return Table(number, TITLES[number], notes=[note])
