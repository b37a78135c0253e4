"""What the commands take. Nothing here needs torch, so help and mistakes are quick."""

import argparse
import re

from skclipad.cli._console import (
    all_or_number,
    one_of,
    seconds,
    share,
    whole_number,
)
from skclipad.cli._files import ENDINGS
from skclipad.cli._pictures import PICTURES_HELP

DETECTOR_HELP = """\
what `skclipad fit` wrote. Only open a file that you trust: loading it runs what is in
it"""

MODEL_OPTIONS = {
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
}
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
    **MODEL_OPTIONS,
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
    "--region": (
        "embedder__region",
        str,
        "what is looked at of each picture: x,y,width,height in pixels, or a mask, a "
        "picture that is white where to look (all of it)",
    ),
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
    "--reference-top": (
        "reference_top",
        share,
        "with mutual, share of a picture's parts, the worst ones, that make its score "
        "(0.03)",
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
  skclipad score photos/ -d detector.joblib -o scores.csv --maps maps/ --plan
  skclipad score 'day-*/**/*.jpg' -d detector.joblib -o scores.parquet
  find . -name '*.png' -mtime -1 | skclipad score - -d detector.joblib > scores.csv
  skclipad score photos/ -d detector.joblib -o scores.csv --update   what is new
  skclipad score clip.mp4 --every 25 -d detector.joblib -o scores.csv
  skclipad score photos/ --region 120,80,640,480 -d detector.joblib -o scores.csv
  skclipad score new/ -d detector.joblib --fpr 0.01 --normal-dir good/ -o scores.csv
  skclipad score photos/ --unlabelled -o scores.csv --report report.html
  skclipad score new/ --references good/ --n-shots 8 -o scores.csv
  skclipad score photos/ -d detector.joblib -o scores.csv --boxes boxes.json

Columns: path, score (0 normal to 1 anomalous, the mean of the scores in use), label
(1 above the threshold), s_pr (prompts), s_fnn (network), s_img (references, if there
are some), error (why a picture has no score); if asked p_value and box.

exit codes: 0 everything scored; 1 not started; 2 nothing scored; 3 some pictures
            failed; 4 stopped by an error, 130 interrupted, and what was scored is in
            FILE.journal: the same command with --resume goes on from there"""
RESUME_HELP = """\
go on where a run with the same --output died or was interrupted: pictures that it
scored, and that have not changed since, are not scored again"""
UPDATE_HELP = """\
score what is new or has changed since the table was written, and write it as a whole;
what is known of its rows lies beside it, in OUTPUT.rows. Goes on where it was
interrupted"""
DROP_GONE_HELP = """\
with --update, drop the rows of pictures that are there no more (marked in the column
gone)"""
EVERY_HELP = """\
take every N-th frame of videos; without it, videos in folders are passed over"""
PLAN_HELP = """\
say how many pictures there are, and how much time, memory and disk they will take, as
measured on one batch of them; score and write nothing"""
DASK_HELP = """\
score on a cluster of Dask: the address of its scheduler, such as tcp://10.0.0.1:8786,
or local:4 for 4 processes on this machine (maps are made by this process)"""
THRESHOLD_HELP = "score above which a picture is labelled 1 (the detector's, 0.5)"
FPR_HELP = """\
choose the threshold so that a picture such as those in --normal-dir is above it with at
most this chance, say 0.01, which takes 99 of them; without --normal-dir, by those of
--references that --n-shots leaves over"""
NORMAL_HELP = """\
a folder of pictures known to be good: the table gets the column p_value, the chance of
so high a score of a good picture"""
REPORT_HELP = "a page to look through in a browser: histogram, pictures, heat maps"
MAPS_HELP = """\
folder for anomaly maps of all pictures: grey PNG of 16 bits, 65535 for a score of 1
(takes several times as long as scores)"""
TILES_HELP = """\
with --maps, make the maps of larger pictures of tiles of so many pixels a side: finer,
and in bounded memory"""
HEAT_HELP = """\
with --report, how many of the most anomalous pictures get a heat map (100), beside a
dozen usual ones; with --maps all do"""
BOXES_HELP = """\
boxes around what maps show, in pixels of the pictures, as COCO (.json); the table gets
the column box with the largest, the report shows them"""
BOX_LEVEL_HELP = "with --boxes, the value of maps above which is boxed"
BOX_AREA_HELP = """\
with --boxes, box this share of the area of all pictures (0.02; with --normal-dir, what
no picture there has, or only a share of --fpr of them)"""
COMPARE_HELP = """\
a table of scores from when all was well, by this detector: are those of today spread
alike? (a line, and both histograms in the report)"""
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
    add("--every", type=whole_number(1), metavar="N", help=EVERY_HELP)
    add("-d", "--detector", metavar="FILE", help=f"{DETECTOR_HELP} (default: fit one)")
    output = f"table to write, {', '.join(ENDINGS)} (CSV on standard output)"
    add("-o", "--output", metavar="FILE", help=output)
    add("--resume", action="store_true", help=RESUME_HELP)
    add("--update", action="store_true", help=UPDATE_HELP)
    add("--drop-gone", action="store_true", help=DROP_GONE_HELP)
    add("--plan", action="store_true", help=PLAN_HELP)
    add("--report", metavar="FILE", help=REPORT_HELP)
    add("--heat-maps", type=whole_number(0), metavar="N", help=HEAT_HELP)
    add("--maps", metavar="DIR", help=MAPS_HELP)
    add("--boxes", metavar="FILE", help=BOXES_HELP)

    either = parser.add_mutually_exclusive_group().add_argument
    either("--box-area", type=share, metavar="SHARE", help=BOX_AREA_HELP)
    either("--box-level", type=share, metavar="LEVEL", help=BOX_LEVEL_HELP)
    add("--map-tiles", type=whole_number(64), metavar="PIXELS", help=TILES_HELP)

    either = parser.add_mutually_exclusive_group().add_argument
    either("--threshold", type=share, metavar="T", help=THRESHOLD_HELP)
    either("--fpr", type=share, metavar="SHARE", help=FPR_HELP)

    add("--normal-dir", metavar="DIR", help=NORMAL_HELP)
    add("--reference", metavar="TABLE", help=COMPARE_HELP)
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


# threshold

THRESHOLD_EPILOG = """\
examples:
  skclipad threshold scores.csv --labels labels.csv --recall 0.99
  skclipad threshold scores.csv --labels labels.csv --cost 10 -d detector.joblib
  skclipad threshold scores.csv                 a suggestion, without labels

The threshold is printed with all its digits, for --threshold of `skclipad score`; what
it finds, and how sure that is, is said on standard error. Labels are a table with the
columns path and label (1 or damaged, 0 or good), as the report's page saves it."""
SCORES_HELP = f"a table that `skclipad score` wrote, {', '.join(ENDINGS)}"
LABELS_HELP = "a table of labels, path and label (without: a suggestion)"
RECALL_HELP = "the highest threshold that finds this share of the damaged pictures"
PRECISION_HELP = "the one that finds most, with this share of the alarms right"
COST_HELP = "the cheapest, if a missed damaged picture costs C false alarms"
KEEP_HELP = f"write the threshold into this detector; {DETECTOR_HELP}"
KEPT_HELP = "where to write the detector (the file of --detector)"


def _add_threshold(parser):
    parser.epilog = THRESHOLD_EPILOG
    add = parser.add_argument
    add("scores", metavar="SCORES", help=SCORES_HELP)
    add("--labels", metavar="FILE", help=LABELS_HELP)

    either = parser.add_mutually_exclusive_group().add_argument
    either("--recall", type=share, metavar="R", help=RECALL_HELP)
    either("--precision", type=share, metavar="P", help=PRECISION_HELP)
    either("--cost", type=float, metavar="C", help=COST_HELP)

    add("-d", "--detector", metavar="FILE", help=KEEP_HELP)
    add("-o", "--output", metavar="FILE", help=KEPT_HELP)


# drift

DRIFT_EPILOG = """\
examples:
  skclipad drift today.csv --reference monday.csv
  skclipad score today/ -d detector.joblib -o today.csv --reference monday.csv \\
      --report today.html       the same line, and both histograms in the report

Both tables must come from the same detector: another one has other scores."""
REFERENCE_HELP = "a table of scores from when all was well"


def _add_drift(parser):
    parser.epilog = DRIFT_EPILOG
    parser.add_argument("scores", metavar="SCORES", help=SCORES_HELP)
    parser.add_argument(
        "--reference", required=True, metavar="TABLE", help=REFERENCE_HELP
    )


# watch

WATCH_EPILOG = """\
examples:
  skclipad watch photos/ -d detector.joblib -o scores.csv
  skclipad watch photos/ -d detector.joblib -o scores.csv --above 0.7 --move bad/
  skclipad watch photos/ -d d.joblib -o scores.csv --exec 'mail-me {path} {score}'
  skclipad watch /mnt/line3 -d detector.joblib -o scores.csv --poll 5
  skclipad watch rtsp://camera/1 --frames frames/ -d detector.joblib -o scores.csv

Each row is kept, in OUTPUT.rows, before anything is done about its picture, and the
table is written from there every few seconds, as a whole. After Ctrl-C, a crash or
kill -9 the same command goes on; what came meanwhile is scored, too.

exit codes: 0 ended by Ctrl-C or SIGTERM; 1 not started; 4 stopped by an error"""
SOURCE_HELP = """\
folder into which pictures come, itself or folders in it; or the address of a stream,
such as rtsp://camera/1, that PyAV opens"""
FRAMES_HELP = """\
with the address of a stream, the folder to keep its frames in, as JPEG files by day and
time, which are scored there"""
STREAM_EVERY_HELP = "with a stream, keep every N-th frame (25)"
ABOVE_HELP = """\
with --exec or --move, the score above which it is done (the threshold)"""
EXEC_HELP = """\
command to run for each picture above: {path} and {score} stand for its own, the path
comes last if neither is there. No shell runs it; after a minute it is ended"""
MOVE_HELP = """\
folder to move each picture above to; nothing there is written over, and the row names
the new place"""
POLL_HELP = """\
look through the folder every so many seconds, instead of being told by the system what
changes: for network drives, of which it is not told"""
SETTLE_HELP = "seconds for which a picture must not change before it is read (1)"
PATIENCE_HELP = """\
seconds after which a picture that cannot be read gets a row with the reason, unless it
still changes (30)"""


def _add_watch(parser):
    parser.epilog = WATCH_EPILOG
    add = parser.add_argument
    add("source", metavar="FOLDER|URL", help=SOURCE_HELP)
    add("-d", "--detector", metavar="FILE", help=f"{DETECTOR_HELP} (default: fit one)")
    output = f"table to write, {', '.join(ENDINGS)}"
    add("-o", "--output", metavar="FILE", required=True, help=output)
    add("--threshold", type=share, metavar="T", help=THRESHOLD_HELP)

    group = parser.add_argument_group("what is done about a picture")
    group.add_argument("--above", type=share, metavar="S", help=ABOVE_HELP)
    either = group.add_mutually_exclusive_group().add_argument
    either("--exec", dest="execute", metavar="CMD", help=EXEC_HELP)
    either("--move", metavar="DIR", help=MOVE_HELP)

    add = parser.add_argument_group("when a picture is read").add_argument
    add("--poll", type=seconds, metavar="S", help=POLL_HELP)
    add("--frames", metavar="DIR", help=FRAMES_HELP)
    add("--every", type=whole_number(1), metavar="N", help=STREAM_EVERY_HELP)
    add("--settle", type=seconds, default=1.0, metavar="S", help=SETTLE_HELP)
    add("--patience", type=seconds, default=30.0, metavar="S", help=PATIENCE_HELP)

    group = parser.add_argument_group("where it runs")
    _add_parameters(group.add_argument, RUNNING_OPTIONS)
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
NO_MAPS_HELP = (
    "leave the anomaly maps out of the graph (default: in, if it can have them)"
)
DYNAMO_HELP = """\
use torch's newer exporter, which takes ten times as long or more (needs onnxscript)"""
NOISE_HELP = """\
pictures to measure the graph's agreement with the detector on (default: noise, which
says little about --int8)"""


def _add_export(parser):
    parser.epilog = EXPORT_EPILOG
    add = parser.add_argument
    add("-d", "--detector", required=True, metavar="FILE", help=DETECTOR_HELP)
    add("-o", "--output", required=True, metavar="FILE", help="say detector.onnx")
    add("--int8", action="store_true", help=INT8_HELP)
    add("--no-maps", action="store_true", help=NO_MAPS_HELP)
    add("--dynamo", action="store_true", help=DYNAMO_HELP)
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


MODELS_HELP = """\
instead, print the CLIPs that this package was tried with: licence, size, cost, and what
works with each"""


def _add_info(parser):
    parser.epilog = "Put what it prints into a report of a bug."
    parser.description = (
        "Show versions, device, and of a model its size and whether its towers run on "
        "the fast path (of the bundled ones, unless --model names another)."
    )
    add = parser.add_argument
    add("--models", action="store_true", help=MODELS_HELP)
    _add_parameters(add, MODEL_OPTIONS)
    text = f"say also how this detector was made: {DETECTOR_HELP}"
    add("-d", "--detector", metavar="FILE", help=text)


ADDERS = {
    "demo": _add_demo,
    "fit": _add_fit,
    "score": _add_score,
    "threshold": _add_threshold,
    "drift": _add_drift,
    "watch": _add_watch,
    "export": _add_export,
    "info": _add_info,
}


def add_arguments(command, parser):
    """Add the arguments of a command; those of "benchmark" are in its own module."""
    ADDERS[command](parser)
