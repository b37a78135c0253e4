"""What ``skclipad watch`` does about images above a score: a command, or a move."""

import errno
import os
import shlex
import shutil
import subprocess
import time

from skclipad._storage.files import file_stamp
from skclipad._system import WINDOWS
from skclipad.scoring._rows import printable

LONGEST = 60.0  # seconds that a command may run
AGAIN = 60.0  # seconds after which a move that failed is tried again


class Tasks:
    """What is to be done about images, as the ledger knows it, done one by one.

    What a killed run had not finished is finished by the next one: a command may then
    run twice for an image, and an image is moved once.

    Parameters
    ----------
    ledger : Ledger
        Knows what is to be done.
    tell : callable
        Is given a line for people about each thing done.
    command : Command, default=None
        What to run.
    mover : Mover, default=None
        What moves.
    """

    def __init__(self, ledger, tell, command=None, mover=None):
        self._ledger, self._tell = ledger, tell
        self._command, self._mover = command, mover
        self._not_before = 0.0

    def work_off(self, stop=lambda: False, clock=time.monotonic):
        """Do what is to be done, or until `stop`; tell whether there was anything."""
        tasks = [] if clock() < self._not_before else self._ledger.tasks()
        for path, row, target in tasks:
            if stop():
                break
            try:
                self._do(path, row, target)
            except OSError as error:
                self._not_before = clock() + AGAIN
                self._tell(f"{row['path']}: not moved ({error}); tried again later")
                break
        return bool(tasks)

    def _do(self, path, row, target):
        # A move that was begun is finished, whatever this run would do.
        if target is None and self._mover is None:
            if self._command is not None:
                self._tell(f"{row['path']}: {self._command(path, row['score'])}")
            self._ledger.finish(path)
            return

        mover = self._mover or Mover(os.path.dirname(target))
        is_same = self._ledger.has(path, file_stamp(path))
        if target is not None and self._has_arrived(path, target):
            if is_same:  # copied, and not yet removed here
                os.remove(path)
        elif is_same:
            target = self._free_place(mover, path, target)
            mover.move(path, target)
        else:
            self._ledger.finish(path)
            self._tell(f"{row['path']}: not moved, it is gone or has changed")
            return

        written = mover.written(target)
        self._ledger.finish(path, (target, printable(written)))
        self._tell(f"{row['path']} ({row['score']:.3f}): moved to {written}")

    def _has_arrived(self, path, target):
        """Tell whether an earlier run got that far; not if another file lies there."""
        if not os.path.lexists(target):
            return False
        return not os.path.lexists(path) or self._ledger.has(path, file_stamp(target))

    def _free_place(self, mover, path, target):
        """Return where to move an image: as planned, unless a file came in between."""
        if target is None or os.path.lexists(target):
            target = mover.place_for(path, is_taken=self._ledger.knows)
            self._ledger.plan(path, target)
        return target


class Command:
    """A command line that is run for an image, by no shell.

    A ValueError says that it is none, or that there is no such program; on Windows also
    that it is no .exe: batch files go through cmd.exe, which would run parts of names.
    """

    def __init__(self, text):
        try:
            self._words = _split(text)
        except ValueError as error:
            raise ValueError(
                f"--exec {text!r} cannot be split into words: {error}."
            ) from error
        self._program = shutil.which(self._words[0]) if self._words else None
        if self._program is None:
            raise ValueError(
                f"--exec {text!r}: no program of that name can be run, but expected a "
                "command and its arguments. It is not run by a shell: of pipes and the "
                "like make a script."
            )
        if WINDOWS and not self._program.lower().endswith((".exe", ".com")):
            raise ValueError(
                f"--exec {text!r}: {self._program} is no .exe, and Windows runs it by "
                "a shell, if at all, which can run parts of a picture's name. Name the "
                "program itself: python alarm.py, say, and not alarm.bat."
            )

    def __call__(self, path, score):
        """Run it, and say what came of it."""
        words = self._filled(path, score)
        try:
            done = subprocess.run(
                words,
                executable=self._program,
                stdin=subprocess.DEVNULL,
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired:
            return f"{words[0]} was ended after {LONGEST:.0f} s"
        except OSError as error:
            return f"{words[0]} cannot be run: {error}"
        return f"{words[0]} ended with {done.returncode}"

    def _filled(self, path, score):
        if not any("{path}" in w or "{score}" in w for w in self._words[1:]):
            return [*self._words, path]
        first, *others = self._words
        # In one pass: a path may hold "{score}".
        return [
            first,
            *(_filled(word, {"path": path, "score": score}) for word in others),
        ]


def _split(text):
    """Split a command line into words; on Windows backslashes are parts of paths."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    if WINDOWS:
        lexer.escape = ""
    return list(lexer)


def _filled(word, values):
    for name, value in values.items():
        before, found, after = word.partition(f"{{{name}}}")
        if found:
            return f"{_filled(before, values)}{value}{_filled(after, values)}"
    return word


class Mover:
    """Moves images to a folder, laid out there as they were, and over no other file."""

    def __init__(self, folder, root=None):
        self._folder, self._root = folder, root

    def place_for(self, path, is_taken):
        """Return a free place for an image, as a full path."""
        name = os.path.basename(path)
        if self._root is not None:
            inside = _path_from(self._root, path)
            if not inside.startswith(os.pardir) and not os.path.isabs(inside):
                name = inside

        stem, ending = os.path.splitext(
            os.path.join(os.path.abspath(self._folder), name)
        )
        place, n = stem + ending, 0
        while os.path.lexists(place) or is_taken(place):
            n += 1
            place = f"{stem}-{n}{ending}"
        return place

    def move(self, path, target):
        """Move an image; a FileExistsError says that there is a file by now."""
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            _rename(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(path, target)
            os.remove(path)

    def written(self, target):
        """Return how a place is written in a row: as the folder was named."""
        return os.path.join(self._folder, _path_from(self._folder, target))


def _path_from(folder, path):
    """Return how a full path goes on from a folder; as it is from another drive."""
    try:
        return os.path.relpath(path, os.path.abspath(folder))
    except ValueError:  # on Windows, where no path leads from drive to drive
        return path


def _rename(path, target):
    """Rename a file, over no other one that comes at the same moment.

    Where there are no hard links, and of a link itself, only over none that was there.
    """
    if not os.path.islink(path):
        try:
            os.link(path, target)
        except FileExistsError:
            raise
        except OSError:  # another file system, or one without links
            pass
        else:
            os.remove(path)
            return

    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(path, target)


def _copy(path, target):
    """Copy a file to another file system, so that it is there as a whole or not."""
    partial = target + ".partial"
    shutil.copy2(path, partial)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    _rename(partial, target)
