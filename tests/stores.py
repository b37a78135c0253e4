"""Embedding stores for tests, in this process and in others."""

import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

PACKAGE = pathlib.Path(__file__).parents[1]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux calls")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def put_numbered(store, numbers, prefix="k"):
    """Put, under the key of each number, a small array that holds the number."""
    numbers = list(numbers)
    put = [np.full((3, 2), number, dtype=np.float32) for number in numbers]
    store.put_many([f"{prefix}{number}" for number in numbers], put)


def numbered(store, numbers, prefix="k"):
    """Read what `put_numbered` put: the number of each key, None where it is absent."""
    found = store.get_many([f"{prefix}{number}" for number in numbers])
    assert all(array is None or array.shape == (3, 2) for array in found)
    assert all(array is None or len(np.unique(array)) == 1 for array in found)
    return [None if array is None else int(array[0, 0]) for array in found]


@contextlib.contextmanager
def sqlite(path):
    """Open the file behind the store's back."""
    connection = sqlite3.connect(path)
    with contextlib.closing(connection), connection:
        yield connection


PROLOGUE = """
import os, sys, warnings
import numpy as np
from skclipad._storage.store import open_store, store_key

def put_numbered(store, numbers, prefix="k"):
    numbers = list(numbers)
    put = [np.full((3, 2), number, dtype=np.float32) for number in numbers]
    store.put_many([f"{prefix}{number}" for number in numbers], put)

folder = sys.argv[1]
"""


def start(program, *arguments):
    """Run a program in another process, with the helpers above."""
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program, *map(str, arguments)],
        cwd=PACKAGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process):
    """Wait for a process of `start`; return the lines it printed."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines()
