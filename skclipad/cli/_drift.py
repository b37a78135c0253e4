"""``skclipad drift``: are today's scores spread as those of a reference are?"""

from skclipad.cli._console import ALL_SCORED
from skclipad.cli._tables import read_scores
from skclipad.statistics import compare_scores


def run(args):
    """Compare the scores of two tables, and say in one line what differs."""
    reference, scores = read_scores(args.reference), read_scores(args.scores)
    print(compare_scores(list(reference.values()), list(scores.values())))
    return ALL_SCORED
