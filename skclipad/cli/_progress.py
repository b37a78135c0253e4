"""How far a run has come: a bar where somebody looks, a line where nobody does."""

import time

from tqdm.auto import tqdm

from skclipad.cli._console import duration, echo


def progress_bar(total, what):
    """Return a bar of images, which shows itself if somebody is looking."""
    return tqdm(total=total, desc=what, unit="image", disable=None)


def timed_blocks(run, client, stack):
    """Yield the blocks of a run, and say after the first one how long it will take.

    The bar is closed with the `stack`, also where the run is stopped.
    """
    bar = stack.enter_context(progress_bar(run.n_missing, "Scoring"))
    begun, is_said = time.perf_counter(), False
    for block in run.rows(client, bar):
        yield block

        left = run.n_missing - run.n_done
        if run.n_done and left and not is_said:
            is_said = True
            echo_pace("pictures scored", run.n_done, run.n_missing, begun)


def echo_pace(what, n_done, n, begun):
    """Say how fast something goes that began at a time, and how long the rest takes."""
    pace = (time.perf_counter() - begun) / n_done
    echo(
        f"{n_done:,} of {n:,} {what}, {1 / pace:.1f} a second: "
        f"{duration(pace * (n - n_done))} to go"
    )
