"""The paper's Figures 3 to 5, measured."""

import csv
import io
from pathlib import Path

import numpy as np

from skclipad._images.colours import ANOMALOUS, NORMAL
from skclipad._method.scores import unit
from skclipad._storage.files import atomic_write_text
from skclipad.paper._captions import SENTENCES
from skclipad.paper._paper import DATASET_TITLES
from skclipad.paper._results import as_rows
from skclipad.paper._tables import METRIC_TITLES, first_setting
from skclipad.plotting._axes import STATE_COLOURS, lay_out, pyplot
from skclipad.plotting._embeddings import layer_features, write_prompts

GREY = "#666666"


def figure3(detector, *, n_pairs=500, random_state=0):
    """Draw Figure 3: where generated text embeddings lie, by t-SNE.

    Normal and anomalous prompts should lie apart, and each spread out (Sec. 3.2).

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        Its words, word lengths, `random_state` and embedder make the prompts; it need
        not be fitted.
    n_pairs : int, default=500
        Pairs of prompts.
    random_state : int, default=0
        Seed of t-SNE.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; its attribute ``points`` is a list of dict, one a point.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.paper import figure3
    >>> detector = RandomWordCLIPDetector(embedder=CLIPImageEmbedder("tiny"))
    >>> len(figure3(detector, n_pairs=20).points)
    40
    """
    plt = pyplot("benchmark")
    texts, labels = _prompts(detector, n_pairs)
    positions = _lay_out(unit(detector.embedder.encode_text(texts)), random_state)

    figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
    for label, (state, color) in enumerate(STATE_COLOURS.items()):
        x, y = positions[labels == label].T
        ax.scatter(x, y, s=6, c=color, label=state, linewidths=0)
    ax.set(title=f"Text embeddings of {n_pairs} pairs of prompts", xticks=[], yticks=[])
    ax.legend(title="prompts", markerscale=2)
    figure.points = _points("CLIP", positions, ["prompt"] * len(texts), labels)
    return figure


def figure4(results, *, metric="auroc"):
    """Draw Figure 4: how good the network is, against the number of prompt pairs.

    With few pairs it has learnt little; with very many it learns the random words
    (Sec. 4.4).

    Parameters
    ----------
    results : DataFrame, path or list of dict
        What `run_benchmark` returned or wrote, of one data set, with `pairs`.
    metric : {"auroc", "aupr", "f1_max"}, default="auroc"
        Which metric.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; its attribute ``points`` is a list of dict, one a point. Mean over
        categories; the band is a standard deviation over seeds to each side.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `results` has no rows of a network, or several data sets.

    Examples
    --------
    >>> from skclipad.paper import figure4
    >>> row = dict(dataset="mine", category="nut", setup="unknown", method="ours")
    >>> row |= dict(crops="multi", shots=0, normal_word="a", anomaly_word="a damaged")
    >>> row |= dict(l_min=5, l_max=10, metric="auroc", seed=0)
    >>> rows = [row | dict(N_p=n, value=v) for n, v in ((100, 0.8), (1000, 0.9))]
    >>> [point["mean"] for point in figure4(rows).points]
    [80.0, 90.0]
    """
    plt = pyplot("benchmark")
    rows = as_rows(results)
    points = pairs_points(rows, metric)

    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for method, color in (("ours", ANOMALOUS), ("CLIP + ours", NORMAL)):
        line = [point for point in points if point["method"] == method]
        if line:
            x, mean, std = (
                np.array([p[name] for p in line]) for name in ("N_p", "mean", "std")
            )
            ax.plot(x, mean, marker="o", color=color, label=method)
            ax.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, lw=0)
    for point in points:
        if point["method"] == "CLIP":
            ax.axhline(point["mean"], color=GREY, ls="--", label="CLIP")

    dataset = rows[0]["dataset"]
    ax.set(
        title=f"{DATASET_TITLES.get(dataset, dataset)}, object unknown",
        xscale="log",
        xlabel="pairs of prompts",
        ylabel=f"{METRIC_TITLES[metric]} (%)",
    )
    numbers = sorted({point["N_p"] for point in points if point["N_p"]})
    ax.set_xticks(numbers, [f"{n:,}" for n in numbers])
    ax.set_xticks([], minor=True)
    ax.grid(alpha=0.3)
    ax.legend()
    figure.points = points
    return figure


def pairs_points(rows, metric):
    """Return what Figure 4 shows of one data set: mean and deviation, in percent.

    A point is a dict with ``method``, ``N_p`` (None for "CLIP", which has no pairs),
    ``mean``, ``std`` and ``n_seeds``.
    """
    if len({row["dataset"] for row in rows}) > 1:
        raise ValueError(
            "Got results of several data sets, but expected those of one: the figure "
            "shows the mean over its categories."
        )
    if all(row["N_p"] is None for row in rows):
        raise ValueError("Got no rows of a network, but expected some: see `pairs`.")

    values = {}  # (method, pairs) -> {seed: values of the categories}
    for row in _zero_shot_rows(rows, metric):
        by_seed = values.setdefault((row["method"], row["N_p"]), {})
        by_seed.setdefault(row["seed"], []).append(100 * row["value"])

    points = []
    for (method, n_pairs), by_seed in values.items():
        means = [np.mean(categories) for categories in by_seed.values()]
        mean, std = float(np.mean(means)), float(np.std(means))
        n_seeds = 0 if n_pairs is None else len(means)
        point = {"method": method, "N_p": n_pairs, "mean": mean, "std": std}
        points.append(point | {"n_seeds": n_seeds})
    return sorted(points, key=lambda point: (point["method"], point["N_p"] or 0))


def _zero_shot_rows(rows, metric):
    """Return the rows of the main setting, any number of pairs, object unknown."""
    setting = vars(first_setting(rows))
    crops = "multi" if any(row["crops"] == "multi" for row in rows) else "whole"
    where = {"setup": "unknown", "shots": 0, "metric": metric, "crops": crops}
    return [
        row
        for row in rows
        if all(row[name] == value for name, value in where.items())
        and row["method"] != "WinCLIP prompts"
        and all(row[n] in (None, setting[n]) for n in setting if n != "N_p")
    ]


def figure5(detector, sentences=None, *, n_pairs=300, random_state=0):
    """Draw Figure 5: prompts and natural sentences in CLIP and in the network's layers.

    In CLIP they lie apart by domain; layer by layer they should come to lie apart by
    state (Sec. 4.5).

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector with three hidden layers, as the paper's, or any other number.
    sentences : mapping of str to sequence of str, default=None
        Natural sentences under "normal" and "anomaly", as `read_captions` finds them;
        None are a dozen of each of our own.
    n_pairs : int, default=300
        Pairs of prompts.
    random_state : int, default=0
        Seed of t-SNE.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; its attribute ``points`` is a list of dict, one a point.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.paper import figure5
    >>> embedder = CLIPImageEmbedder("tiny")
    >>> detector = RandomWordCLIPDetector(N_p=100, embedder=embedder).fit()
    >>> sentences = {"normal": ["a clean cup"] * 3, "anomaly": ["a torn sack"] * 3}
    >>> figure = figure5(detector, sentences, n_pairs=20)
    >>> [ax.get_title() for ax in figure.axes][1:3]
    ['layer 1', 'layer 2']
    """
    plt = pyplot("benchmark")
    sentences = SENTENCES if sentences is None else sentences
    texts, labels = _prompts(detector, n_pairs)
    kinds = ["prompt"] * len(texts)
    for label, name in enumerate(("normal", "anomaly")):
        texts += list(sentences[name])
        kinds += ["sentence"] * len(sentences[name])
        labels = np.append(labels, [label] * len(sentences[name]))

    panels = layer_features(detector, detector.embedder.encode_text(texts))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4 * len(panels), 4.4), layout="constrained"
    )
    figure.points, kinds = [], np.array(kinds)
    for i, (ax, features) in enumerate(zip(axes, panels, strict=True)):
        name = f"layer {i}" if i else "CLIP"
        positions = _lay_out(features, random_state)
        for kind, marker in (("prompt", "."), ("sentence", "^")):
            for label, (state, color) in enumerate(STATE_COLOURS.items()):
                x, y = positions[(kinds == kind) & (labels == label)].T
                style = {"c": color, "marker": marker, "linewidths": 0, "alpha": 0.7}
                ax.scatter(x, y, s=22, label=f"{state} {kind}s", **style)
        ax.set(title=name, xticks=[], yticks=[])
        figure.points += _points(name, positions, kinds, labels)

    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def save_figure(figure, folder, name):
    """Write a figure as ``name.png`` and its points as ``name.csv``; return both."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image, table = folder / f"{name}.png", folder / f"{name}.csv"
    # A fixed description: the same figure is the same file.
    figure.savefig(image, dpi=150, metadata={"Software": None})
    pyplot().close(figure)

    text = io.StringIO()
    writer = csv.DictWriter(text, figure.points[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(figure.points)
    atomic_write_text(table, text.getvalue())
    return [image, table]


def _prompts(detector, n_pairs):
    """Return prompts of the detector's first seed and their labels."""
    seed = detector.random_state if isinstance(detector.random_state, int) else 0
    names = ("normal_word", "anomaly_word", "l_min", "l_max")
    words = {name: getattr(detector, name) for name in names}
    return write_prompts(n_pairs, seed, **words), np.repeat([0, 1], n_pairs)


def _lay_out(features, random_state):
    # Layers may put several texts on one point; a principal axis of no width is no
    # axis to begin with.
    features = np.asarray(features, dtype=np.float32)
    return lay_out(features, init="random", random_state=random_state)


def _points(panel, positions, kinds, labels):
    return [
        {"panel": panel, "kind": kind, "anomalous": int(label), "x": x, "y": y}
        for kind, label, (x, y) in zip(kinds, labels, positions.tolist(), strict=True)
    ]
