"""``skclipad demo``: a first look, on photographs and a model that are bundled."""

import time
from pathlib import Path

import numpy as np
from sklearn.base import clone

from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder
from skclipad._storage.files import atomic_write
from skclipad._storage.stopped import Work
from skclipad._system import shell_line
from skclipad.cli._agreement import metrics_table
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._files import open_table
from skclipad.cli._maps import MAP_SIDE
from skclipad.datasets import load_sample_photos
from skclipad.report import contact_sheet, describe_run, write_report
from skclipad.scoring._rows import label_of

N_GOOD = 4
N_DAMAGED = 3  # in the unlabelled folder: few, as in most
TITLE = "skclipad demo: 50 photos of cans, judged by the bundled lite model"
CLOSING = """
Nothing was trained on photos of cans, and nobody told good from damaged in the folder.
lite is a small model; its card in the documentation has figures on other things. For
yours take a real CLIP: the README says how.
"""


def run(args):
    """Fit, score photos in three ways, and leave a report."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with Work() as work:
        work.begin()
        return _show(args, out)


def _show(args, out):
    photos = load_sample_photos()
    words = RandomWordCLIPDetector(
        embedder=CLIPImageEmbedder(model_name="lite"), random_state=args.seed
    )
    echo(f"Training on {words.N_p:,} pairs of prompts, on no photo ...")
    words.fit()

    echo(f"... {words.fit_time_:.1f} s. Scoring {len(photos.paths)} photos ...")
    start = time.perf_counter()
    rows, folder = _three_ways(words, photos)
    columns = _columns(folder, photos)

    echo(f"... {time.perf_counter() - start:.1f} s. Making heat maps ...")
    start = time.perf_counter()
    maps = folder.anomaly_map(photos.paths, size=MAP_SIDE)
    echo(f"... {time.perf_counter() - start:.1f} s.")
    _write(out, photos, columns, maps, folder, shell_line(args.command_line))

    n_photos, n_damaged = len(photos.paths), int(photos.target.sum())
    print(f"\n{n_photos} photos of cans, {n_damaged} of them damaged, all new to it:\n")
    print(_table(rows))
    print(CLOSING)
    print(f"{out / 'report.html'}  all photos, with scores and heat maps")
    print(f"{out / 'sheet.png'}    the most and the least anomalous on one page")
    print(f"{out / 'scores.csv'}   all scores")
    return ALL_SCORED


def _three_ways(words, photos):
    """Score the photos by words, with good ones, and as a folder.

    Returns what is known, the labels and the scores of each way, and the detector of
    the last.
    """
    paths, target = photos.paths, photos.target
    good = np.flatnonzero(target == 0)[:N_GOOD]
    others = np.setdiff1d(np.arange(len(paths)), good)
    # The training is that of the words: it is found made.
    few = clone(words).set_params(n_shots=N_GOOD, reference_method="mutual")
    folder = clone(words).set_params(n_shots="all", reference_method="mutual")
    few.fit(paths[good])
    folder.fit(paths[_like_a_folder(target)])

    ways = (
        ("words alone", words, slice(None)),
        (f"{N_GOOD} good photos", few, others),
        ("an unlabelled folder", folder, slice(None)),
    )
    rows = [
        (name, target[some], detector.predict_proba(paths[some])[:, 1])
        for name, detector, some in ways
    ]
    return rows, folder


def _like_a_folder(target):
    """Return the rows of all good photos and of a few damaged ones."""
    damaged = np.flatnonzero(target == 1)
    return np.sort(
        [*np.flatnonzero(target == 0), *damaged[:: len(damaged) // N_DAMAGED]]
    )


def _columns(detector, photos):
    components = detector.score_components(photos.paths)
    score = np.asarray(detector.combine_components(components), dtype=np.float64)
    return {"score": score, **components}


def _table(rows):
    """Return a table of what each way knows and how well it judges, to print."""
    lines = [(f"{name:<22} {len(target):>6}", target, s) for name, target, s in rows]
    return metrics_table(f"{'what is known':<22} {'photos':>6}", lines)


def _write(out, photos, columns, maps, detector, command):
    names = [
        str(Path(path).relative_to(Path(path).parents[1])) for path in photos.paths
    ]
    with atomic_write(out / "report.html") as path:
        write_report(
            path,
            photos.paths,
            columns["score"],
            names=names,
            components={name: columns[name] for name in columns if name != "score"},
            labels=photos.target,
            maps=maps,
            threshold=detector.threshold,
            settings=describe_run(detector, command=command),
            title=TITLE,
        )

    sheet = contact_sheet(
        photos.paths,
        columns["score"],
        labels=photos.target,
        captions=names,
        title=TITLE,
    )
    with atomic_write(out / "sheet.png") as path:
        sheet.save(path, format="PNG")

    table = {
        "path": np.array(names),
        "score": columns["score"],
        "label": np.array([label_of(s, detector.threshold) for s in columns["score"]]),
        **columns,
        "target": photos.target,
    }
    rows = zip(*(column.tolist() for column in table.values()), strict=True)
    types = {name: type(column.tolist()[0]) for name, column in table.items()}
    with open_table(out / "scores.csv", types) as write:
        write([dict(zip(table, row, strict=True)) for row in rows])
