"""Warnings of a run: collected while it works, and summed up at its end."""

import ctypes
import logging
import re
import warnings
from contextlib import contextmanager

from PIL import Image

from skclipad.cli._console import echo

MOST_KINDS = 4  # that are told
MOST_KEPT = 1000  # that are counted one by one: a watch may run for months
LONGEST = 240  # letters of a warning that are told


@contextmanager
def summed_up_warnings():
    """Tell each kind of warning once, with how often it came, when all is done.

    One folder of damaged files can give a thousand lines, and what a run says of its
    result would be lost among them. Warnings that differ in numbers alone are of one
    kind.
    """
    collected = _Collected()
    logger = logging.getLogger("PIL")
    propagates = logger.propagate

    with warnings.catch_warnings(), _quiet_libtiff():
        for category in (UserWarning, RuntimeWarning):
            # Last in the list: what somebody asked for with -W goes first.
            warnings.filterwarnings("always", category=category, append=True)
        warnings.showwarning = collected.show
        logger.addHandler(collected)
        logger.propagate = False
        try:
            yield
        finally:
            logger.propagate = propagates
            logger.removeHandler(collected)
            collected.tell()


class _Collected(logging.Handler):
    """Counts warnings by what they say; what Pillow logs is a warning, too."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._found = {}  # kind -> [the first text of it, how many]
        self._n_others = 0  # of kinds that are not kept

    def show(self, message, category, filename, lineno, file=None, line=None):
        """Take the place of `warnings.showwarning`."""
        self._add(str(message))

    def emit(self, record):
        self._add(record.getMessage())

    def tell(self):
        if not self._found:
            return

        counts = sorted(self._found.values(), key=lambda found: -found[1])
        n = sum(count for _, count in counts) + self._n_others
        echo("1 warning:" if n == 1 else f"{n:,} warnings:")
        for text, count in counts[:MOST_KINDS]:
            echo(f"  {text}" if count == 1 else f"  {count:,} times: {text}")
        if others := counts[MOST_KINDS:]:
            n = sum(count for _, count in others) + self._n_others
            kinds = "or more " if self._n_others else ""
            echo(f"  ... and {n:,} of {len(others)} {kinds}other kinds")

    def _add(self, text):
        text = " ".join(text.split())
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}..."
        # Images are read by several threads. The lock is that of every handler, which
        # logging makes anew in a forked child.
        kind = re.sub(r"\d+", "0", text)
        with self.lock:
            if kind in self._found or len(self._found) < MOST_KEPT:
                self._found.setdefault(kind, [text, 0])[1] += 1
            else:
                self._n_others += 1


@contextmanager
def _quiet_libtiff():
    """Keep libtiff from writing to standard error, past Python.

    Pillow has no switch for it, and standard error cannot be redirected while a file is
    decoded: other threads write to it. So libtiff's own switch is used, where the
    library can be reached. What is wrong with a file stands in its row all the same.
    """
    switches = []

    try:
        library = ctypes.CDLL(Image.core.__file__)  # it brings libtiff along
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            switch = getattr(library, name)
            switch.restype, switch.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            switches.append((switch, switch(None)))
    except (OSError, AttributeError):
        pass  # built in, or another image library: its lines are seen

    try:
        yield
    finally:
        for switch, before in switches:
            switch(before)
