"""Blocks of images on a cluster of Dask: clients, and rows as they come back."""

from collections import deque
from contextlib import contextmanager
from itertools import islice

from skclipad._optional import import_optional
from skclipad.scoring._rows import printable, score_block

PIECES = 16  # parts of a block that killed its workers, to find out which image did
WINDOW = 3  # blocks sent ahead for each thread of the cluster


# What goes out and what comes back


def stream_blocks(client, detector, blocks):
    """Yield pairs of a block and its rows, as they are finished.

    The detector goes to each worker once. Workers may come and go: what a lost one had
    is scored by another. A block whose workers die is cut into pieces, until the images
    that kill them are found; each of these gets a row with an error.
    """
    stream = _Stream(client, detector, blocks)
    try:
        yield from stream.finished()
    finally:
        client.cancel(list(stream.running))


class _Stream:
    """Blocks on their way through a cluster."""

    def __init__(self, client, detector, blocks):
        from distributed import as_completed

        self.client, self.detector = client, detector
        self.running = {}  # future -> its block, its piece of it, and if it is alone
        self._waiting = iter(blocks)
        self._results = as_completed()
        self._suspects = deque()  # pieces of blocks whose workers died
        self._gathered = {}  # start of a block -> its pieces, where it had to be cut
        self._send_detector()

    def finished(self):
        self._send_more()

        for future in self._results:
            block, piece, alone = self.running.pop(future)
            rows = self._rows_of(future, block, piece, alone)
            if rows is not None and (rows := self._join(block, piece, rows)):
                yield block, rows
            future.release()
            self._send_more()

    def _rows_of(self, future, block, piece, alone):
        """Return the rows of a piece, None if its workers died and it is sent again."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            if self._shared.status == "error":  # workers died while they received it
                if alone:
                    raise
                self._send_detector()

        if alone and len(piece) == 1:
            return [_crashing_row(piece.paths[0])]
        self._suspects += [(block, smaller) for smaller in _pieces(piece)]
        return None

    def _join(self, block, piece, rows):
        """Return the rows of a block when all its pieces are there, else None."""
        pieces = self._gathered.setdefault(block.start, {})
        pieces[piece.start] = rows
        if sum(map(len, pieces.values())) < len(block):
            return None

        del self._gathered[block.start]
        return [row for start in sorted(pieces) for row in pieces[start]]

    def _send_detector(self):
        # A task, not scattered data: the scheduler has it made again if every worker
        # that held it has died.
        self._shared = self.client.submit(_received, self.detector, pure=False)

    def _send_more(self):
        # A lost worker makes the window narrower than what is in it.
        window = max(2, WINDOW * sum(self.client.nthreads().values()))
        for block in islice(self._waiting, max(0, window - len(self.running))):
            self._send(block, block, False)

        # A death is put down to all that the worker had before it. So what is
        # suspected is tried with nothing beside it, when all else is done.
        if not self.running and self._suspects:
            self._send(*self._suspects.popleft(), True)

    def _send(self, block, piece, alone):
        future = self.client.submit(score_block, self._shared, piece, pure=False)
        self.running[future] = block, piece, alone
        self._results.add(future)


def _received(detector):
    """Be the task whose result is the detector: one copy a worker."""
    return detector


def _pieces(block):
    step = -(-len(block) // PIECES)
    return [block.part(i, i + step) for i in range(0, len(block), step)]


def _crashing_row(path):
    return {
        "path": printable(path),
        "error": "every process that read it died (of memory, perhaps)",
    }


# Clients


@contextmanager
def open_client(address):
    """Connect to a cluster, or start one on this machine; close it afterwards.

    The address is that of a scheduler, such as "tcp://10.0.0.1:8786", or "local:4" for
    4 processes on this machine. A ValueError tells of any other.
    """
    distributed = import_distributed()
    kind, _, rest = address.partition(":")

    if kind == "local":
        if not rest.isdecimal() or int(rest) < 1:
            raise ValueError(
                f"Got {address!r} but expected a number of processes, as in 'local:4'."
            )
        with _local_cluster(int(rest)) as client:
            yield client
        return

    if "://" not in address:
        raise ValueError(
            f"Got {address!r} but expected 'local:4', or the address of a scheduler "
            "such as 'tcp://10.0.0.1:8786'."
        )
    with distributed.Client(address) as client:
        yield client


def check_client(client):
    """Return a client that can be used: the one given, or else the current one."""
    distributed = import_distributed()

    if client is None:
        try:
            return distributed.get_client()
        except ValueError as error:
            raise ValueError(
                "Got client=None but there is no current client of Dask. Make one, "
                "such as Client(LocalCluster(n_workers=4, threads_per_worker=1)), or "
                "pass it."
            ) from error

    if not isinstance(client, distributed.Client):
        raise TypeError(
            f"Got a client of type {type(client).__name__}, but expected a "
            "distributed.Client; make one of a cluster or an address by Client(it)."
        )

    if client.asynchronous or client.status != "running":
        state = "asynchronous" if client.asynchronous else client.status
        raise ValueError(
            f"Got a client that is {state}, but expected one that is connected and "
            "waits for results; make another, such as Client(address)."
        )
    return client


@contextmanager
def _local_cluster(n_workers):
    import dask
    import distributed

    # A process that dies again while it is started anew is given up for lost after 15
    # seconds by default: with each image that ends processes, one less would be left.
    patience = {"distributed.deploy.lost-worker-timeout": "1 day"}
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}

    with (
        dask.config.set(patience),
        distributed.LocalCluster(n_workers=n_workers, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def import_distributed():
    """Import Dask's distributed, and see that pyarrow is there too."""
    import_optional("pyarrow", "dask")
    return import_optional("distributed", "dask")
