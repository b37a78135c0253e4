"""``skclipad demo``: a first look, on the bundled model and painted images."""

import shlex
import time
from pathlib import Path

import numpy as np

from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder
from skclipad._storage.files import atomic_write
from skclipad._storage.stopped import Work
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._files import open_table
from skclipad.cli._results import MAP_SIDE, choose_for_maps, metrics_table
from skclipad.datasets import make_defect_images
from skclipad.report import contact_sheet, describe_run, write_report
from skclipad.scoring._rows import label_of

SEED = 1_000_000_000  # far from every seed that the bundled model was trained on
N_MAPS = 60  # the first page of the report
TITLE = "skclipad demo: the bundled tiny model on painted pictures"
METHODS = {
    "CLIP (s_pr)": "s_pr",
    "ours: network on random words (s_fnn)": "s_fnn",
    "CLIP + ours (score)": "score",
}
# What the card says was measured on 5,000 pictures: true however few are painted here.
CLOSING = """
The tiny model that comes with the package tells damaged from whole painted pictures
far better than chance (an AUROC of 0.5), and CLIP alone does as well on it as with
ours: docs/tiny.rst has figures of more pictures. What ours adds on real pictures with a
real CLIP, the paper's tables say. For yours take a real CLIP; README.md says how.
"""


def run(args):
    """Fit, paint images, score them, and leave a report."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with Work() as work:
        work.begin()
        return _show(args, out)


def _show(args, out):
    embedder = CLIPImageEmbedder(model_name="tiny")
    detector = RandomWordCLIPDetector(embedder=embedder, random_state=args.seed)
    echo(
        f"Training on {detector.N_p:,} pairs of prompts, on no picture: some seconds "
        "to two minutes ..."
    )
    detector.fit()

    echo(f"... {detector.fit_time_:.1f} s. Painting {args.n_images} pictures ...")
    start = time.perf_counter()
    bunch = make_defect_images(args.n_images, random_state=SEED + args.seed)
    painted = time.perf_counter()

    echo(f"... {painted - start:.1f} s. Scoring them ...")
    components = detector.score_components(bunch.images)
    score = np.asarray(detector.combine_components(components), dtype=np.float64)
    columns = {"score": score, **components}
    scored = time.perf_counter()

    echo(f"... {scored - painted:.1f} s. Making heat maps ...")
    maps = [None] * len(bunch.images)
    chosen = choose_for_maps(columns["score"], N_MAPS)
    made = detector.anomaly_map(bunch.images[chosen], size=MAP_SIDE)
    for row, one in zip(chosen, made, strict=True):
        maps[row] = one
    echo(f"... {time.perf_counter() - scored:.1f} s.")
    _write(out, bunch, columns, maps, detector, shlex.join(args.command_line))

    print(
        f"\n{len(bunch.images)} painted pictures of {len(set(bunch.category))} "
        f"categories, {np.sum(bunch.target)} of them with a defect, all new to the "
        f"model:\n"
    )
    scores = {method: columns[name] for method, name in METHODS.items()}
    if len(set(bunch.target)) == 2:
        print(metrics_table(bunch.target, scores))
    else:
        print("No figures: they need pictures of both kinds; paint more (--n-images).")
    print(CLOSING)
    print(f"{out / 'report.html'}  all pictures, with scores and heat maps")
    print(f"{out / 'sheet.png'}    the most and the least anomalous on one page")
    print(f"{out / 'scores.csv'}   all scores")
    return ALL_SCORED


def _write(out, bunch, columns, maps, detector, command):
    settings = describe_run(detector, command=command)
    settings.pop("Notes")  # the title says it
    captions = [
        category if defect == "none" else f"{category}: {defect}"
        for category, defect in zip(bunch.category, bunch.defect, strict=True)
    ]

    with atomic_write(out / "report.html") as path:
        write_report(
            path,
            bunch.images,
            columns["score"],
            names=captions,
            components={name: columns[name] for name in columns if name != "score"},
            labels=bunch.target,
            maps=maps,
            threshold=detector.threshold,
            settings=settings,
            title=TITLE,
        )

    sheet = contact_sheet(
        bunch.images,
        columns["score"],
        labels=bunch.target,
        captions=captions,
        tile_size=136,  # two pixels of the sheet a pixel of the picture, and the frame
        title=TITLE,
    )
    with atomic_write(out / "sheet.png") as path:
        sheet.save(path, format="PNG")

    label = [label_of(score, detector.threshold) for score in columns["score"]]
    table = {
        "picture": np.arange(len(bunch.images)),
        "score": columns["score"],
        "label": np.array(label),
        **columns,
        **{name: np.asarray(bunch[name]) for name in ("category", "defect", "target")},
    }
    rows = zip(*(column.tolist() for column in table.values()), strict=True)
    types = {name: type(column.tolist()[0]) for name, column in table.items()}

    with open_table(out / "scores.csv", types) as write:
        write([dict(zip(table, row, strict=True)) for row in rows])
