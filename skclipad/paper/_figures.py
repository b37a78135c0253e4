"""The paper's Figures 3 to 5, measured."""

import csv
import io
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from skclipad._method.network import network_layers
from skclipad._method.prompts import training_block
from skclipad._method.scores import unit
from skclipad._method.sentences import load_sentences
from skclipad._storage.files import atomic_write_text
from skclipad.paper._paper import DATASET_TITLES
from skclipad.paper._plan import Setting
from skclipad.paper._results import as_rows
from skclipad.paper._tables import METRIC_TITLES, first_setting

# Orange and blue stay apart for colour-blind readers.
NORMAL, ANOMALOUS, GREY = "#0072b2", "#d55e00", "#666666"


def import_pyplot():
    """Return matplotlib's pyplot, which is an extra.

    Returns
    -------
    module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "matplotlib could not be imported, but figures need it. Install it with "
            f"`pip install 'skclipad[benchmark]'`. The reason was: {error}"
        ) from error
    return plt


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

    See Also
    --------
    figure5 : The same for the layers of the network.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.paper import figure3
    >>> detector = RandomWordCLIPDetector(embedder=CLIPImageEmbedder("tiny"))
    >>> len(figure3(detector, n_pairs=20).points)
    40
    """
    plt = import_pyplot()
    texts, labels = _prompts(detector, n_pairs)
    places = _tsne(unit(detector.embedder.encode_text(texts)), random_state)
    figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
    for label, name, color in ((0, "normal", NORMAL), (1, "anomalous", ANOMALOUS)):
        ax.scatter(*places[labels == label].T, s=6, c=color, label=name, linewidths=0)
    _bare(ax, f"Text embeddings of {n_pairs} pairs of prompts")
    ax.legend(title="prompts", markerscale=2)
    figure.points = _points("CLIP", places, ["prompt"] * len(texts), labels)
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
        Which figure.

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

    See Also
    --------
    make_table : The tables.

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
    plt = import_pyplot()
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
    numbers = sorted({point["N_p"] for point in points if point["N_p"]})
    ax.set(
        xscale="log", xlabel="pairs of prompts", ylabel=f"{METRIC_TITLES[metric]} (%)"
    )
    ax.set_xticks(numbers, [f"{n:,}" for n in numbers])
    ax.set_xticks([], minor=True)
    dataset = rows[0]["dataset"]
    ax.set_title(f"{DATASET_TITLES.get(dataset, dataset)}, object unknown")
    ax.grid(alpha=0.3)
    ax.legend()
    figure.points = points
    return figure


def pairs_points(rows, metric):
    """Return what Figure 4 shows.

    Parameters
    ----------
    rows : list of dict
        Results of one data set.
    metric : str
        Which metric.

    Returns
    -------
    list of dict
        ``method``, ``N_p`` (None for "CLIP", which has no pairs), ``mean`` and ``std``
        in percent, and ``n_seeds``.

    Raises
    ------
    ValueError
        If there are no rows of a network, or several data sets.
    """
    if len({row["dataset"] for row in rows}) > 1:
        raise ValueError(
            "Got results of several data sets, but expected those of one: the figure "
            "shows the mean over its categories."
        )
    if all(row["N_p"] is None for row in rows):
        raise ValueError("Got no rows of a network, but expected some: see `pairs`.")
    setting = first_setting(rows)
    crops = "multi" if any(row["crops"] == "multi" for row in rows) else "whole"
    names = list(Setting.__annotations__)
    found = {}
    for row in rows:
        same = all(row[n] in (None, getattr(setting, n)) for n in names if n != "N_p")
        zero_shot = row["setup"] == "unknown" and row["shots"] == 0
        if same and zero_shot and row["metric"] == metric and row["crops"] == crops:
            if row["method"] != "WinCLIP prompts":
                by_seed = found.setdefault((row["method"], row["N_p"]), {})
                by_seed.setdefault(row["seed"], []).append(100 * row["value"])
    points = []
    for (method, n_pairs), by_seed in found.items():
        means = [np.mean(values) for values in by_seed.values()]
        points.append(
            {
                "method": method,
                "N_p": n_pairs,
                "mean": float(np.mean(means)),
                "std": float(np.std(means)),
                "n_seeds": 0 if n_pairs is None else len(means),
            }
        )
    return sorted(points, key=lambda point: (point["method"], point["N_p"] or 0))


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
        None are those of `skclipad.load_sentences`.
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

    See Also
    --------
    figure3 : The prompts alone.

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
    plt = import_pyplot()
    sentences = load_sentences() if sentences is None else sentences
    texts, labels = _prompts(detector, n_pairs)
    kinds = ["prompt"] * len(texts)
    for label, name in enumerate(("normal", "anomaly")):
        texts += list(sentences[name])
        kinds += ["sentence"] * len(sentences[name])
        labels = np.append(labels, [label] * len(sentences[name]))
    embeddings = detector.embedder.encode_text(texts)
    seen = unit(embeddings) if detector.fit_params_["normalize"] else embeddings
    layers = network_layers(seen, detector.coefs_, detector.intercepts_)[:-1]
    shown = {"CLIP": unit(embeddings)}
    shown |= {f"layer {i}": layer for i, layer in enumerate(layers, 1)}
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4 * len(shown), 4.4), layout="constrained"
    )
    figure.points, kinds = [], np.array(kinds)
    for ax, (name, features) in zip(axes, shown.items(), strict=True):
        places = _tsne(features, random_state)
        for kind, marker in (("prompt", "."), ("sentence", "^")):
            for label, state, color in (
                (0, "normal", NORMAL),
                (1, "anomalous", ANOMALOUS),
            ):
                x, y = places[(kinds == kind) & (labels == label)].T
                style = {"c": color, "marker": marker, "linewidths": 0, "alpha": 0.7}
                ax.scatter(x, y, s=22, label=f"{state} {kind}s", **style)
        _bare(ax, name)
        figure.points += _points(name, places, kinds, labels)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4)
    return figure


def save_figure(figure, folder, name):
    """Write a figure and its points.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        One of this module's.
    folder : path
        Where ``name.png`` and ``name.csv`` go.
    name : str
        Name of the files.

    Returns
    -------
    list of Path
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image, table = folder / f"{name}.png", folder / f"{name}.csv"
    # A fixed description: the same figure is the same file.
    figure.savefig(image, dpi=150, metadata={"Software": None})
    import_pyplot().close(figure)
    text = io.StringIO()
    writer = csv.DictWriter(text, figure.points[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(figure.points)
    atomic_write_text(table, text.getvalue())
    return [image, table]


def _prompts(detector, n_pairs):
    """Return prompts of the detector's first seed and their labels."""
    seed = detector.random_state if isinstance(detector.random_state, int) else 0
    names = ("normal_word", "anomaly_word", "l_min", "l_max", "paired_words")
    words = {name: getattr(detector, name) for name in names}
    texts, block = ([], []), 0
    while len(texts[0]) < n_pairs:
        prompts = training_block(block, seed=seed, **words)
        texts[0].extend(prompts[: len(prompts) // 2])
        texts[1].extend(prompts[len(prompts) // 2 :])
        block += 1
    return texts[0][:n_pairs] + texts[1][:n_pairs], np.repeat([0, 1], n_pairs)


def _tsne(features, random_state):
    """Lay out points in the plane, of shape (n, 2)."""
    perplexity = min(30, (len(features) - 1) / 3)
    # Layers may put several texts on one point; a principal axis of no width is no
    # axis to begin with.
    tsne = TSNE(perplexity=perplexity, init="random", random_state=random_state)
    return tsne.fit_transform(np.asarray(features, dtype=np.float32))


def _points(panel, places, kinds, labels):
    return [
        {"panel": panel, "kind": kind, "anomalous": int(label), "x": x, "y": y}
        for kind, label, (x, y) in zip(kinds, labels, places.tolist(), strict=True)
    ]


def _bare(ax, title):
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
