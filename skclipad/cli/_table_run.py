"""From images to a table of scores: a new one, one gone on with, one brought up."""

import time
from contextlib import ExitStack

from skclipad._images.video import file_of
from skclipad._storage.files import file_stamp, full_path
from skclipad._storage.journal import Journal, journal_path
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad.cli._console import echo
from skclipad.cli._detectors import run_identity
from skclipad.cli._files import open_table
from skclipad.cli._growing import GrowingTable, growing_columns, is_there
from skclipad.cli._maps import MapFolder
from skclipad.cli._progress import timed_blocks
from skclipad.cli._scored import Scored
from skclipad.scoring._cluster import open_client
from skclipad.scoring._run import ScoringRun


class TableRun:
    """A run over images that leaves a table, and maps if they are asked for.

    Parameters
    ----------
    args : argparse.Namespace
        What ``skclipad score`` was asked for.
    target : pathlib.Path or None
        The table; None is standard output.
    columns : dict of str to type
        Its columns.
    detector : RandomWordCLIPDetector
        What scores.
    normal : NormalImages or None
        What gives rows their p-values.
    work : Work
        Is told what is kept, once that is some.
    """

    def __init__(self, args, target, columns, detector, normal, work):
        self._args, self._target, self._columns = args, target, columns
        self._detector, self._normal, self._work = detector, normal, work
        self._identity = run_identity(detector)

    def write(self, paths):
        """Score images, but those that a run to resume has scored; return `Scored`."""
        start, rows, stamps = time.perf_counter(), [], _stamps(paths)
        maps = self._map_folder(stamps)
        kept = None if self._target is None else journal_path(self._target)
        with Journal(kept, self._identity, resume=self._args.resume) as journal:
            run = ScoringRun(self._detector, paths, stamps, journal, maps)
            with ExitStack() as stack:
                put = stack.enter_context(open_table(self._target, self._columns))
                if self._args.resume:
                    self._echo_known(run, len(paths))
                client = self._client(run, stack)
                stack.callback(_echo_speed, rows, len(paths), start)

                for block in self._blocks(run, client, stack, "with --resume "):
                    if self._normal is not None:
                        block = self._normal.with_p_values(block)
                    put(block)
                    rows += block
            journal.remove()

        if self._target is not None:
            echo(f"{self._target}: {len(rows):,} rows")
        _echo_maps(maps)
        return Scored(self._detector, paths, rows, maps)

    def update(self, paths):
        """Score images that are new or have changed since the table was written.

        Returns `Scored` of all images in the table, which is written anew.
        """
        start = time.perf_counter()
        self._echo_without_ledger(len(paths))
        with (
            Ledger(ledger_path(self._target), self._identity) as ledger,
            ExitStack() as stack,
        ):
            # What is known and gone keeps its row, even if it is named.
            stamps = {
                path: stamp
                for path, stamp in _stamps(paths).items()
                if stamp is not None or not ledger.knows(path)
            }
            maps = self._map_folder(stamps)
            run = ScoringRun(self._detector, list(stamps), stamps, ledger, maps)
            table = self._growing_table(ledger)
            _echo_missing(run.n_missing, len(stamps))
            client = self._client(run, stack)
            for _ in self._blocks(run, client, stack):
                pass  # each row is in the ledger when its block is given

            _mark_gone(ledger, drop=self._args.drop_gone)
            known, rows = ledger.paths(), list(table.rows())
            table.write(rows)

        seconds = time.perf_counter() - start
        n_made = f"{run.n_done:,}" if run.n_done else "none"
        echo(
            f"{self._target}: {len(rows):,} rows, {n_made} made now, in {seconds:.1f} s"
        )
        _echo_maps(maps)
        named = {full_path(path): path for path in stamps}
        paths = [named.get(path, path) for path in known]
        return Scored(self._detector, paths, rows, maps, is_new=run.n_done > 0)

    def _map_folder(self, stamps):
        args = self._args
        if args.maps is None:
            return None
        shown, tiles = args.report is not None, args.map_tiles
        return MapFolder(args.maps, stamps, self._identity, shown=shown, tiles=tiles)

    def _growing_table(self, ledger):
        columns = growing_columns(self._columns)
        return GrowingTable(self._target, columns, ledger, self._detector.threshold)

    def _client(self, run, stack):
        """Return the cluster that scores what is missing, None for this process."""
        if self._args.dask is None or not run.missing:
            return None
        client = stack.enter_context(open_client(self._args.dask))
        echo(f"Dask: {len(client.nthreads())} workers")
        return client

    def _blocks(self, run, client, stack, how=""):
        """Yield the blocks of a run; if it is stopped, what is kept of it is said."""

        def kept():
            if self._target is None:
                return "what was scored is on standard output"
            rows = "1 row is" if run.n_kept == 1 else f"{run.n_kept:,} rows are"
            return f"{rows} kept; the same command {how}goes on"

        # From here on errors are not of the arguments.
        self._work.begin(kept)
        yield from timed_blocks(run, client, stack)

    def _echo_known(self, run, n):
        if run.n_known == 0 and self._target.exists():
            echo(
                f"{self._target} is whole: the run that wrote it was not interrupted. "
                f"--resume goes on with runs that were, so all {n:,} pictures are "
                "scored"
            )
            return

        more = ""
        if run.n_without_map:
            more = f"; {run.n_without_map:,} of them have no map of this run"
        echo(f"{run.n_known:,} of {n:,} pictures were scored before{more}")

    def _echo_without_ledger(self, n):
        if self._target.exists() and not ledger_path(self._target).exists():
            echo(
                f"{self._target} was written without --update, so that nothing is "
                f"known of its rows: all {n:,} pictures are scored, and the table is "
                "written anew"
            )


def _stamps(paths):
    return {path: file_stamp(file_of(path)) for path in paths}


def _mark_gone(ledger, drop):
    """Mark the rows of images that are there no more, or drop these rows; say so."""
    ledger.mark_gone(is_there)
    n_gone = ledger.n_gone
    if n_gone == 0:
        return

    if drop:
        ledger.drop_gone()
    rows = "1 row of a picture" if n_gone == 1 else f"{n_gone:,} rows of pictures"
    what = "dropped" if drop else "marked in the column gone"
    echo(f"{rows} no longer there: {what}")


def _echo_missing(n, n_images):
    if n == 0:
        echo(f"nothing to score: of {n_images:,} pictures none is new or has changed")
        return
    are = "is" if n == 1 else "are"
    echo(
        f"{n:,} of {n_images:,} pictures {are} to be scored: new, changed, or without "
        "a score"
    )


def _echo_maps(maps):
    if maps is not None:
        echo(f"{maps.folder}: {len(maps.done):,} maps")


def _echo_speed(rows, n, start):
    seconds = time.perf_counter() - start
    n_scored = sum("score" in row for row in rows)
    # In all: an interrupted run has rows of its beginning alone.
    echo(f"{n_scored:,} of {n:,} pictures scored in {seconds:.1f} s")
