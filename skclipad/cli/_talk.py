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


def positive(text):
    """Read a whole number of at least 1.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    int
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is smaller.
    """
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)


def count(text):
    """Read a whole number of at least 0.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    int
        The number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is smaller.
    """
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return int(text)


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
