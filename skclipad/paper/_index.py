"""``index.md`` of a run: what was measured, with what, and what lies beside it."""

import itertools
import platform
from pathlib import Path

from skclipad._clip.sources import CAVEATS
from skclipad._embedder import load_clip
from skclipad._storage.files import atomic_write_text
from skclipad.paper._paper import DATASET_TITLES
from skclipad.paper._plan import COLUMNS, row_key
from skclipad.report import package_versions
from skclipad.statistics import compare_methods

NOT_THE_PAPER = "Nothing here reproduces the paper. {caveat}"
OUR_CHOICES = (
    "The paper does not say how wide the network's layers are, how strong its dropout "
    "and the decay of its learning rate, nor how its crops are cut and their scores "
    "combined, and it writes raw embeddings for the network's input. The choices of "
    "skclipad stand above; values differ from the paper's for this reason too."
)


def write_index(folder, benchmark, *, rows, written, command=None):
    """Write ``index.md`` of a run that is done: its rows, and the files beside it."""
    path = Path(folder) / "index.md"
    embedder = benchmark.detector.embedder
    lines = [f"# {_title(benchmark.name)}, measured by skclipad", ""]
    if (note := note_of(embedder.model_name)) is not None:
        lines += [f"**{note}**", ""]
    if command is not None:
        lines += ["```", command, "```", ""]

    lines += ["## Files", "", f"- `results.csv`: {len(rows):,} rows, one a value"]
    for stem, files in itertools.groupby(written, key=lambda file: file.stem):
        links = ", ".join(f"[{file.suffix[1:]}]({file.name})" for file in files)
        lines.append(f"- {stem}: {links}")

    lines += ["", "## Settings", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _settings(benchmark).items()]
    lines += ["", OUR_CHOICES, ""]

    lines += ["## Images", ""]
    lines += ["| category | normal | anomalous | called |", "|---|---|---|---|"]
    for category in benchmark.categories:
        n_anomalous = int(category.target.sum())
        counts = f"{len(category.target) - n_anomalous} | {n_anomalous}"
        called = benchmark.object_name(category.name)
        lines.append(f"| {category.name} | {counts} | {called} |")

    lines += _difference(benchmark, rows)
    lines += ["", "## Time", "", *_times(benchmark)]
    atomic_write_text(path, "\n".join(lines) + "\n")
    return path


def note_of(model_name):
    """Return what must be said of values of a bundled model, None of another one."""
    if model_name in CAVEATS:
        return NOT_THE_PAPER.format(caveat=CAVEATS[model_name])
    return None


def _title(name):
    return DATASET_TITLES.get(name, name)


def _settings(benchmark):
    detector, embedder = benchmark.detector, benchmark.detector.embedder
    backbone = load_clip(embedder)
    bundled = embedder.model_name in CAVEATS

    return {
        "model": embedder.model_name + (" (bundled)" if bundled else ""),
        "weights": "its own" if bundled else embedder.pretrained,
        "device, number format": f"{backbone.device}, {backbone.numbers}",
        "resize": embedder.resize_mode,
        "scores of crops combined by": detector.combine_views,
        "words": f'"{detector.normal_word}", "{detector.anomaly_word}"',
        "random words": f"{detector.l_min} to {detector.l_max} letters",
        "pairs of prompts": f"{detector.N_p:,}",
        "hidden layers": detector.hidden_layer_sizes,
        "dropout": detector.dropout,
        "learning rate": f"{detector.learning_rate:g}, times {detector.lr_decay:g} "
        "after each epoch",
        "input of unit length": detector.normalize,
        "seeds": ", ".join(map(str, benchmark.seeds)),
        "shots": ", ".join(map(str, benchmark.shots)),
        **package_versions(missing="not installed"),
        "machine": platform.machine(),
    }


def _difference(benchmark, rows):
    """Say whether the network helps, over categories; nothing where there is one."""
    case = benchmark.cases[0]
    names = [category.name for category in benchmark.categories]
    wanted = {
        row_key(row)
        for seed in (None, *benchmark.seeds)
        for row in case.rows(benchmark.name, names, seed)
        if row["shots"] == 0 and row["setup"] == case.setups[0]
        if row["crops"] == case.crops[-1]
    }
    chosen = [row for row in rows if row_key(row) in wanted]
    if len(names) < 2 or not chosen:
        return []

    columns = {name: [row[name] for row in chosen] for name in COLUMNS}
    test = compare_methods(columns, "CLIP", "CLIP + ours", random_state=0)
    where = f"0-shot, object {case.setups[0]}, {case.crops[-1]} crops"
    return [
        "",
        "## Does the network help?",
        "",
        f'AUROC of "CLIP + ours" minus "CLIP" ({where}), paired over '
        f"{test.n_categories} categories: "
        f"{100 * test.difference:+.1f} points, 95 % interval {100 * test.low:+.1f} to "
        f"{100 * test.high:+.1f}, p = {test.p_value:.3f}.",
    ]


def _times(benchmark):
    if not benchmark.seconds:
        return ["All rows were there already: nothing was computed."]
    names = {
        "pictures": "images embedded or found in the cache",
        "references": "images compared with references, or found in the cache",
        "networks": "networks trained, their prompts included, and all values taken",
    }
    return [
        f"- {benchmark.counts[what]:,} {text}: {benchmark.seconds[what]:.1f} s"
        for what, text in names.items()
        if benchmark.counts.get(what)
    ]
