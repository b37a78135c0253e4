"""The command line: ``skclipad``, or ``python -m skclipad``."""

import argparse
import difflib
import gc
import os
import re
import sys

import skclipad
from skclipad._storage.stopped import StoppedError
from skclipad.cli._arguments import add_arguments
from skclipad.cli._console import INTERRUPTED, NOT_STARTED, echo, echo_error
from skclipad.cli._faults import is_full_disk, tell_fault
from skclipad.cli._parameters import in_options
from skclipad.cli._warnings import summed_up_warnings

__all__ = ["main"]

DESCRIPTION = """\
Find damaged, broken or defective things in pictures without any training picture.

A detector is trained on random words in a few seconds or minutes ("fit"), kept in a
small file, and gives each picture a score from 0 (normal) to 1 (anomalous)."""
EPILOG = """\
examples:
  skclipad demo                            a first look, without network
  skclipad fit -o detector.joblib          train; no picture is needed
  skclipad score photos/ -d detector.joblib -o scores.csv --report report.html
  skclipad score a.jpg b.jpg --model lite  fit and score in one go, without network
  skclipad threshold scores.csv --labels labels.csv --recall 0.99
  skclipad watch photos/ -d detector.joblib -o scores.csv   as pictures come
  skclipad export -d detector.joblib -o detector.onnx
  skclipad info                            versions, device, bundled models

"skclipad COMMAND --help" lists the options of a command, with more examples.

exit codes: 0 everything scored; 1 not started (wrong arguments, missing weights);
            2 nothing scored; 3 some pictures failed; 4 stopped by an error after
            it had begun (memory, a full disk ...); 130 interrupted"""
COMMANDS = {
    "demo": "Fit, and score photos that come along, without network",
    "fit": "Train a detector on random words; no picture needed",
    "score": "Score pictures, one row each, as CSV, JSON lines or Parquet",
    "threshold": "Choose a threshold by labels, or suggest one without",
    "drift": "Say whether scores are spread as those of a reference",
    "watch": "Score pictures as they come into a folder, for as long as it runs",
    "export": "Write a detector as an ONNX graph, from pixels to scores",
    "benchmark": "Measure the method on a data set, as the paper does",
    "info": "Show versions, device, models, and what a detector is",
}


def main(argv=None):
    """Run one command of the command line.

    Results go to files or standard output, all that is said about them to standard
    error.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments without the program's name; those of the process if None.

    Returns
    -------
    int
        Exit code: 0 everything scored, 1 not started (wrong arguments, missing
        weights), 2 nothing scored, 3 some pictures failed, 4 stopped by an error after
        it had begun, 130 interrupted.

    Examples
    --------
    >>> from skclipad.cli import main
    >>> main(["--version"])
    skclipad ...
    0
    """
    is_process = argv is None
    if is_process:
        argv = sys.argv[1:]
        # Threads of OpenMP that wait for each other keep their cores busy. Where others
        # work on these, that makes small products many times slower than they need be.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        # Letters that the terminal does not know are written with escapes.
        if getattr(sys.stdout, "errors", None) == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")

    argv = list(argv)
    try:
        args = _parse(argv)
    except SystemExit as stop:  # argparse's own way out
        return stop.code

    args.command_line = ["skclipad", *argv]
    try:
        with summed_up_warnings():
            return _run(args)
    finally:
        _let_go_of_output()
        if is_process:
            # Else Python ends by looking through half a million objects for cycles.
            gc.freeze()


def _run(args):
    """Run a command and return its exit code, whatever happens on the way."""
    try:
        code = _module_of(args.command).run(args)
        sys.stdout.flush()  # here a full disk can still be told
        return code
    except KeyboardInterrupt:
        echo("skclipad: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # say, `skclipad score ... | head`: end quietly
        return INTERRUPTED
    except StoppedError as stop:
        return tell_fault(args.command, stop.__cause__, stop.kept)
    except Exception as error:
        refusal = isinstance(error, (ImportError, OSError, ValueError))
        if not refusal or is_full_disk(error):
            return tell_fault(args.command, error)

        # The message says what to do; a traceback would bury it.
        echo_error(f"skclipad {args.command}: {in_options(str(error))}")
        return NOT_STARTED


class _Parser(argparse.ArgumentParser):
    """A parser whose errors exit with 1: here 2 means that nothing was scored."""

    def error(self, message):
        echo(f"{self.prog}: {message}\n`{self.prog} --help` says how it is used.")
        self.exit(NOT_STARTED)


def _parse(argv):
    parser = _Parser(
        prog="skclipad",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"skclipad {skclipad.__version__}"
    )

    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv[:1]:
            chosen = command
            if name == "benchmark":
                _module_of(name).add_arguments(command)
            else:
                add_arguments(name, command)

    args, unknown = parser.parse_known_args(argv)
    if unknown:
        chosen.error(_unknown(unknown, chosen))
    return args


def _unknown(arguments, parser):
    """Say which arguments a command does not know, and what may be meant."""
    options = re.findall(r"-[\w-]+", parser.format_usage())
    near = [
        option
        for argument in arguments
        for option in difflib.get_close_matches(argument.split("=")[0], options, n=1)
    ]
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return f"unrecognized arguments: {' '.join(arguments)}.{hint}"


def _module_of(name):
    """Import the module of a command.

    Each has `run(args)`, which returns the exit code. Only the one that is called is
    imported, when its arguments are known to be right: it takes seconds.
    """
    if name == "demo":
        import skclipad.cli._demo as module
    elif name == "fit":
        import skclipad.cli._fit as module
    elif name == "score":
        import skclipad.cli._score as module
    elif name == "threshold":
        import skclipad.cli._threshold as module
    elif name == "drift":
        import skclipad.cli._drift as module
    elif name == "watch":
        import skclipad.cli._watch as module
    elif name == "export":
        import skclipad.cli._export as module
    elif name == "benchmark":
        import skclipad.paper._command as module
    else:
        import skclipad.cli._info as module
    return module


def _let_go_of_output():
    """Let the interpreter end quietly where standard output takes nothing any more."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads on, or the disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
