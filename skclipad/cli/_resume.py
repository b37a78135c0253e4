"""Runs that go on from where they died: rows are kept in a journal as they are made.

The journal lies beside the table, as ``TABLE.journal``, until the table is whole. Its
first line says what determines the scores; every other line holds a block of rows with
a checksum, so that a line that was being written when the run died is told from a whole
one. A row goes with the size and time of its picture: a picture that has changed since,
or had no score, is scored again, and the table has the rows of the pictures that are
there now.
"""

import json
import os
import zlib
from contextlib import ExitStack, contextmanager

from skclipad.cli._files import open_table
from skclipad.cli._talk import say
from skclipad.scoring._rows import label_of


@contextmanager
def open_run(
    target, columns, stamps, *, identity, threshold, resume=False, usable=None
):
    """Open a table that is written block by block and can be resumed.

    Parameters
    ----------
    target : pathlib.Path or None
        The table; None is standard output, which keeps no journal.
    columns : dict of str to type
        See `skclipad.cli._files.open_table`.
    stamps : FileStamps
        All pictures, in the order of the rows.
    identity : dict of str to str
        What determines the scores; rows of another identity are refused.
    threshold : float
        Score above which a picture is labelled 1; rows taken are labelled anew.
    resume : bool, default=False
        Whether to take the rows that an earlier run left.
    usable : callable, default=None
        Takes a path and tells whether its row may be taken; all may if None.

    Yields
    ------
    Run
        Knows which pictures are still to be scored, and writes rows.

    Raises
    ------
    ValueError
        If `resume` finds a journal of another identity.
    BlockingIOError
        If another run writes this table.
    """
    journal = None if target is None else target.with_name(target.name + ".journal")
    if resume:
        with _opened(journal, identity):  # refuses before the table is begun
            pass
    with ExitStack() as stack:
        write = stack.enter_context(open_table(target, columns))
        known, log = {}, None
        if journal is not None:
            found, size = _read(journal, identity) if resume else ({}, 0)
            known = {
                path: row | {"label": label_of(row["score"], threshold)}
                for path, (stamp, row) in found.items()
                if stamp is not None and stamps.of.get(path) == stamp
            }
            n_before = len(known)
            if usable is not None:
                known = {path: row for path, row in known.items() if usable(path)}
            log = stack.enter_context(_appended(journal, identity, size))
        if resume:
            _say_known(target, n_before, n_before - len(known), len(stamps.paths))
        yield Run(stamps, known, write, log)
    if journal is not None:
        journal.unlink()


def _say_known(target, n_before, n_unusable, n):
    if n_before == 0 and target.exists():
        say(
            f"{target} is whole: the run that wrote it was not interrupted. --resume "
            f"goes on with runs that were, so all {n:,} pictures are scored"
        )
        return
    more = f"; {n_unusable:,} of them have no map of this run" if n_unusable else ""
    say(f"{n_before:,} of {n:,} pictures were scored before{more}")


class FileStamps:
    """The pictures of a run with the size and time of each, taken before it begins.

    A picture that changes while the run reads it has another stamp afterwards, so that
    what was made of it is never taken for what would be made now.

    Parameters
    ----------
    paths : sequence of str
        All pictures, in the order of the rows.

    Attributes
    ----------
    paths : sequence of str
        See above.
    of : dict of str to list, or None
        Size and time by path; None if the file cannot be looked at.
    """

    def __init__(self, paths):
        self.paths = paths
        self.of = {path: _stamp(path) for path in paths}


class Run:
    """The rows of one run: those that are known and those that are made.

    Parameters
    ----------
    stamps : FileStamps
        All pictures.
    known : dict of str to dict
        Rows that are not made again.
    write : callable
        Writes rows of the table.
    log : file or None
        The journal.

    Attributes
    ----------
    todo : list of str
        Pictures that are still to be scored.
    places : list of int
        Where these stand among all pictures.
    known : dict of str to dict
        See above.
    n_kept : int
        Rows that a run which goes on would find.
    """

    def __init__(self, stamps, known, write, log):
        paths = stamps.paths
        self.places = [i for i, path in enumerate(paths) if path not in known]
        self.todo = [paths[i] for i in self.places]
        self.known, self._paths, self._stamps = known, paths, stamps.of
        self._write, self._log = write, log
        self.n_kept = len(known)

    def rows(self, blocks):
        """Write the rows of all pictures, and hand them on.

        Parameters
        ----------
        blocks : iterable of list of dict
            Rows of `todo`, in its order.

        Yields
        ------
        list of dict
            Rows of all pictures, in order.
        """
        todo, waiting = iter(self.todo), iter(self._paths)
        for block in blocks:
            self._keep([next(todo) for _ in block], block)
            merged = []
            for row in block:
                for path in waiting:
                    if path not in self.known:
                        break
                    merged.append(self.known[path])
                merged.append(row)
            self._write(merged)
            yield merged
        if rest := [self.known[path] for path in waiting]:
            self._write(rest)
            yield rest

    def _keep(self, paths, rows):
        """Add rows with a score to the journal."""
        if self._log is None:
            return
        entries = [
            [path, self._stamps[path], row]
            for path, row in zip(paths, rows, strict=True)
            if "score" in row
        ]
        self._log.write(_line(entries))
        self._log.flush()
        os.fsync(self._log.fileno())
        self.n_kept += len(entries)


@contextmanager
def _appended(journal, identity, size):
    """Open a journal after its first `size` bytes; begin it if there are none."""
    with open(journal, "ab") as log:
        log.truncate(size)
        if size == 0:
            log.write(_line(identity))
            log.flush()
        yield log


def _line(content):
    # ASCII: names that are no UTF-8 come back as they were.
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line):
    """Return the content of a line, None if it is not whole."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text)


@contextmanager
def _opened(journal, identity):
    """Open a journal after its first line; give None if there is no sound one."""
    try:
        log = open(journal, "rb")
    except FileNotFoundError:
        yield None
        return
    with log:
        begun_with = _content(log.readline())
        if begun_with is not None:
            _check(journal, begun_with, identity)
        yield None if begun_with is None else log


def _read(journal, identity):
    """Return the rows of a journal by path, and the size of its sound part in bytes."""
    known, size = {}, 0
    with _opened(journal, identity) as log:
        if log is None:
            return known, size
        size = log.tell()
        while (entries := _content(line := log.readline())) is not None:
            known |= {path: (stamp, row) for path, stamp, row in entries}
            size += len(line)
    return known, size


def _check(journal, begun_with, identity):
    others = [
        f"{name} was {begun_with.get(name)} and is {value}"
        for name, value in identity.items()
        if begun_with.get(name) != value
    ]
    if others:
        raise ValueError(
            f"{journal} was left by a run with other settings ({'; '.join(others)}), "
            "but expected the same ones: their rows do not belong in one table. Use "
            "the detector and the options of that run, or leave --resume out to begin "
            "anew."
        )


def _stamp(path):
    """Return size and time of a file, None if it cannot be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
