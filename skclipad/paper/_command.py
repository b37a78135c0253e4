"""``skclipad benchmark``: the paper's tables and figures of a data set on disk."""

import sys
from functools import partial
from pathlib import Path

from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder
from skclipad._storage.stopped import Work
from skclipad._system import shell_line
from skclipad.datasets import load_folder, load_mvtec_ad, load_sewerml, load_visa
from skclipad.paper._captions import read_captions
from skclipad.paper._figures import figure3, figure4, figure5, save_figure
from skclipad.paper._index import note_of, write_index
from skclipad.paper._measure import Benchmark
from skclipad.paper._plan import FIGURES, TABLES, needs_of
from skclipad.paper._table_files import write_tables
from skclipad.plotting._axes import pyplot

DATASETS = {
    "mvtec": load_mvtec_ad,
    "visa": load_visa,
    "sewerml": load_sewerml,
    "folder": load_folder,
}
TABLES_OF = {
    "mvtec": (1, 2, 3, 5, 6, 7),
    "visa": (1, 2, 3, 8, 9, 10),
    "sewerml": (4,),
    "folder": (1, 2, 3, 5, 6, 7),
}
SUMMARY = "Measure the paper's tables and figures on a data set"
DESCRIPTION = f"""\
{SUMMARY}.

Results are kept in OUT/results.csv as they come: a run that was stopped, even killed,
goes on when the same command is given again."""


def add_arguments(parser):
    """Add the command's options to a parser."""
    parser.description = DESCRIPTION
    add = parser.add_argument
    number = {"type": int, "metavar": "N"}

    # What is measured, and where
    add("--dataset", required=True, choices=DATASETS, help="what lies at --root")
    add("--root", required=True, metavar="DIR", help="folder of the data set")
    add("--out", required=True, metavar="DIR", help="folder to write to")
    add("--categories", nargs="+", metavar="NAME", help="some categories (all)")
    add("--seeds", **number, default=10, help="how many seeds (10)")

    # Which tables and figures
    about = "numbers of the paper's tables (all that apply)"
    add("--tables", nargs="*", **number, choices=TABLES, help=about)
    about = "numbers of the paper's figures (3, 4 and 5; for sewerml 3 and 5)"
    add("--figures", nargs="*", **number, choices=FIGURES, help=about)

    # The prompts
    add("--shots", nargs="+", type=int, metavar="K", help="references (0 1 2 4)")
    add("--n-pairs", **number, default=10000, help="prompt pairs (10000)")
    about = "numbers of pairs in Figure 4 (1000 5000 10000 20000 50000)"
    add("--sweep", nargs="+", **number, help=about)
    add("--normal", default="a", metavar="WORDS", help="words for normal (a)")
    about = "words for anomalous (a damaged)"
    add("--anomaly", default="a damaged", metavar="WORDS", help=about)
    about = "prompt pairs shown in Figures 3 and 5 (300)"
    add("--shown", **number, default=300, help=about)
    add("--captions", metavar="JSON", help="COCO captions for Figure 5 (own list)")

    # CLIP
    about = "a CLIP of open_clip, local-dir:FOLDER, hf-hub:NAME, or a bundled one: "
    about += "lite or tiny (ViT-B-16-plus-240)"
    add("--model", default="ViT-B-16-plus-240", help=about)
    about = "which weights: a tag of open_clip or a file (laion400m_e32)"
    add("--pretrained", default="laion400m_e32", help=about)
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (auto)")
    add("--batch-size", **number, default=32, help="images at once (32)")


def run(args):
    """Measure, and write tables, figures and an index."""
    # What an error would stop later is tried before the work is done, not after.
    pyplot("benchmark")
    sentences = None if args.captions is None else read_captions(args.captions)
    tables, figures = _chosen(args)

    data = _load(args, "Val" if args.dataset == "sewerml" else "test")
    few_shot = args.shots is None or max(args.shots) > 0
    references = _load_references(args) if few_shot else None

    needs = needs_of(tables, figures, references is not None)
    if args.shots is not None and max(needs["shots"]):
        needs["shots"] = args.shots
    if needs["pairs"] and args.sweep:
        needs["pairs"] = args.sweep

    benchmark = Benchmark(
        data,
        references=references if max(needs["shots"]) else None,
        detector=_detector(args),
        seeds=args.seeds,
        output=args.out,
        verbose=True,
        **needs,
    )
    _echo(f"{_counts(benchmark)} ...")

    kept = f"rows that were measured are in {Path(args.out) / 'results.csv'}; "
    kept += "the same command goes on"
    with Work() as work:
        rows = benchmark.run(on_begin=partial(work.begin, kept))
        written = _write(args, benchmark, rows, tables, figures, sentences)
        command = shell_line(["skclipad", *sys.argv[1:]]) if sys.argv[1:] else None
        path = write_index(
            args.out, benchmark, rows=rows, written=written, command=command
        )
    print(path)
    return 0


def _chosen(args):
    tables, figures = args.tables, args.figures
    if tables is None:
        tables = TABLES_OF[args.dataset]
    if figures is None:
        figures = (3, 5) if args.dataset == "sewerml" else FIGURES
    return sorted(set(tables)), sorted(set(figures))


def _load(args, split):
    load = DATASETS[args.dataset]
    if args.dataset == "sewerml":
        return load(args.root, split=split)
    return load(args.root, category=args.categories, split=split)


def _load_references(args):
    """Return normal images to draw references from, None where there are none."""
    if args.dataset == "sewerml":
        return None
    try:
        return _load(args, "train")
    except FileNotFoundError as error:
        _echo(f"No few-shot scores, for want of normal training images: {error}")
        return None


def _detector(args):
    embedder = CLIPImageEmbedder(
        args.model, args.pretrained, device=args.device, batch_size=args.batch_size
    )
    return RandomWordCLIPDetector(
        N_p=args.n_pairs,
        normal_word=args.normal,
        anomaly_word=args.anomaly,
        embedder=embedder,
        random_state=0,
    )


def _counts(benchmark):
    n = sum(len(category.images) for category in benchmark.categories)
    n_networks = len({case.setting for case in benchmark.cases}) * len(benchmark.seeds)
    return (
        f"{n:,} images of {len(benchmark.categories)} categories, {n_networks} "
        f"trainings of the network"
    )


def _write(args, benchmark, rows, tables, figures, sentences):
    out = Path(args.out)
    tables = TABLES if args.tables is None else tables
    note = note_of(args.model)
    written = write_tables(rows, out, tables=tables, note=note)

    shown = args.shown
    draw = {
        3: lambda: figure3(benchmark.first_detector(), n_pairs=shown),
        4: lambda: figure4(rows),
        5: lambda: figure5(benchmark.first_detector(), sentences, n_pairs=shown),
    }
    for number in figures:
        written += save_figure(draw[number](), out, f"figure{number}")
    return written


def _echo(message):
    print(message, file=sys.stderr, flush=True)
