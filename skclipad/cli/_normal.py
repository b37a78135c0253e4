"""What a folder of normal images tells of others: p-values, and a threshold."""

import numpy as np

from skclipad._storage.journal import Journal
from skclipad.cli._console import echo
from skclipad.cli._progress import progress_bar
from skclipad.cli._scored import echo_failures
from skclipad.scoring._rows import label_of
from skclipad.scoring._run import ScoringRun
from skclipad.thresholds import conformal_p_values, conformal_threshold


class NormalImages:
    """The scores of normal images, with which those of others are compared."""

    def __init__(self, scores):
        self.scores = scores

    @classmethod
    def scored(cls, paths, detector, folder):
        """Score images of a folder, and say what comes of it.

        A ValueError tells that none of them can be scored.
        """
        run = ScoringRun(detector, paths, dict.fromkeys(paths), Journal(None, {}))
        with progress_bar(run.n_missing, "Scoring normal pictures") as bar:
            rows = [row for block in run.rows(progress=bar) for row in block]

        echo_failures(rows)
        scores = [row["score"] for row in rows if "score" in row]
        if not scores:
            raise ValueError(
                f"{folder} holds no picture that can be scored, but normal ones are "
                "needed to compare others with."
            )
        echo(
            f"p_value: how rarely a good picture scores so high, by {len(scores):,} in "
            f"{folder}: of further ones, 1 in 100 at most has 0.01 or less, and so on"
        )
        return cls(scores)

    def threshold(self, fpr):
        """Return the threshold that no larger share of such images is above."""
        try:
            threshold = conformal_threshold(self.scores, fpr)
        except ValueError as error:
            raise ValueError(str(error).replace("fpr=", "--fpr ")) from error

        # All digits: it is meant to be typed again.
        above = sum(label_of(score, threshold) for score in self.scores)
        echo(
            f"threshold {threshold!r}: {above} of {len(self.scores)} normal pictures "
            "above it; one more such picture is with a chance of at most "
            f"{fpr:g}"
        )
        return threshold

    def with_p_values(self, rows):
        """Return rows with the chance of so high a score of a normal image."""
        scores = [row.get("score", np.nan) for row in rows]
        values = conformal_p_values(scores, self.scores).tolist()
        return [
            row | {"p_value": value} if "score" in row else row
            for row, value in zip(rows, values, strict=True)
        ]
