"""What is done in another way on Windows."""

import os
import shlex
import subprocess

WINDOWS = os.name == "nt"


def shell_line(words):
    """Write words as a line to copy: cmd.exe knows no single quotes."""
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)
