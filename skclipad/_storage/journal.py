"""The journal of a run: what is done is kept as it is made, and found after a crash.

Its first line says what determines the results, the identity of the run. Every other
line holds results that were made together, each with its key and its stamp, which tells
whether it still holds. Each line has a checksum, so that one that was being written
when the run died is told from a complete one. Lines are JSON: nothing in them is
executed.
"""

import json
import os
import re
import zlib
from contextlib import ExitStack

from skclipad._storage.locks import exclusive

ENDING = ".journal"  # of the journal of a table, after the table's own name
_OTHERS = {"backbone": "another CLIP", "images": "other images"}  # of their digests


def journal_path(table):
    """Return where the journal of a table lies: beside it."""
    return table.with_name(table.name + ENDING)


class Journal:
    """Results of a run by key, in a file that any number of runs may go on with.

    Use it as a context: the file is locked in it, and stays when it is left.

    Parameters
    ----------
    path : pathlib.Path or None
        The file, which is made if there is none. None keeps results in memory alone.
    identity : dict of str to JSON value
        What determines the results.
    resume : bool, default=False
        Whether to take what the file holds. If that is of another identity, entering
        the context raises a ValueError that names the differences.
    """

    keeps_failures = False  # an image without a score is scored by the next run

    def __init__(self, path, identity, *, resume=False):
        self.path = path
        self._identity, self._resume = identity, resume
        self._results, self._file = {}, None
        self._held = ExitStack()

    def __enter__(self):
        if self.path is None:
            return self

        with ExitStack() as stack:
            stack.enter_context(exclusive(self.path))
            size = self._read() if self._resume else 0
            self._file = stack.enter_context(open(self.path, "ab"))
            self._file.truncate(size)
            if size == 0:
                self._write(self._identity)
            self._held = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._held.close()

    def get(self, key, stamp):
        """Return the content that was put under a key, None if its stamp is another."""
        found = self._results.get(key)
        return found[1] if found is not None and found[0] == stamp else None

    def get_many(self, stamps):
        """Yield key and content of each result that has the stamp of a dict by key."""
        for key, stamp in stamps.items():
            found = self.get(key, stamp)
            if found is not None:
                yield key, found

    def put(self, key, stamp, content):
        """Keep a result, a JSON value, and see that it is on the disk."""
        self.put_many([(key, stamp, content)])

    def put_many(self, results):
        """Keep results, each a tuple of key, stamp and content: all or none of them."""
        self._results |= {key: (stamp, content) for key, stamp, content in results}
        if self._file is not None and results:
            self._write(results)

    def remove(self):
        """Remove the file: all that it was kept for is done."""
        if self.path is not None:
            self._file.close()  # Windows removes no file that is open
            self.path.unlink(missing_ok=True)

    def _read(self):
        """Take the results that the file holds, and return how much of it is sound."""
        begun_with, self._results, size = read_journal(self.path)

        if begun_with is not None and begun_with != self._identity:
            raise ValueError(
                f"{self.path} was left by a run with "
                f"{differences(begun_with, self._identity)}, but expected the same as "
                "now: their results do not belong together. Take what that run had, "
                "remove what it left, or name another output."
            )
        return size

    def _write(self, content):
        self._file.write(_line(content))
        self._file.flush()
        os.fsync(self._file.fileno())


def read_journal(path):
    """Return the identity of a journal, its results, and how many bytes are sound.

    The results are a dict of key to (stamp, content). Without a file, or a sound first
    line in it, there are None, no results and no bytes.
    """
    identity, results, size = None, {}, 0
    if not path.exists():
        return identity, results, size

    with open(path, "rb") as file:
        for line in file:
            content = _content(line)
            if content is None:  # what follows a damaged line is not trusted either
                break

            size += len(line)
            if identity is None:
                identity = content
            else:
                results |= {key: (stamp, result) for key, stamp, result in content}
    return identity, results, size


def differences(before, now):
    """Say in words what tells one identity from another, to stand after "with"."""
    digests, settings = [], []
    for name in sorted(n for n in before | now if before.get(n) != now.get(n)):
        values = before.get(name), now.get(name)
        if all(re.fullmatch("[0-9a-f]{32}", str(value)) for value in values):
            digests.append(_OTHERS.get(name, f"another {name}"))
        else:
            settings.append("{} was {} and is {}".format(name, *values))
    told = [f"other settings ({'; '.join(settings)})"] if settings else []
    return " and ".join([*digests, *told])


def _line(content):
    # ASCII: names that are no UTF-8 come back as they were.
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line):
    """Return the content of a line, None if it is not complete."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text)
