"""Functions in processes of their own."""

import multiprocessing
import sys


def begin(function, *args):
    """Start a process that calls a function of a module, and return it.

    On Linux it is forked: a new one would import for seconds before it begins.
    """
    how = "fork" if sys.platform == "linux" else "spawn"
    process = multiprocessing.get_context(how).Process(target=function, args=args)
    process.start()
    return process
