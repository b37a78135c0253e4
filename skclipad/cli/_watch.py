"""``skclipad watch``: images scored as they come into a folder."""

import contextlib
import os
import queue
import signal
import threading
import time
from datetime import datetime
from pathlib import Path

from skclipad._images.video import is_address, shown_address
from skclipad._storage.files import full_path
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad._storage.stopped import Work
from skclipad.cli._console import ALL_SCORED, echo
from skclipad.cli._detectors import (
    load_detector,
    new_detector,
    ready_to_score,
    run_identity,
)
from skclipad.cli._files import checked_table
from skclipad.cli._growing import GrowingTable, growing_columns, is_there
from skclipad.cli._pictures import (
    folder_identity,
    image_filter,
    images_in,
    path_as_named,
)
from skclipad.cli._tasks import Command, Mover, Tasks
from skclipad.cli._weights import check_weights
from skclipad.scoring._camera import Camera
from skclipad.scoring._rows import row_columns
from skclipad.scoring._watch import Watch, changes_in

EVERY = 25  # frames of a stream of which one is kept: one a second of most cameras
LOOK_AGAIN = 60.0  # seconds after which the folder is looked through, events or not
WITHOUT_EVENTS = 5.0  # seconds, where the system does not tell what changes
LOOKING_SHARE = 10  # seconds without looking for each second that it takes
ANSWER = 1.0  # seconds after which Ctrl-C is heard at the latest, whatever it came upon


def run(args):
    """Score what comes into a folder until Ctrl-C or SIGTERM."""
    folder = _checked_folder(args)
    _check(args, folder)
    target = checked_table(args.output)
    _check_rows(target)
    command = None if args.execute is None else Command(args.execute)
    detector = _detector(args)
    components = ready_to_score(detector)
    if args.threshold is not None:
        detector.set_params(threshold=args.threshold)

    acts = args.execute is not None or args.move is not None
    above = detector.threshold if args.above is None else args.above
    columns = growing_columns(row_columns(components))
    identity = run_identity(detector)
    with Ledger(ledger_path(target), identity) as ledger, Work() as work:
        watch = Watch(
            detector,
            ledger,
            above=above if acts else None,
            settle=args.settle,
            patience=args.patience,
        )
        mover = None if args.move is None else Mover(args.move, folder)
        tasks = Tasks(ledger, tell, command, mover)
        table = GrowingTable(target, columns, ledger, detector.threshold)

        work.begin(lambda: f"{len(ledger):,} rows are kept; the same command goes on")
        session = _Session(folder, args.move, watch, tasks, table, ledger, above)
        if acts:
            tell(f"above {above!r} {_action(args)}")
        with _camera(args, folder, watch):
            session.run(args.poll)
        echo(f"{target}: {len(ledger):,} rows")
    return ALL_SCORED


def _action(args):
    if args.move is not None:
        return f"pictures are moved to {args.move}"
    return f"{args.execute!r} is run for each picture"


def tell(message):
    """Say something at its time, on standard error."""
    echo(f"{datetime.now():%H:%M:%S} {message}")


def _detector(args):
    """Load the detector that scores, or fit it."""
    if args.detector:
        return load_detector(args)
    check_weights(args)
    return new_detector(args).fit()


def _checked_folder(args):
    """Return the folder that is watched: of a stream the one for its frames."""
    if is_address(args.source):
        if args.frames is None:
            raise ValueError(
                f"{shown_address(args.source)} is a stream, which needs --frames DIR, "
                "the folder to keep its frames in: they are scored there."
            )
        Path(args.frames).mkdir(parents=True, exist_ok=True)
        return args.frames

    if args.frames is not None or args.every is not None:
        raise ValueError(
            f"--frames and --every are for the address of a stream, but {args.source} "
            "is none. Frames of video files are scored by `skclipad score --every`."
        )
    if not os.path.isdir(args.source):
        raise ValueError(
            f"{args.source} is no folder, but expected the one into which pictures "
            "come. Make it, or look for a slip in the name."
        )
    return args.source


def _check(args, folder):
    """Refuse what does not go together."""
    if args.above is not None and args.execute is None and args.move is None:
        raise ValueError("--above needs --exec CMD or --move DIR, to be done above it.")
    if args.move is not None:
        Path(args.move).mkdir(parents=True, exist_ok=True)
        if folder_identity(args.move) == folder_identity(folder):
            raise ValueError(
                f"--move {args.move} is the folder that is watched, but expected "
                "another one."
            )


def _check_rows(target):
    """Refuse a table that no watch wrote: its rows would be lost."""
    if target.exists() and not ledger_path(target).exists():
        raise ValueError(
            f"{target} was written by `skclipad score` without --update, and its rows "
            "would be lost. Name another output, or move it away."
        )


def _camera(args, folder, watch):
    """Return what keeps the frames of a stream, or a context that does nothing."""
    if not is_address(args.source):
        return contextlib.nullcontext()
    every = EVERY if args.every is None else args.every
    return Camera(args.source, folder, every, tell, lambda: len(watch.arrivals))


class _Session:
    """One run of the watch: hear what changes, score, act, write the table."""

    def __init__(self, folder, leave_out, watch, tasks, table, ledger, above):
        self._folder, self._leave_out = os.path.normpath(folder), leave_out
        self._watch, self._tasks = watch, tasks
        self._table, self._ledger, self._above = table, ledger, above
        self._is_image = image_filter(self._folder, leave_out)
        self._news = queue.SimpleQueue()  # paths that changed; None to wake up
        self._next_look, self._is_lost = 0.0, False
        self._trouble = None  # what keeps the table from being written

    def run(self, poll):
        """Watch until a signal ends it; at the end the table has all rows."""
        with contextlib.ExitStack() as stack:
            pause = self._listen(stack, poll)
            stop = stack.enter_context(_stop_by_signal(self._news))
            self._table.touch()

            while not stop.is_set():
                self._hear()
                if time.monotonic() >= self._next_look:
                    self._look(pause)
                self._score()
                if self._tasks.work_off(stop.is_set):
                    self._table.touch()
                if self._table.due_in() == 0:
                    self._write()
                self._wait()

        # What is gone since the last look is marked, too.
        self._look(pause)
        self._table.write()

    def _listen(self, stack, poll):
        """Begin to hear what changes; return the seconds between looks."""
        heard, pause = "a look", poll
        if poll is None:
            try:
                stack.enter_context(changes_in(self._folder, self._news.put))
                heard, pause = "what the system tells, and a look", LOOK_AGAIN
            except (ImportError, OSError) as error:
                pause = WITHOUT_EVENTS
                tell(f"the system does not tell what changes: {error}")
        tell(
            f"watching {self._folder} by {heard} every {pause:g} s; "
            f"{len(self._ledger):,} rows so far. Ctrl-C ends it"
        )
        return pause

    def _hear(self):
        """Take note of what has changed."""
        with contextlib.suppress(queue.Empty):
            while True:
                path = self._news.get_nowait()
                if path is None:
                    continue
                path = os.path.normpath(os.fsdecode(path))
                if os.path.isdir(path):
                    self._next_look = 0.0
                    continue
                path = path_as_named(path, self._folder)
                if self._is_image(path):
                    self._watch.arrivals.note(path)

    def _look(self, pause):
        """Look through the folder for what is new, has changed or is gone."""
        begun = time.monotonic()
        try:
            found = images_in(self._folder, self._leave_out)
        except OSError as error:
            # A drive that is away for a while: nothing of it counts as gone.
            if not self._is_lost:
                tell(f"{self._folder} cannot be looked through ({error}): waiting")
            self._is_lost, self._next_look = True, begun + pause
            return

        if self._is_lost:
            tell(f"{self._folder} is back")
        self._is_lost = False
        for path in found:
            self._watch.arrivals.note(path)
        self._mark_gone({full_path(path) for path in found})
        now = time.monotonic()
        self._next_look = now + max(pause, LOOKING_SHARE * (now - begun))

    def _mark_gone(self, found):
        root = os.path.join(full_path(self._folder), "")

        def is_still_there(path):
            if not path.startswith(root):
                return None
            return path in found or is_there(path)

        if self._ledger.mark_gone(is_still_there):
            self._table.touch()

    def _score(self):
        """Score a batch of what is complete, and say what came of it."""
        rows = self._watch.score_next()
        if not rows:
            return
        self._table.touch()

        failed = [row for row in rows if "score" not in row]
        more = f", {len(failed):,} of them without a score" if failed else ""
        waiting = len(self._watch.arrivals)
        more += f"; {waiting:,} more are there" if waiting else ""
        scores = [row["score"] for row in rows if "score" in row]
        if scores:
            n_above = sum(score > self._above for score in scores)
            more = f", {n_above:,} above, the highest {max(scores):.3f}{more}"
        tell(f"{len(rows):,} scored{more}")
        for row in failed:
            tell(f"{row['path']}: {row['error']}")

    def _write(self):
        trouble = None
        try:
            self._table.write()
        except (BlockingIOError, PermissionError) as error:  # somebody has it just now
            trouble = str(error)
        if trouble not in (None, self._trouble):
            tell(f"{trouble} It is tried again and again.")
        self._trouble = trouble

    def _wait(self):
        """Wait until something is to be done or has changed, or for a moment."""
        due = [ANSWER, self._watch.arrivals.next_look(), self._table.due_in()]
        due.append(self._next_look - time.monotonic())
        seconds = min(time for time in due if time is not None)
        if seconds <= 0:
            return
        with contextlib.suppress(queue.Empty):
            self._news.put(self._news.get(timeout=seconds))


@contextlib.contextmanager
def _stop_by_signal(news):
    """Give an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once."""
    stop, before = threading.Event(), {}

    def handle(number, frame):
        stop.set()
        signal.signal(number, before[number] or signal.SIG_DFL)
        news.put(None)
        # Not by `echo`: a line that it is just writing must not be written into.
        with contextlib.suppress(OSError):
            os.write(2, b"ending with the table written; once more ends at once\n")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell lets what runs in the background ignore Ctrl-C: so it stays.
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
