"""Runs over many images: block by block, here or on a cluster, kept as they go."""

from skclipad.scoring._cluster import stream_blocks
from skclipad.scoring._rows import Block, cut_blocks, label_of, score_block

BATCHES = 4  # of a block: small enough to be kept every few seconds


def block_size(detector):
    """Say how many images a run of this detector scores before it keeps their rows."""
    return BATCHES * detector.embedder.batch_size


def score_blocks(detector, blocks, client=None):
    """Yield pairs of a block and its rows: in order here, as they finish on a cluster.

    The detector is one of `skclipad.scoring._rows.detector_of_rows`.
    """
    if client is not None:
        yield from stream_blocks(client, detector, blocks)
        return
    for block in blocks:
        yield block, score_block(detector, block)


class ScoringRun:
    """The rows of many images, of which a journal knows some.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        See `score_blocks`.
    paths : list of str
        The images.
    stamps : dict of str to (list or None)
        Their `file_stamp`, by path, from before they are read.
    journal : Journal or Ledger
        Where rows are found and kept. The row of an image is taken if the image has
        not changed and has a score; its label follows the threshold of `detector`.
    maps : object, default=None
        Makes something more of images, without which a row is not done: ``has(path)``
        tells whether it is there, ``make(detector, paths, rows)`` makes it.

    Attributes
    ----------
    n_known, n_without_map, n_kept, n_done : int
        Rows that the journal had, those of them without a map, those that another run
        could take now, and those made by this one.
    missing : list of Block
        What is to be scored, by blocks of all images.
    """

    def __init__(self, detector, paths, stamps, journal, maps=None):
        self._detector, self._stamps = detector, stamps
        self._journal, self._maps = journal, maps

        self._known, self.n_known, self.n_done = {}, 0, 0
        for path, row in journal.get_many(stamps):
            self.n_known += 1
            if maps is None or maps.has(path):
                self._known[path] = _labelled(row, detector.threshold)

        self.n_kept = len(self._known)
        self.n_without_map = self.n_known - self.n_kept
        self._blocks = cut_blocks(paths, block_size(detector))
        self.missing = [left for left in map(self._unknown, self._blocks) if left.paths]

    @property
    def n_missing(self):
        """How many images are to be scored."""
        return sum(map(len, self.missing))

    def rows(self, client=None, progress=None):
        """Score what is missing, and yield the rows of each block, in order.

        The rows of a block are in the journal when it is yielded; on a cluster those
        of later blocks may be, too. `progress` is a bar of images.
        """
        made, waiting = {}, {block.start for block in self.missing}
        finished = score_blocks(self._detector, self.missing, client)

        for block in self._blocks:
            while block.start in waiting:
                scored, rows = next(finished)
                self._keep(scored.paths, rows)
                made |= zip(scored.paths, rows, strict=True)
                waiting.remove(scored.start)
                self.n_done += len(rows)
                if progress is not None:
                    progress.update(len(rows))

            yield [self._known.get(path) or made[path] for path in block.paths]
        self._known = {}  # in a table that grows these are nearly all

    def _unknown(self, block):
        return Block(block.start, [p for p in block.paths if p not in self._known])

    def _keep(self, paths, rows):
        """Make the maps of images, and only then keep their rows, if they have some."""
        if self._maps is not None:
            self._maps.make(self._detector, paths, rows)

        results = [
            (path, self._stamps[path], row)
            for path, row in zip(paths, rows, strict=True)
        ]
        scored = [r for r in results if "score" in r[2] and r[1] is not None]
        self._journal.put_many(results if self._journal.keeps_failures else scored)
        self.n_kept += len(scored)


def _labelled(row, threshold):
    """Return a row with the label of a threshold: itself, if it has that already."""
    label = label_of(row["score"], threshold)
    return row if row.get("label") == label else row | {"label": label}
