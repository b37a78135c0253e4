"""What the commands hear and say, and the codes with which they end."""

import argparse
import shutil
import sys
import textwrap

ALL_SCORED, NOT_STARTED, NOTHING_SCORED, SOME_FAILED, STOPPED = 0, 1, 2, 3, 4
INTERRUPTED = 130
MARGIN = 16  # letters of names beside which values stand, at least


def echo(message):
    """Tell the user something, on standard error."""
    print(message, file=sys.stderr, flush=True)


def echo_error(message):
    """Tell the user why it ends, in lines as wide as the terminal if there is one."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        wrapped = {"break_long_words": False, "break_on_hyphens": False}
        lines = message.splitlines()
        message = "\n".join(textwrap.fill(line, width, **wrapped) for line in lines)
    echo(message)


def print_aligned(lines):
    """Print pairs of a name and a value, the values below each other."""
    lines = list(lines)
    width = max(MARGIN, *(len(name) for name, _ in lines))
    for name, value in lines:
        print(f"{name:<{width}} {value}".rstrip())


def width_of_output():
    """Return the columns of the terminal on standard output, None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def duration(seconds):
    """Write a time for people: seconds up to two minutes, then minutes, then hours."""
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def whole_number(least):
    """Make a reader of whole numbers, `least` or more, as `type` of an argument."""

    def read(text):
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number of at least {least}"
            )
        return int(text)

    return read


def one_of(*names):
    """Make a reader of one of some names, as `type` of an argument."""

    def read(text):
        if text not in names:
            *others, last = map(repr, names)
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {', '.join(others)} or {last}"
            )
        return text

    return read


def all_or_number(text):
    """Read "all" or a whole number of 1 or more, as the `type` of an argument."""
    return text if text == "all" else whole_number(1)(text)


def share(text):
    """Read a number from 0 to 1, as the `type` of an argument."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return float(text)


def seconds(text):
    """Read a time in seconds, more than none, as the `type` of an argument."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds")
    return float(text)
