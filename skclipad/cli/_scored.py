"""Images with their rows, as the parts of ``skclipad score`` hand them on."""

from dataclasses import dataclass

from skclipad._detector import RandomWordCLIPDetector
from skclipad.cli._console import echo
from skclipad.cli._maps import MapFolder

MOST_FAILURES = 5  # that are named on the terminal


@dataclass
class Scored:
    """What a run has made of images, and whether any of them was scored by it."""

    detector: RandomWordCLIPDetector
    paths: list
    rows: list
    maps: MapFolder | None = None
    is_new: bool = True

    @property
    def with_score(self):
        """The positions of images that have a score."""
        return [i for i, row in enumerate(self.rows) if "score" in row]


def echo_failures(rows):
    """Name the first of the images that have no score, and the reason."""
    failed = [row for row in rows if "score" not in row]
    if not failed:
        return

    what = "1 picture has" if len(failed) == 1 else f"{len(failed):,} pictures have"
    echo(f"{what} no score:")
    for row in failed[:MOST_FAILURES]:
        echo(f"  {row['path']}: {row['error']}")
    if len(failed) > MOST_FAILURES:
        echo("  ... and so on: the column error has all reasons")
