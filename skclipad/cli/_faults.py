"""What stops a command that has begun, told to its user without a traceback."""

import errno
import sys
import traceback
from pathlib import Path

from skclipad.cli._console import STOPPED, echo_error
from skclipad.cli._parameters import in_options

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Errors whose message is written for users, ours and those of torch among them.
_EXPLAINED = (OSError, ValueError, ImportError, RuntimeError)


def is_full_disk(error):
    """Tell whether an error says that a disk is full."""
    return (isinstance(error, OSError) and error.errno in _FULL) or (
        "disk is full" in str(error)  # SQLite's words
    )


def tell_fault(command, error, kept=""):
    """Say what stopped a command and what is kept of its work; return the exit code."""
    if sys.flags.dev_mode:
        traceback.print_exception(error)
    echo_error(f"skclipad {command}: stopped: {_explained(error)}")
    if kept:
        echo_error(f"skclipad {command}: {kept}.")
    return STOPPED


def _explained(error):
    text = in_options(str(error)).strip()
    if is_full_disk(error):
        name = getattr(error, "filename", None)
        return (
            f"no space is left on the disk{f' of {name}' if name else ''}. Make room."
        )

    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        reason = text.splitlines()[0].rstrip(".") if text else "of this machine"
        return f"out of memory ({reason}). A smaller --batch-size needs less."

    if isinstance(error, _EXPLAINED) and text:
        return text
    return (
        f"{type(error).__name__}: {text} ({_place(error)}), which nobody expected: "
        "please report it. With PYTHONDEVMODE=1 in the environment all that led to it "
        "is shown."
    )


def _place(error):
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "of an unknown place"
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
