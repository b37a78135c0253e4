"""``skclipad threshold``: where to cut the scores of a table."""

import math

import joblib
import numpy as np
from scipy.stats import mannwhitneyu

from skclipad._storage.files import atomic_write
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._files import checked_target
from skclipad.cli._labels import count_pictures, labels_of
from skclipad.cli._tables import read_scores
from skclipad.metrics import auroc
from skclipad.thresholds import choose_threshold, robust_threshold

CONFIDENCE = 0.95
WIDE = 0.2  # of an interval that says little
CHANCE = 0.05  # that scores which tell nothing apart look so good
WISHES = {
    "recall": "the highest that finds {:g} of the damaged ones",
    "precision": "above which {:g} of the pictures are damaged, and most of them found",
    "cost": "the cheapest, if a missed damaged one costs {:g} false alarms",
}


def run(args):
    """Choose a threshold; print it, and keep it in a detector if one is named."""
    wishes = {n: getattr(args, n) for n in WISHES if getattr(args, n) is not None}
    if wishes and args.labels is None:
        raise ValueError(
            f"--{next(iter(wishes))} needs --labels FILE: which pictures are good and "
            "which damaged. The report's page makes one."
        )
    if args.output is not None and args.detector is None:
        raise ValueError("--output needs --detector FILE, the detector to change.")
    target = args.output or args.detector
    target = None if target is None else checked_target(target)

    scores = read_scores(args.scores)
    if args.labels is None:
        threshold = _suggested(args.scores, scores)
    else:
        threshold = _chosen(args, scores, wishes)

    if target is not None:
        _keep(args, target, threshold)
    else:
        echo(
            "Nothing was changed: -d DETECTOR writes it into a detector, and "
            "`skclipad score --threshold` takes it for one run."
        )
    print(repr(threshold))  # all digits: it is meant to be typed again
    return ALL_SCORED


def _suggested(name, scores):
    """Return a threshold from the scores alone, and say what it is worth."""
    values = np.array(list(scores.values()))
    threshold = robust_threshold(values)
    echo(
        f"threshold {threshold!r}: {np.sum(values > threshold):,} of "
        f"{count_pictures(len(values))} in {name} lie above it\n"
        "A suggestion, from the median and the spread of the scores: three spreads "
        "above. It knows nothing of damage and guarantees nothing. Label some pictures "
        "on the report's page (`skclipad score --report`), and give --labels."
    )
    return threshold


def _chosen(args, scores, wishes):
    """Return a threshold by labels, and say what it finds and how sure that is."""
    known = labels_of(args.labels, args.scores, scores)
    y = np.array(list(known.values()))
    labelled = np.array([scores[path] for path in known])
    cut = choose_threshold(y, labelled, confidence=CONFIDENCE, **wishes)

    aim = "with the largest F1"
    for name, wish in wishes.items():
        aim = WISHES[name].format(wish)
    echo(f"threshold {cut.threshold!r}, {aim}")
    _echo_cut(cut)
    _echo_order(y, labelled)
    _echo_the_rest(cut, np.array(list(scores.values())), labelled)
    _echo_how_sure(cut, wishes.get("recall"))
    return cut.threshold


def _echo_cut(cut):
    n_alarms = cut.n_found + cut.n_false_alarms
    for what, share, part, whole in (
        ("recall: finds", cut.recall, cut.n_found, f"{cut.n_anomalous} damaged"),
        ("precision: right in", cut.precision, cut.n_found, f"{n_alarms} alarms"),
        (
            "false alarms:",
            cut.false_alarm_rate,
            cut.n_false_alarms,
            f"{cut.n_normal} good",
        ),
    ):
        value = "-" if math.isnan(share.value) else f"{share.value:.3f}"
        interval = f"({share.low:.3f} to {share.high:.3f})"
        echo(f"  {what:<20} {f'{part} of {whole}':<16} {value:>5} {interval}")


def _echo_order(y, scores):
    """Say how well scores tell damaged images from good ones, whatever the cut."""
    value = auroc(y, scores)
    echo(
        f"  Of a damaged and a good one, the damaged one has the higher score in "
        f"{100 * value:.0f} of 100 pairs (AUROC {value:.3f}; 50 is chance)"
    )
    if (
        mannwhitneyu(scores[y == 1], scores[y == 0], alternative="greater").pvalue
        > CHANCE
    ):
        echo(
            "  So few or so mixed labels do not show that the scores tell damaged from "
            "good: label more, or try --object, another model or good pictures as "
            "references. Until then no threshold will do."
        )


def _echo_the_rest(cut, values, labelled):
    above = int(np.sum(values > cut.threshold))
    share = above / len(values)
    echo(f"  {above:,} of all {count_pictures(len(values))} lie above it ({share:.1%})")

    if above == len(values):
        echo("  that is every picture: it tells none from the others")
    unseen = int(np.sum(values < labelled.min()))
    if unseen:
        echo(
            f"  {unseen:,} have a lower score than any that was labelled: damaged ones "
            "among them are not counted in recall"
        )


def _echo_how_sure(cut, recall):
    echo(
        f"In brackets: intervals of {CONFIDENCE:.0%} (Clopper and Pearson), for "
        "pictures such as the labelled ones."
    )
    if cut.recall.high - cut.recall.low > WIDE:
        n = cut.n_anomalous
        echo(
            f"{'1 damaged picture is' if n == 1 else f'{n} damaged pictures are'} few: "
            f"the recall may as well be {cut.recall.low:.2f} as {cut.recall.high:.2f}. "
            "More labels make it surer."
        )
    if recall is not None and recall < 1:
        needed = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(recall))
        if cut.n_anomalous < needed:
            echo(
                f"To be that sure of a recall of {recall:g} takes {needed:,} damaged "
                "pictures at least, all of them found."
            )


def _keep(args, target, threshold):
    """Write a detector with another threshold."""
    # Loading it takes torch, and seconds: only where it is asked for.
    from skclipad.cli._detectors import load_detector

    detector = load_detector(args)
    before = detector.threshold
    detector.set_params(threshold=threshold)
    with atomic_write(target) as path:
        joblib.dump(detector, path)
    echo(
        f"{target}: its threshold is {threshold!r} (it was {before!r}). Labels of "
        "tables follow it when they are scored again"
    )
