"""``skclipad threshold``: where to cut the scores of a table."""

import math

import joblib
import numpy as np

from skclipad._storage.files import atomic_write
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._files import checked_target
from skclipad.cli._tables import read_labels, read_scores
from skclipad.metrics import auroc
from skclipad.thresholds import choose_threshold, robust_threshold

CONFIDENCE = 0.95
WIDE = 0.2  # of an interval that says little
MOST_NAMES = 3  # of pictures that are named on the terminal
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
    print(repr(threshold))  # all digits: it is meant to be typed again
    return ALL_SCORED


def _suggested(name, scores):
    """Return a threshold from the scores alone, and say what it is worth."""
    values = np.array(list(scores.values()))
    threshold = robust_threshold(values)
    echo(
        f"threshold {threshold!r}: {np.sum(values > threshold):,} of "
        f"{_pictures(len(values))} in {name} lie above it\n"
        "A suggestion, from the median and the spread of the scores: three spreads "
        "above. It knows nothing of damage and guarantees nothing. Label some pictures "
        "on the report's page (`skclipad score --report`), and give --labels."
    )
    return threshold


def _chosen(args, scores, wishes):
    """Return a threshold by labels, and say what it finds and how sure that is."""
    labels = read_labels(args.labels)
    known = {path: label for path, label in labels.items() if path in scores}
    _echo_labels(args, labels, known, scores)

    y = np.array(list(known.values()))
    labelled = np.array([scores[path] for path in known])
    cut = choose_threshold(y, labelled, confidence=CONFIDENCE, **wishes)

    aim = "with the largest F1"
    for name, wish in wishes.items():
        aim = WISHES[name].format(wish)
    echo(f"threshold {cut.threshold!r}, {aim}")
    _echo_cut(cut)
    echo(f"  of any threshold: AUROC {auroc(y, labelled):.3f} (0.5 is chance)")
    _echo_the_rest(cut, np.array(list(scores.values())), labelled)
    _echo_how_sure(cut, wishes.get("recall"))
    return cut.threshold


def _echo_labels(args, labels, known, scores):
    if labels and not known:
        raise ValueError(
            f"None of the {len(labels):,} labels of {args.labels} is of a picture "
            f"with a score in {args.scores}: it labels {next(iter(labels))!r}, and the "
            f"table has {next(iter(scores))!r}. Score the pictures by the names that "
            "they had when they were labelled."
        )

    n_damaged = sum(known.values())
    echo(
        f"{args.labels}: {_pictures(len(known))} of {args.scores}, {n_damaged:,} "
        f"damaged and {len(known) - n_damaged:,} good"
    )
    others = [path for path in labels if path not in known]
    if others:
        named = ", ".join(others[:MOST_NAMES])
        more = ", ..." if len(others) > MOST_NAMES else ""
        echo(f"  {len(others):,} more have no score there: {named}{more}")


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


def _echo_the_rest(cut, values, labelled):
    above = int(np.sum(values > cut.threshold))
    share = above / len(values)
    echo(f"  {above:,} of all {_pictures(len(values))} lie above it ({share:.1%})")

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
        echo(
            f"{cut.n_anomalous} damaged pictures are few: the recall may as well be "
            f"{cut.recall.low:.2f} as {cut.recall.high:.2f}. More labels make it surer."
        )
    if recall is not None and recall < 1:
        needed = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(recall))
        if cut.n_anomalous < needed:
            echo(
                f"To be that sure of a recall of {recall:g} takes {needed:,} damaged "
                "pictures at least, all of them found."
            )


def _pictures(n):
    return "1 picture" if n == 1 else f"{n:,} pictures"


def _keep(args, target, threshold):
    """Write a detector with another threshold."""
    # Loading it takes torch, and seconds: only where it is asked for.
    from skclipad.cli._detectors import load_detector

    detector = load_detector(args)
    before = detector.threshold
    detector.set_params(threshold=threshold)
    with atomic_write(target) as path:
        joblib.dump(detector, path)
    echo(f"{target}: its threshold is {threshold!r} (it was {before!r})")
