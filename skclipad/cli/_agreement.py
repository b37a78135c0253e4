"""How well scores agree with what is known: AUROC, AUPR and F1-max, to print."""

from pathlib import Path

from skclipad.metrics import aupr, auroc, f1_max

METRICS = {"AUROC": auroc, "AUPR": aupr, "F1-max": f1_max}


def folder_labels(rows, good):
    """Return 0 for rows of images in a folder of this name, 1 for the others."""
    return [int(Path(row["path"]).parent.name != good) for row in rows]


def agreement_with_folders(rows, good):
    """Say how well scores agree with folders: a table, or why there is none."""
    y_true = folder_labels(rows, good)
    if len(set(y_true)) < 2:
        return (
            f"No figures: of {len(rows)} scored pictures {sum(y_true)} lie outside "
            f"folders named {good!r}, and both kinds are needed."
        )

    others = {Path(row["path"]).parent.name for row in rows} - {good}
    said = (
        f"\n{y_true.count(0):,} normal pictures, in {good}; {sum(y_true):,} anomalous "
        f"ones, in {', '.join(sorted(others))}"
    )

    names = [name for name in ("s_pr", "s_fnn", "s_img", "score") if name in rows[0]]
    columns = {name: [row[name] for row in rows] for name in names}
    if auroc(y_true, columns["score"]) < 0.5:
        said += "\nBelow 0.5 is worse than chance: normal pictures have higher scores."

    width = max(12, *map(len, columns))
    lines = [(f"{n:<{width}}", y_true, scores) for n, scores in columns.items()]
    table = metrics_table(" " * width, lines)
    return f"{said}\n{table}\n{_best_cut(y_true, columns['score'])}"


def _best_cut(y_true, scores):
    """Say which threshold has the largest F1, in digits that read back to the same."""
    _, threshold = f1_max(y_true, scores, return_threshold=True)
    if threshold < 0:  # the lowest score is 0, and no share lies below it
        return "F1-max of score is reached when every picture is called anomalous"
    return f"F1-max of score is reached with --threshold {threshold!r}"


def metrics_table(head, lines):
    """Return a table of metrics.

    `head` stands left of their names. Each line is what stands left of the values, the
    labels, and the scores.
    """
    table = [" ".join([head, *(f"{name:>7}" for name in METRICS)])]
    for first, y_true, scores in lines:
        values = [metric(y_true, scores) for metric in METRICS.values()]
        table.append(" ".join([first, *(f"{value:7.3f}" for value in values)]))
    return "\n".join(table)
