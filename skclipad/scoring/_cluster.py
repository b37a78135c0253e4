"""Scores of any number of pictures, on a cluster of Dask."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping, Set
from contextlib import contextmanager
from itertools import islice
from numbers import Integral
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skclipad._detector import RandomWordCLIPDetector
from skclipad._inputs import column_names, column_of
from skclipad._storage.locks import written_by_one
from skclipad.scoring._rows import (
    NAMELESS,
    detector_identity,
    detector_of_rows,
    printable,
    row_columns,
    score_rows,
)

__all__ = ["score_distributed"]

MANIFEST = "_manifest.json"  # readers of Parquet folders pass over "_"
FORMAT = 2  # of the folder; raised when it changes
PIECES = 16  # parts of a block that killed its workers, to find out which picture did
STAMPED = 4096  # files that a task of a worker looks at, to see which have changed
STAMPS_AHEAD = 64  # such tasks sent at a time
WINDOW = 3  # blocks sent ahead for each thread of the cluster


def score_distributed(detector, X, client=None, *, out, block_size=256):
    """Score pictures on a cluster, into a folder of Parquet files.

    The detector is sent to each worker once, and each worker loads the CLIP once; paths
    go out, rows come back, and no picture travels. A picture that cannot be read is a
    row with an error; so is one that each process dies of that reads it. Workers may
    come and go.

    Blocks are written as they finish, under a temporary name first, to
    ``OUT.partial``, which is renamed to ``OUT`` when all are there: what is called
    ``OUT`` is whole. A run that died is called again with the same arguments, and
    computes only the blocks that are missing. So is one whose images have changed, by
    size or time: their blocks are scored again, and until that is done ``OUT`` is
    called ``OUT.partial``.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector. Its weights must be found on each worker.
    X : sequence of str or path-like, DataFrame or Table
        Paths of the images, as the workers see them; or a table (pandas, polars,
        pyarrow) with a column "image" of paths, perhaps a column "object" of what they
        show, and any others, which are handed on.
    client : distributed.Client, default=None
        The cluster; the current client if None.
    out : str or path-like
        Folder to make. It is written by this process, not by the workers.
    block_size : int, default=256
        Pictures that a worker scores at a time.

    Returns
    -------
    sklearn.utils.Bunch
        ``path``, the folder, and the counts ``n_rows``, ``n_failed`` (rows with an
        error), ``n_blocks`` and ``n_blocks_before``, those of an earlier run.

    Raises
    ------
    ImportError
        If the extra "dask" is not installed.
    ValueError
        If X has no images, no column "image", or a column that the result has too;
        if there is no client, or one that is closed or asynchronous; if `block_size` is
        not positive; or if ``OUT.partial`` was begun with other arguments.
    TypeError
        If X holds anything but paths, or another argument is of another type.
    FileExistsError
        If `out` holds something else than the result of this very call.
    BlockingIOError
        If another run writes to `out`.

    See Also
    --------
    RandomWordCLIPDetector.score_components : The same on one machine.

    Notes
    -----
    The files have the columns ``row`` (0 for the first picture of X), ``path``,
    ``score``, ``label``, ``s_pr``, ``s_fnn``, ``s_img`` (empty without references),
    ``error``, and those of X; all rows of X are there, in its order, when the files are
    read by name, as ``pandas.read_parquet(out)`` does.

    Runs are told apart by what `fit` learnt, references among it, by the settings that
    matter and by the names of the images. A function given as `crops` counts as the
    same if it is imported under the same name and its source is the same; a lambda, or
    any other callable that no import finds, never does: each call with one needs an
    `out` of its own, and is not gone on with.

    Give workers one thread each (``threads_per_worker=1``) and as many as there are
    cores or GPUs: a thread is a picture decoded and a model used, and torch has threads
    of its own.

    Examples
    --------
    >>> import os, tempfile
    >>> from distributed import Client
    >>> from PIL import Image
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.scoring._cluster import score_distributed
    >>> detector = RandomWordCLIPDetector(
    ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
    ... ).fit()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     picture = os.path.join(folder, "a.png")
    ...     Image.new("RGB", (64, 64)).save(picture)
    ...     with Client(processes=False, dashboard_address="127.0.0.1:0") as client:
    ...         run = score_distributed(
    ...             detector,
    ...             [picture, "gone.png"],
    ...             client,
    ...             out=os.path.join(folder, "scores"),
    ...         )
    >>> run.n_rows, run.n_failed
    (2, 1)
    """
    _check_arguments(detector, out, block_size)
    client = _client(client)
    paths, objects, others = _inputs(X)
    out = Path(out)
    detector = detector_of_rows(detector)
    manifest = {
        "format": FORMAT,
        "block_size": int(block_size),
        "n_rows": len(paths),
        "pictures": _digest(paths, others),
        **detector_identity(detector),
    }
    blocks = [
        range(first, min(first + block_size, len(paths)))
        for first in range(0, len(paths), block_size)
    ]
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out}: the folder {out.parent} does not exist.")
    with written_by_one(out):
        # Looked at before they are read: an image that changes in between has the wrong
        # stamp, and is scored again by the next call.
        stamps = _stamps(client, paths, blocks)
        folder = out.with_name(out.name + ".partial")
        if out.exists():
            _check_finished(out, manifest)
            summary = _summary(out, blocks, n_before=len(blocks))
            if not _missing(out, blocks, stamps):
                return summary
            _reopen(out, folder)

        _begin(folder, manifest)
        missing = _missing(folder, blocks, stamps)
        for block, rows in stream_blocks(client, detector, paths, objects, missing):
            _write_part(folder, block, rows, others, stamps[block.start])
        os.replace(folder, out)
    return _summary(out, blocks, n_before=len(blocks) - len(missing))


def _check_arguments(detector, out, block_size):
    if not isinstance(detector, RandomWordCLIPDetector):
        raise TypeError(
            f"Got a detector of type {type(detector).__name__}, but expected a fitted "
            "RandomWordCLIPDetector; of a pipeline pass its last step."
        )
    check_is_fitted(detector)
    if not isinstance(out, (str, os.PathLike)) or not Path(out).name:
        raise TypeError(
            f"Got out={out!r}, but expected the name of a folder to make, such as "
            "'scores'."
        )
    if not isinstance(block_size, Integral) or isinstance(block_size, bool):
        raise TypeError(
            f"Got block_size={block_size!r}, but expected an int: how many images a "
            "worker scores at a time, such as 256."
        )
    if block_size < 1:
        raise ValueError(
            f"Got block_size={block_size}, but expected 1 or more: how many images a "
            "worker scores at a time, such as 256."
        )


# What goes out and what comes back


def stream_blocks(client, detector, paths, objects, blocks):
    """Yield the rows of blocks as they are finished.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    detector : RandomWordCLIPDetector
        From `skclipad.scoring._rows.detector_of_rows`.
    paths : sequence of str
        Paths of all pictures.
    objects : sequence of str or None
        What they show.
    blocks : iterable of range
        Rows to score together.

    Yields
    ------
    block : range
        One of `blocks`.
    rows : list of dict
        Its rows; see `skclipad.scoring._rows.score_rows`.
    """
    from distributed import KilledWorker, as_completed

    shared = _send_detector(client, detector)
    running, results = {}, as_completed()
    suspects = deque()  # pieces of blocks whose workers died
    gathered = {}  # first row of a block -> its pieces, where it had to be cut

    def send(block, piece, alone):
        chosen = [paths[row] for row in piece]
        named = None if objects is None else [objects[row] for row in piece]
        future = client.submit(_score, shared, chosen, named, pure=False)
        running[future] = block, piece, alone
        results.add(future)

    def send_more():
        # A lost worker makes the window narrower than what is in it.
        for block in islice(blocks, max(0, _window(client) - len(running))):
            send(block, block, False)
        # A death is put down to all that the worker had before it. So what is
        # suspected is tried with nothing beside it, when all else is done.
        if not running and suspects:
            send(*suspects.popleft(), True)

    blocks = iter(blocks)
    try:
        send_more()
        for future in results:
            block, piece, alone = running.pop(future)
            try:
                rows = future.result()
            except KilledWorker:
                if shared.status == "error":  # workers died while they received it
                    if alone:
                        raise
                    shared = _send_detector(client, detector)
                if not alone or len(piece) > 1:
                    suspects += [(block, smaller) for smaller in _pieces(piece)]
                    send_more()
                    continue
                rows = [_deadly(paths[piece[0]])]
            pieces = gathered.setdefault(block.start, {})
            pieces[piece.start] = rows
            if sum(map(len, pieces.values())) == len(block):
                del gathered[block.start]
                yield block, [row for start in sorted(pieces) for row in pieces[start]]
            future.release()
            send_more()
    finally:
        client.cancel(list(running))


def stream_rows(client, detector, paths, block_size=64):
    """Yield the rows of pictures block by block, in their order.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    detector : RandomWordCLIPDetector
        From `skclipad.scoring._rows.detector_of_rows`.
    paths : sequence of str
        The pictures.
    block_size : int, default=64
        Pictures that a worker scores at a time.

    Yields
    ------
    list of dict
        Rows; see `skclipad.scoring._rows.score_rows`.
    """
    blocks = [
        range(first, min(first + block_size, len(paths)))
        for first in range(0, len(paths), block_size)
    ]
    early, expected = {}, 0
    for block, rows in stream_blocks(client, detector, paths, None, blocks):
        early[block.start] = rows
        while expected in early:
            rows = early.pop(expected)
            expected += len(rows)
            yield rows


def _send_detector(client, detector):
    # A task, not scattered data: the scheduler has it made again if every worker that
    # held it has died.
    return client.submit(_received, detector, pure=False)


def _received(detector):
    """Be the task whose result is the detector: one copy a worker."""
    return detector


def _score(detector, paths, objects):
    if objects is None:
        return score_rows(detector, paths)
    names = ("image", "object")
    return score_rows(detector, Bunch(columns=names, image=paths, object=objects))


def _window(client):
    return max(2, WINDOW * sum(client.nthreads().values()))


def _pieces(block):
    step = -(-len(block) // PIECES)
    return [block[first : first + step] for first in range(0, len(block), step)]


def _deadly(path):
    return {
        "path": printable(path),
        "error": "every process that read it died (of memory, perhaps)",
    }


@contextmanager
def open_client(address):
    """Connect to a cluster, or start one on this machine.

    Parameters
    ----------
    address : str
        Of a scheduler, such as "tcp://10.0.0.1:8786"; or "local:4" for 4 processes on
        this machine.

    Yields
    ------
    distributed.Client
        The client, closed afterwards, with the processes that were started.

    Raises
    ------
    ImportError
        If the extra "dask" is not installed.
    ValueError
        If the address is of neither kind.
    OSError
        If no scheduler answers there.
    """
    distributed = _distributed()
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


def _client(client):
    distributed = _distributed()
    if client is not None:
        return _checked_client(client, distributed)
    try:
        return distributed.get_client()
    except ValueError as error:
        raise ValueError(
            "Got client=None but there is no current client of Dask. Make one, such as "
            "Client(LocalCluster(n_workers=4, threads_per_worker=1)), or pass it."
        ) from error


def _checked_client(client, distributed):
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
    # seconds by default: with each picture that ends processes, one less would be left.
    patience = {"distributed.deploy.lost-worker-timeout": "1 day"}
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(patience),
        distributed.LocalCluster(n_workers=n_workers, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _distributed():
    try:
        import distributed
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Scoring on a cluster needs Dask and pyarrow, which could not be imported "
            f"({error}). Install them with `pip install 'skclipad[dask]'`."
        ) from error
    return distributed


# The input


def _inputs(X):
    """Return paths, objects or None, and a pyarrow.Table of the other columns."""

    others = None
    if (names := column_names(X)) is not None:
        column = "image" if "image" in names or not names else names[0]
        if column not in names or (column != "image" and len(names) > 1):
            raise ValueError(
                f"Got a {type(X).__name__} with the columns {names}, but expected one "
                "named 'image' with the paths of the images."
            )
        items = list(column_of(X, column))
        others = _arrow_table(X, [name for name in names if name != column])
        taken = {"row", *row_columns(())} & set(others.column_names)
        if taken:
            raise ValueError(
                f"Got a {type(X).__name__} with the columns {sorted(taken)}, which the "
                "result has too; rename or drop them."
            )
    elif isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(
            f"Got the single path {X!r}, but expected several; pass [path]."
        )
    elif isinstance(X, (Mapping, Set)) or not hasattr(X, "__iter__"):
        raise TypeError(
            f"Got X of type {type(X).__name__}, but expected paths in some order: a "
            "list of them, or a DataFrame with a column 'image'."
        )
    else:
        items = list(X)
    for row, item in enumerate(items):
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(
                f"Got an object of type {type(item).__name__} in row {row}, but "
                "expected a path: pictures stay where they are, and workers read them. "
                "Write them to files first."
            )
    if not items:
        raise ValueError("Got no pictures, but expected at least one.")
    objects = None
    if others is not None and "object" in others.column_names:
        objects = others.column("object").to_pylist()
    return [os.fsdecode(item) for item in items], objects, others


def _arrow_table(X, names):
    """Return columns of a table as a pyarrow.Table; of pandas with the index."""
    import pyarrow

    if isinstance(X, pyarrow.RecordBatch):
        X = pyarrow.Table.from_batches([X])
    if isinstance(X, pyarrow.Table):
        return X.select(names)
    polars = hasattr(X, "to_arrow")
    return X[names].to_arrow() if polars else pyarrow.Table.from_pandas(X[names])


def _digest(paths, others):
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(os.fsencode(path) + b"\0")
    if others is not None:
        for name, column in zip(others.column_names, others.columns, strict=True):
            digest.update(repr((name, column.to_pylist())).encode())
    return digest.hexdigest()


def _stamps(client, paths, blocks):
    """Return by first row what tells the files of each block from changed ones.

    Workers look at them: this process may not see them.
    """
    step = max(1, STAMPED // len(blocks[0]))
    bundles = [blocks[i : i + step] for i in range(0, len(blocks), step)]
    stamps = []
    for i in range(0, len(bundles), STAMPS_AHEAD):
        named = [
            [[paths[row] for row in block] for block in bundle]
            for bundle in bundles[i : i + STAMPS_AHEAD]
        ]
        for found in client.gather(client.map(_stamps_of, named, pure=False)):
            stamps += found
    return {block.start: stamp for block, stamp in zip(blocks, stamps, strict=True)}


def _stamps_of(blocks):
    return [_stamp(paths) for paths in blocks]


def _stamp(paths):
    """Digest size and time of files; those that cannot be looked at have none."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            status = os.stat(path)
            digest.update(f"{status.st_size} {status.st_mtime_ns}\0".encode())
        except (OSError, ValueError):
            digest.update(b"none\0")
    return digest.hexdigest()


# The folder


def _missing(folder, blocks, stamps):
    """Return the blocks that have no whole part, or one of files that have changed."""
    counts = ((block, _part_counts(folder, block)) for block in blocks)
    return [
        block
        for block, found in counts
        if found is None or found["images"] != stamps[block.start]
    ]


def _reopen(out, folder):
    """Make a finished folder an unfinished one."""
    if folder.exists():
        raise FileExistsError(
            f"{folder} exists beside {out}, some of whose images have changed and are "
            "to be scored again there. Remove one of the two."
        )
    os.replace(out, folder)


def _begin(folder, manifest):
    """Make the folder of parts, or check that it was begun by such a run."""
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    begun_with = _read_manifest(folder)
    if begun_with is None:
        _replace(folder / MANIFEST, lambda path: path.write_text(_json(manifest)))
    elif begun_with != manifest:
        raise ValueError(
            f"{folder} was left by a run with {_differences(begun_with, manifest)}, "
            "but expected the same arguments: their rows do not belong together. Call "
            "it as before, remove that folder, or name another output."
        )


def _check_finished(out, manifest):
    if (made_with := _read_manifest(out)) != manifest:
        raise FileExistsError(
            f"{out} exists, "
            + (
                "and no run of score_distributed made it"
                if made_with is None
                else f"made with {_differences(made_with, manifest)}"
            )
            + ". Remove it, or name another output."
        )


def _read_manifest(folder):
    try:
        return json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None


def _json(manifest):
    return json.dumps(manifest, indent=1) + "\n"


def _differences(one, other):
    names = sorted(n for n in one | other if one.get(n) != other.get(n))
    never = any(NAMELESS in str(other.get(name)) for name in names)
    return "another " + ", ".join(names) + (f" ({NAMELESS})" if never else "")


def _part(folder, block):
    # Of one width, so that the order of names is that of rows.
    return folder / f"part-{block.start:012d}.parquet"


def _part_counts(folder, block):
    """Return the counts of a part, None if it is not there or not whole."""
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(_part(folder, block))
        counts = json.loads(metadata.metadata[b"skclipad"])
    except Exception:  # whatever a damaged file makes of its reader
        return None
    return counts if metadata.num_rows == counts["n_rows"] == len(block) else None


def _write_part(folder, block, rows, others, stamp):
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    fields = [(name, types[kind]) for name, kind in row_columns(()).items()]
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(fields))
    table = table.add_column(0, "row", pyarrow.array(block, pyarrow.int64()))
    if others is not None:
        carried = others.slice(block.start, len(block))
        for name, column in zip(carried.column_names, carried.columns, strict=True):
            table = table.append_column(name, column)
    counts = {"n_rows": len(rows), "n_failed": sum("error" in row for row in rows)}
    counts["images"] = stamp
    table = table.replace_schema_metadata({"skclipad": json.dumps(counts)})
    _replace(_part(folder, block), lambda path: parquet.write_table(table, path))


def _replace(target, write):
    """Write a file under another name, see that it is on disk, and rename it."""
    temporary = target.with_name(f".{target.name}.tmp")
    write(temporary)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)


def _summary(out, blocks, n_before):
    counts = [_part_counts(out, block) for block in blocks]
    lost = [block for block, found in zip(blocks, counts, strict=True) if found is None]
    if lost:
        raise FileExistsError(
            f"{out} has lost or damaged {len(lost)} of {len(blocks)} parts, such as "
            f"{_part(out, lost[0]).name}. Rename it to {out.name}.partial and call "
            "this again: those parts are computed anew."
        )
    return Bunch(
        path=out,
        n_rows=sum(found["n_rows"] for found in counts),
        n_failed=sum(found["n_failed"] for found in counts),
        n_blocks=len(blocks),
        n_blocks_before=n_before,
    )
