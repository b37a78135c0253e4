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
            pace = (time.perf_counter() - begun) / run.n_done
            echo(
                f"{run.n_done:,} of {run.n_missing:,} pictures scored, {1 / pace:.1f} "
                f"a second: about {duration(pace * left)} to go"
            )
