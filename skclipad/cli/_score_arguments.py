"""What ``skclipad score`` takes."""

from skclipad.cli._console import share, whole_number
from skclipad.cli._files import ENDINGS
from skclipad.cli._parameters import (
    DETECTOR_OR_NONE_HELP,
    REFERENCES_HELP,
    THRESHOLD_HELP,
    add_references,
    add_running,
    add_settings,
)
from skclipad.cli._pictures import PICTURES_HELP

SCORE_EPILOG = """\
examples:
  skclipad score photos/ -d detector.joblib -o scores.csv --report report.html
  skclipad score photos/ -d detector.joblib -o scores.csv --maps maps/ --plan
  skclipad score "day-*/**/*.jpg" -d detector.joblib -o scores.parquet
  find . -name "*.png" -mtime -1 | skclipad score - -d detector.joblib > scores.csv
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
FPR_HELP = """\
choose the threshold so that a picture such as those in --normal-dir is above it with at
most this chance, say 0.01, which takes 99 of them; without --normal-dir, by those of
--references that --n-shots leaves over"""
NORMAL_HELP = """\
a folder of pictures known to be good: the table gets the column p_value, the chance of
so high a score of a good picture"""
REPORT_HELP = """\
a page to look through in a browser: histogram, pictures, heat maps (which may take
longer than the scores: see --heat-maps)"""
MAPS_HELP = """\
folder for anomaly maps of all pictures: grey PNG of 16 bits, 65535 for a score of 1
(takes about ten times as long as scores)"""
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


def add_score(parser):
    """Add its arguments to a parser."""
    parser.epilog = SCORE_EPILOG
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURES", help=PICTURES_HELP)
    add("--every", type=whole_number(1), metavar="N", help=EVERY_HELP)
    add("-d", "--detector", metavar="FILE", help=DETECTOR_OR_NONE_HELP)
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
    add = add_references(parser, REFERENCES_HELP, UNLABELLED_HELP, **flag)
    add("--by-folder", action="store_true", help=BY_FOLDER_HELP)

    add = add_running(parser)
    add("--dask", metavar="ADDRESS", help=DASK_HELP)
    add_settings(parser)
