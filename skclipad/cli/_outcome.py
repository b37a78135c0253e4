"""What a run of scores means, and what may be done next: two lines at its end."""

import shlex

from skclipad.cli._console import echo

NOBODYS_CHOICE = 0.5  # the threshold of a detector for which none was chosen


def tell_outcome(rows, threshold, args):
    """Say how many images lie above the threshold, and how a better one is chosen."""
    scored = [row for row in rows if "score" in row]
    if not scored:
        return

    worst = max(scored, key=lambda row: row["score"])
    n_above = sum(row["score"] > threshold for row in scored)
    lie = "picture lies" if n_above == 1 else "pictures lie"
    echo(
        f"{n_above:,} {lie} above the threshold {threshold!r}; the highest score, "
        f"{worst['score']:.3f}, is that of {worst['path']}"
    )
    is_chosen = threshold != NOBODYS_CHOICE or args.threshold is not None
    if args.output is not None and not is_chosen and args.fpr is None:
        table = shlex.quote(args.output)
        echo(
            "next: label some pictures on the report's page (--report), and choose a "
            f"threshold: skclipad threshold {table} --labels labels.csv"
        )
