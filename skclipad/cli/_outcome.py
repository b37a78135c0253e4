"""What a run of scores means, and what may be done next: two lines at its end."""

from skclipad._system import shell_line
from skclipad.cli._console import echo

NOBODYS_CHOICE = 0.5  # the threshold of a detector for which none was chosen


def tell_outcome(rows, threshold):
    """Say how many images that are there lie above the threshold, and the worst."""
    scored = [row for row in rows if "score" in row and not row.get("gone")]
    if not scored:
        return

    worst = max(scored, key=lambda row: row["score"])
    n_above = sum(row["score"] > threshold for row in scored)
    lie = "picture lies" if n_above == 1 else "pictures lie"
    echo(
        f"{n_above:,} {lie} above the threshold {threshold!r}; the highest score, "
        f"{worst['score']:.3f}, is that of {worst['path']}"
    )


def tell_next(scored, args):
    """Say how a better threshold is chosen, if nobody has chosen one."""
    is_chosen = scored.detector.threshold != NOBODYS_CHOICE
    is_chosen = is_chosen or args.threshold is not None or args.fpr is not None
    if args.output is None or is_chosen or not (scored.is_new and scored.with_score):
        return

    page = args.report or "the report's page (--report)"
    echo(
        f"next: label some pictures on {page}, and choose a threshold: skclipad "
        f"threshold {shell_line([args.output])} --labels labels.csv"
    )
