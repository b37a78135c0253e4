"""What the commands take. Nothing here needs torch, so help and mistakes are quick."""

import argparse
import re

from skclipad.cli._console import all_or_number, one_of, share, whole_number
from skclipad.cli._files import ENDINGS
from skclipad.cli._pictures import PICTURES_HELP

DETECTOR_HELP = """\
what `skclipad fit` wrote. Only open a file that you trust: loading it runs what is in
it"""

# What makes a detector, and where it runs; each is a parameter of an estimator.
DETECTOR_OPTIONS = {
    "--normal": ("normal_word", str, "word for normal things (a)"),
    "--anomaly": ("anomaly_word", str, "words for anomalous things (a damaged)"),
    "--object": ("object_name", str, "what the pictures show, if known (object)"),
    "--prompts": (
        "prompt_set",
        str,
        "what pictures are compared with: single, the paper's two, or winclip, its "
        "ensemble (single)",
    ),
    "--l-min": ("l_min", int, "shortest random word (5)"),
    "--l-max": ("l_max", int, "longest random word (10)"),
    "--n-pairs": ("N_p", int, "pairs of prompts to train on (10000)"),
    "--input-noise": (
        "input_noise",
        float,
        "noise added to the training texts; 1 is recommended (0, the paper's)",
    ),
    "--n-networks": (
        "n_networks",
        int,
        "networks to average the scores of; 5 are recommended (1, the paper's)",
    ),
    "--seed": ("random_state", int, "seed of words and training (0)"),
    "--model": (
        "embedder__model_name",
        str,
        "a CLIP of open_clip, local-dir:FOLDER, hf-hub:NAME, or a bundled one: lite, "
        "small, for photos, or tiny, for tests (ViT-B-16-plus-240)",
    ),
    "--pretrained": (
        "embedder__pretrained",
        str,
        "which weights: a tag of open_clip or a file (laion400m_e32)",
    ),
    "--crops": (
        "embedder__crops",
        str,
        "what of a picture is looked at: whole; multi, it and overlapping parts of it, "
        "for small defects; tiles, squares along a long picture (whole)",
    ),
}
RUNNING_OPTIONS = {
    "--device": ("embedder__device", str, "auto, cpu, cuda, cuda:1 or mps (auto)"),
    "--batch-size": ("embedder__batch_size", int, "pictures at once (32)"),
    "--bit-depth": (
        "embedder__bit_depth",
        int,
        "bits that hold values in 16-bit pictures, say 12, as of many cameras (16)",
    ),
    "--cache": (
        "embedder__memory",
        str,
        "folder that keeps the embeddings of pictures and prompts for the next run "
        "(none)",
    ),
}

# How images are compared with references; each is a parameter of the detector.
REFERENCE_OPTIONS = {
    "--reference-method": (
        "reference_method",
        one_of("winclip", "mutual"),
        "how: winclip, for a few that are known to be normal, or mutual, for many, of "
        "which some may be damaged (winclip; mutual with --unlabelled)",
    ),
    "--reference-share": (
        "reference_share",
        share,
        "with mutual, share of the references that a part has to be like (0.3)",
    ),
    "--max-references": (
        "max_references",
        whole_number(1),
        "most pictures to keep of all; of more, so many are drawn (200)",
    ),
    "--combine": (
        "combine",
        one_of("auto", "sum", "standardized"),
        "how scores become one: by their sum, or by how unusual each is among the "
        "references (auto)",
    ),
}


def _add_parameters(add, options):
    for option, (name, kind, text) in options.items():
        # Left out of the namespace unless given: the estimators know their defaults.
        metavar = option.lstrip("-").replace("-", "_").upper()
        suppress = argparse.SUPPRESS
        add(option, dest=name, type=kind, default=suppress, metavar=metavar, help=text)


def given(args, options):
    """Return the parameters that arguments set for some options: value by name."""
    names = {name for name, *_ in options.values()}
    return {name: value for name, value in vars(args).items() if name in names}


def in_options(message):
    """Write the parameters in an error's message as options.

    "Got N_p=0" becomes "Got --n-pairs 0".
    """
    options = DETECTOR_OPTIONS | RUNNING_OPTIONS | REFERENCE_OPTIONS
    for option, (name, *_) in options.items():
        name = rf"(?:embedder__)?{name.removeprefix('embedder__')}"
        message = re.sub(rf"set_params\({name}=([^)]*)\)", rf"{option} \1", message)
        message = re.sub(rf"\b{name}=(?=[\w'\"])", f"{option} ", message)
        message = re.sub(rf"\b{name}=|The '{name}' parameter of \w+", option, message)
    return message


# fit

FIT_EPILOG = """\
examples:
  skclipad fit -o detector.joblib
  skclipad fit -o detector.joblib --input-noise 1 --n-networks 5
  skclipad fit -o bottles.joblib --object bottle --anomaly "a broken"
  skclipad fit -o bottles.joblib --references good-bottles/ --n-shots 4
  skclipad fit -o bottles.joblib --unlabelled all-bottles/    damaged ones among them
  skclipad fit -o lite.joblib --model lite       the bundled model, without network"""
REFERENCES_HELP = "pictures known to be normal to compare others with, a folder of them"
FIT_REFERENCES_HELP = f"{REFERENCES_HELP} (--normal-dir is its former name)"
FIT_UNLABELLED_HELP = """\
folder to compare others with, in which most pictures are normal, nobody knows which"""
SHOTS_HELP = """\
how many pictures of --references to take, or all, up to --max-references (all)"""


def _add_references(parser, references, unlabelled, **kind):
    """Add the options of references, of which one command takes a folder, one none."""
    group = parser.add_argument_group("references, to compare pictures with")
    either = group.add_mutually_exclusive_group().add_argument
    names = ["--references"] + (["--normal-dir"] if not kind else [])
    either(*names, metavar="DIR", dest="references", help=references)
    either("--unlabelled", help=unlabelled, **(kind or {"metavar": "DIR"}))
    add = group.add_argument
    add("--n-shots", type=all_or_number, metavar="K", help=SHOTS_HELP)
    _add_parameters(add, REFERENCE_OPTIONS)
    return add


def _add_fit(parser):
    parser.epilog = FIT_EPILOG
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help="say detector.joblib")
    _add_parameters(add, DETECTOR_OPTIONS | RUNNING_OPTIONS)
    _add_references(parser, FIT_REFERENCES_HELP, FIT_UNLABELLED_HELP)
    parser.set_defaults(detector=None, by_folder=False)


# score

SCORE_EPILOG = """\
examples:
  skclipad score photos/ -d detector.joblib -o scores.csv --report report.html
  skclipad score 'day-*/**/*.jpg' -d detector.joblib -o scores.parquet
  find . -name '*.png' -mtime -1 | skclipad score - -d detector.joblib > scores.csv
  skclipad score new/ -d detector.joblib --fpr 0.01 --normal-dir good/ -o scores.csv
  skclipad score photos/ --unlabelled -o scores.csv --report report.html
  skclipad score new/ --references good/ --n-shots 8 -o scores.csv

Columns: path, score (0 normal to 1 anomalous, the mean of the scores in use), label
(1 above the threshold), s_pr (prompts), s_fnn (network), s_img (references, if there
are some), error (why a picture has no score).

exit codes: 0 everything scored; 1 not started; 2 nothing scored; 3 some pictures
            failed; 4 stopped by an error, 130 interrupted, and what was scored is in
            FILE.journal: the same command with --resume goes on from there"""
RESUME_HELP = """\
go on where a run with the same --output died or was interrupted: pictures that it
scored, and that have not changed since, are not scored again"""
DASK_HELP = """\
score on a cluster of Dask: the address of its scheduler, such as tcp://10.0.0.1:8786,
or local:4 for 4 processes on this machine (maps are made by this process)"""
THRESHOLD_HELP = "score above which a picture is labelled 1 (the detector's, 0.5)"
FPR_HELP = """\
choose the threshold so that this share of the pictures in --normal-dir is above it, say
0.01"""
NORMAL_HELP = "with --fpr, a folder of pictures known to be normal"
REPORT_HELP = "a page to look through in a browser: histogram, pictures, heat maps"
MAPS_HELP = """\
folder for anomaly maps of all pictures: grey PNG of 16 bits, 65535 for a score of 1
(takes several times as long as scores)"""
HEAT_HELP = """\
with --report, how many of the most anomalous pictures get a heat map (100); with --maps
all do"""
FOLDERS_HELP = """\
take the name of each picture's folder as its true label, and say how well the scores
agree with it"""
GOOD_HELP = "with --labels-from-folders, the folder of normal pictures (good)"

UNLABELLED_HELP = """\
compare the pictures with each other: most should be normal, nobody has to know which"""
BY_FOLDER_HELP = """\
each sub-folder is another kind of thing, with references of its own; with --references,
those in the sub-folder of the same name"""


def _add_score(parser):
    parser.epilog = SCORE_EPILOG
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURES", help=PICTURES_HELP)
    add("-d", "--detector", metavar="FILE", help=f"{DETECTOR_HELP} (default: fit one)")
    output = f"table to write, {', '.join(ENDINGS)} (CSV on standard output)"
    add("-o", "--output", metavar="FILE", help=output)
    add("--resume", action="store_true", help=RESUME_HELP)
    add("--report", metavar="FILE", help=REPORT_HELP)
    add("--heat-maps", type=whole_number(0), metavar="N", help=HEAT_HELP)
    add("--maps", metavar="DIR", help=MAPS_HELP)

    either = parser.add_mutually_exclusive_group().add_argument
    either("--threshold", type=share, metavar="T", help=THRESHOLD_HELP)
    either("--fpr", type=share, metavar="SHARE", help=FPR_HELP)

    add("--normal-dir", metavar="DIR", help=NORMAL_HELP)
    add("--labels-from-folders", action="store_true", help=FOLDERS_HELP)
    add("--good", default="good", metavar="NAME", help=GOOD_HELP)

    flag = {"action": "store_true"}
    add = _add_references(parser, REFERENCES_HELP, UNLABELLED_HELP, **flag)
    add("--by-folder", action="store_true", help=BY_FOLDER_HELP)

    group = parser.add_argument_group("where it runs")
    _add_parameters(group.add_argument, RUNNING_OPTIONS)
    group.add_argument("--dask", metavar="ADDRESS", help=DASK_HELP)

    group = parser.add_argument_group("settings, without --detector")
    _add_parameters(group.add_argument, DETECTOR_OPTIONS)


# export

EXPORT_EPILOG = """\
examples:
  skclipad export -d detector.joblib -o detector.onnx
  skclipad export -d detector.joblib -o small.onnx --int8 --pictures photos/

Beside the graph stands a file such as detector.preprocess.json: how a picture becomes
its input. The documentation's page on ONNX graphs has a script that follows it."""
INT8_HELP = "keep the weights in 8 bits: a much smaller file, and other scores"
NOISE_HELP = """\
pictures to measure the graph's agreement with the detector on (default: noise, which
says little about --int8)"""


def _add_export(parser):
    parser.epilog = EXPORT_EPILOG
    add = parser.add_argument
    add("-d", "--detector", required=True, metavar="FILE", help=DETECTOR_HELP)
    add("-o", "--output", required=True, metavar="FILE", help="say detector.onnx")
    add("--int8", action="store_true", help=INT8_HELP)
    add("--pictures", nargs="+", metavar="PICTURES", help=NOISE_HELP)


# demo and info


DEMO_EPILOG = """\
DIR/scores.csv has the columns of `skclipad score`, of the folder as its own reference,
and target (1 for a damaged can)."""


def _add_demo(parser):
    parser.epilog = DEMO_EPILOG
    add = parser.add_argument
    add("--out", default="demo", metavar="DIR", help="folder to write to (demo)")
    add("--seed", type=int, default=0, help="seed of words and training (0)")


def _add_info(parser):
    parser.epilog = "Put what it prints into a report of a bug."
    text = f"say also how this detector was made: {DETECTOR_HELP}"
    parser.add_argument("-d", "--detector", metavar="FILE", help=text)


ADDERS = {
    "demo": _add_demo,
    "fit": _add_fit,
    "score": _add_score,
    "export": _add_export,
    "info": _add_info,
}


def add_arguments(command, parser):
    """Add the arguments of a command; those of "benchmark" are in its own module."""
    ADDERS[command](parser)
