"""The paper's tables, measured: each cell with the paper's own value beside it."""

from dataclasses import dataclass, field
from itertools import product

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
OWN = "MVTec-AD or data of your own"
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
    datasets, about = _datasets_of(number, measured.categories)
    table = Table(number, TITLES[number])
    if not datasets:
        table.notes = [f"Does not apply: it is about {about}, which was not measured."]
        return table

    fill = {1: _fill_1, 2: _fill_2, 3: _fill_3, 4: _fill_4}.get(number, _fill_classes)
    fill(table, measured, datasets)
    if all(cell.mean is None for _, cells in table.rows for cell in cells):
        return Table(number, TITLES[number], notes=["Was not measured in this run."])
    table.notes += measured.notes()
    return table


def _datasets_of(number, measured):
    """Return which data sets a table is about, and what to say if there are none."""
    if number in (1, 2, 3):
        about = "MVTec-AD, VisA or data of your own" if number == 1 else OWN
        return [name for name in measured if name != "sewerml"], about
    if number == 4:
        return [name for name in measured if name == "sewerml"], "SewerML"
    if number < 8:
        return [name for name in measured if name not in ("visa", "sewerml")], OWN
    return [name for name in measured if name == "visa"], "VisA"


class _Measured:
    """Measured rows by what they are about."""

    def __init__(self, rows, setting):
        self._values = {}  # what a row is about -> {seed: {category: value}}
        self.categories = {}  # data set -> its categories, in order
        self.setting = first_setting(rows) if setting is None else setting

        for row in rows:
            about = (row["dataset"], *_about(row))
            by_seed = self._values.setdefault(about, {})
            by_seed.setdefault(row["seed"], {})[row["category"]] = row["value"]
            found = self.categories.setdefault(row["dataset"], {})
            found[row["category"]] = None

    def is_complete(self, dataset):
        """Tell whether a data set has the paper's categories, all and no other."""
        expected = paper_categories(dataset)
        found = frozenset(map(slug, self.categories[dataset]))
        return found == expected or (dataset == "sewerml" and len(found) == 1)

    def cells(self, table, dataset, **where):
        """Return a cell of each metric."""
        return [self.cell(table, dataset, metric, **where) for metric in METRICS]

    def cell(self, table, dataset, metric, *, category=None, words=None, **where):
        """Return a cell; without category the mean over all, without words the main."""
        row = {"crops": "multi", "shots": 0, "metric": metric, **vars(self.setting)}
        row |= where
        if words is not None:
            row |= {"normal_word": words[0], "anomaly_word": words[1]}
        method = MEASURED_AS.get(row["method"], row["method"])
        about = dataset, *_about(row | {"method": method})
        measured = self._mean_and_std(about, category)

        # The paper's own value, if it has one for these categories
        if category is None and not self.is_complete(dataset):
            return Cell(*measured)
        words = row["normal_word"], row["anomaly_word"]
        if row["method"] in (*MEASURED_AS, *REFERENCE_METHODS):
            words = "", ""
        name = "mean" if category is None else slug(category)
        about = row["setup"], row["method"], row["shots"], *words, metric
        printed = paper_index().get((table, dataset, name, *about), (None, None))
        return Cell(*measured, *printed)

    def _mean_and_std(self, about, category):
        """Return mean, deviation and number of seeds of what was measured."""
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
        notes, setting = [], self.setting
        if setting != Setting():
            notes.append(
                f"Not the paper's setting, but N_p = {setting.N_p:,}, words of "
                f"{setting.l_min} to {setting.l_max} letters, "
                f'"{setting.normal_word}" and "{setting.anomaly_word}".'
            )

        for dataset, categories in self.categories.items():
            title = DATASET_TITLES.get(dataset)
            if title and not self.is_complete(dataset):
                notes.append(
                    f"Means are over the {len(categories)} categories measured, which "
                    f"are not the paper's {len(paper_categories(dataset))} of {title}: "
                    "its means are not set beside them."
                )
        return notes


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
    """Return the setting of the first row of a network, or else the paper's."""
    names = list(Setting.__annotations__)
    trained = (row for row in rows if row["N_p"] is not None)
    first = next(trained, None)
    return Setting() if first is None else Setting(*(first[name] for name in names))


# Which rows and columns


def _fill_1(table, measured, datasets):
    lines = [
        *((0, "unknown", method) for method in ("CLIP", "ours", "CLIP + ours")),
        *((0, "known", method) for method in ("WinCLIP", "CLIP", "CLIP + ours")),
    ]
    for shots in (1, 2, 4):
        methods = (*REFERENCE_METHODS, "WinCLIP", "CLIP + ours")
        lines += [(shots, "known", method) for method in methods]

    table.notes = [WINCLIP_NOTE]
    titles = METRIC_TITLES.values()
    table.columns = [f"{_title(d)} {metric}" for d in datasets for metric in titles]
    for shots, setup, method in lines:
        where = {"method": method, "setup": setup, "shots": shots}
        cells = [cell for d in datasets for cell in measured.cells(1, d, **where)]
        known = f", object {setup}" if shots == 0 else ""
        if not _is_blank(cells):
            table.rows.append((f"{shots}-shot{known}: {method}", cells))


def _fill_2(table, measured, datasets):
    table.columns = list(METRIC_TITLES.values())
    table.notes = [
        "The paper's set-up is not legible in the text that was transcribed, nor are "
        "four of its values: it is taken as known object.",
        WINCLIP_NOTE,
    ]
    methods = ("WinCLIP", "CLIP", "ours", "CLIP + ours")
    for dataset, setup, method in product(datasets, ("known", "unknown"), methods):
        where = {"method": method, "setup": setup, "crops": "whole"}
        title = f"{_title(dataset)}, object {setup}: {method}"
        table.rows.append((title, measured.cells(2, dataset, **where)))


def _fill_3(table, measured, datasets):
    normals = list(dict.fromkeys(normal for normal, _ in TABLE_3_WORDS))
    anomalies = list(dict.fromkeys(anomaly for _, anomaly in TABLE_3_WORDS))
    columns = list(product(anomalies, ("CLIP", "CLIP + ours")))

    table.columns = [f'"{anomaly}" {method}' for anomaly, method in columns]
    table.notes = ['The paper prints its first row as "an".']
    for dataset, normal in product(datasets, normals):
        cells = []
        for anomaly, method in columns:
            where = {"method": method, "setup": "unknown", "words": (normal, anomaly)}
            cells.append(measured.cell(3, dataset, "auroc", **where))
        table.rows.append((f'{_title(dataset)}: "{normal}"', cells))


def _fill_4(table, measured, datasets):
    table.columns = list(METRIC_TITLES.values())
    for dataset, method in product(datasets, ("CLIP", "ours", "CLIP + ours")):
        cells = measured.cells(4, dataset, method=method, setup="unknown")
        table.rows.append((method, cells))


def _fill_classes(table, measured, datasets):
    metric = list(METRICS)[(table.number - 5) % 3]
    columns = [(0, "unknown", "CLIP"), (0, "unknown", "CLIP + ours")]
    for shots in (0, 1, 2, 4):
        columns += [(shots, "known", method) for method in ("WinCLIP", "CLIP + ours")]

    table.notes = [WINCLIP_NOTE]
    table.columns = [
        f"{shots}-shot{f' {setup}' if shots == 0 else ''}: {method}"
        for shots, setup, method in columns
    ]
    if not DATASET_TITLES.keys() >= set(datasets):
        table.title = f"Class-wise {METRIC_TITLES[metric]}"

    for dataset in datasets:
        for category in [*measured.categories[dataset], None]:
            number = 1 if category is None else table.number
            where = (number, dataset, metric)
            cells = [
                measured.cell(*where, method=m, setup=s, shots=k, category=category)
                for k, s, m in columns
            ]
            name = "mean" if category is None else category
            title = f"{_title(dataset)}: {name}" if len(datasets) > 1 else name
            table.rows.append((title, cells))
    _leave_out_blank_columns(table)


def _leave_out_blank_columns(table):
    """Leave out columns, such as those of shots, that have no number at all."""
    columns = zip(*(cells for _, cells in table.rows), strict=True)
    kept = [i for i, column in enumerate(columns) if not _is_blank(column)]
    table.columns = [table.columns[i] for i in kept]
    table.rows = [(title, [cells[i] for i in kept]) for title, cells in table.rows]


def _is_blank(cells):
    return all(cell.mean is None and cell.paper_mean is None for cell in cells)


def _title(dataset):
    return DATASET_TITLES.get(dataset, dataset)
