"""What the commands hear and say, and the codes with which they end."""

import argparse
import sys

ALL_SCORED, NOT_STARTED, NOTHING_SCORED, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


def say(message):
    """Tell the user something, on standard error.

    Parameters
    ----------
    message : str
        One or more lines.
    """
    print(message, file=sys.stderr, flush=True)


def whole_number(least):
    """Make a reader of whole numbers, as the `type` of an argument.

    Parameters
    ----------
    least : int
        The smallest number that is taken.

    Returns
    -------
    callable
        From what was typed to an int; raises argparse.ArgumentTypeError.
    """

    def read(text):
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number of at least {least}"
            )
        return int(text)

    return read


def share(text):
    """Read a number from 0 to 1.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    float
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it lies outside.
    """
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return float(text)
