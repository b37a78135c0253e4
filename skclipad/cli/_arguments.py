"""What the commands take. Nothing here needs torch, so help and mistakes are quick."""

from skclipad.cli._console import one_of, seconds, share, whole_number
from skclipad.cli._files import ENDINGS
from skclipad.cli._parameters import (
    DETECTOR_HELP,
    DETECTOR_OPTIONS,
    DETECTOR_OR_NONE_HELP,
    MODEL_OPTIONS,
    REFERENCES_HELP,
    RUNNING_OPTIONS,
    THRESHOLD_HELP,
    add_parameters,
    add_references,
    add_running,
    add_settings,
)
from skclipad.cli._pictures import PICTURES_HELP
from skclipad.cli._score_arguments import add_score

# fit

FIT_EPILOG = """\
examples:
  skclipad fit -o detector.joblib
  skclipad fit -o detector.joblib --input-noise 1 --n-networks 5
  skclipad fit -o bottles.joblib --object bottle --anomaly "a broken"
  skclipad fit -o bottles.joblib --references good-bottles/ --n-shots 4
  skclipad fit -o bottles.joblib --unlabelled all-bottles/    damaged ones among them
  skclipad fit -o lite.joblib --model lite       the bundled model, without network"""
FIT_REFERENCES_HELP = f"{REFERENCES_HELP} (--normal-dir is its former name)"
FIT_UNLABELLED_HELP = """\
folder to compare others with, in which most pictures are normal, nobody knows which"""


def _add_fit(parser):
    parser.epilog = FIT_EPILOG
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help="say detector.joblib")
    add_parameters(add, DETECTOR_OPTIONS | RUNNING_OPTIONS)
    add_references(parser, FIT_REFERENCES_HELP, FIT_UNLABELLED_HELP)
    parser.set_defaults(detector=None, by_folder=False)


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
  skclipad watch photos/ -d d.joblib -o scores.csv --exec "mail-me {path} {score}"
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
    add("-d", "--detector", metavar="FILE", help=DETECTOR_OR_NONE_HELP)
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

    add_running(parser)
    add_settings(parser)


# export

EXPORT_EPILOG = """\
examples:
  skclipad export -d detector.joblib -o detector.onnx
  skclipad export -d detector.joblib -o small.onnx --int8 --pictures photos/

Beside the graph stands a file such as detector.preprocess.json: how a picture becomes
its input. The documentation's page on ONNX graphs has a script that follows it."""
INT8_HELP = "keep the weights in 8 bits: a much smaller file, and other scores"
NO_MAPS_HELP = (
    "leave the anomaly maps out of the graph (default: in, if the image tower is a "
    "plain ViT)"
)
DYNAMO_HELP = """\
use torch's newer exporter, which takes some 8 seconds longer (needs onnxscript)"""
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


INFO_EPILOG = """\
examples:
  skclipad info                            put what it prints into a report of a bug
  skclipad info -d detector.joblib         what this detector is
  skclipad info --check-precision int8 photos/ -d detector.joblib"""
MODELS_HELP = """\
instead, print the CLIPs that this package was tried with: licence, size, cost, and what
works with each; with --model, the row of that one"""
CHECK_HELP = """\
instead, say what this number format (int8, bf16, fp16) does to embeddings, scores,
speed and memory on some of PICTURES: with --detector, or one of few prompts that is
fitted"""
CHECKED_HELP = f"with --check-precision: {PICTURES_HELP}"


def _add_info(parser):
    parser.epilog = INFO_EPILOG
    parser.description = (
        "Show versions, device, and of a model its size and whether its towers run on "
        "the fast path: of the bundled ones, or of what --model or --detector names."
    )
    add = parser.add_argument
    add("pictures", nargs="*", metavar="PICTURES", help=CHECKED_HELP)
    add("--models", action="store_true", help=MODELS_HELP)
    formats = one_of("int8", "bf16", "fp16")
    add("--check-precision", type=formats, metavar="FORMAT", help=CHECK_HELP)
    add_parameters(add, MODEL_OPTIONS)
    add_parameters(add, {"--device": RUNNING_OPTIONS["--device"]})
    text = f"say also how this detector was made: {DETECTOR_HELP}"
    add("-d", "--detector", metavar="FILE", help=text)


ADDERS = {
    "demo": _add_demo,
    "fit": _add_fit,
    "score": add_score,
    "threshold": _add_threshold,
    "drift": _add_drift,
    "watch": _add_watch,
    "export": _add_export,
    "info": _add_info,
}


def add_arguments(command, parser):
    """Add the arguments of a command; those of "benchmark" are in its own module."""
    ADDERS[command](parser)
