"""`score_distributed`: scores of any number of images, as a folder of Parquet files."""

import hashlib
import json
import os
from collections.abc import Mapping, Set
from numbers import Integral
from pathlib import Path

from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skclipad._detector import RandomWordCLIPDetector
from skclipad._inputs import column_names, column_of
from skclipad._storage.files import atomic_write, file_stamp
from skclipad._storage.journal import Journal, differences, read_journal
from skclipad._storage.locks import exclusive
from skclipad.scoring._cluster import check_client
from skclipad.scoring._rows import (
    cut_blocks,
    detector_identity,
    detector_of_rows,
    row_columns,
)
from skclipad.scoring._run import score_blocks

__all__ = ["score_distributed"]

JOURNAL = "_journal"  # readers of Parquet folders pass over "_"
FORMAT = 3  # of the folder; raised when it changes
STAMPED = 4096  # files that a task of a worker looks at, to see which have changed
STAMPS_AHEAD = 64  # such tasks sent at a time


def score_distributed(detector, X, client=None, *, out, block_size=256):
    """Score images on a cluster, into a folder of Parquet files.

    The detector is sent to each worker once, and each worker loads the CLIP once; paths
    go out, rows come back, and no image travels. An image that cannot be read is a
    row with an error; so is one that each process dies of that reads it. Workers may
    come and go.

    Blocks are written as they finish, under a temporary name first, to
    ``OUT.partial``, which is renamed to ``OUT`` when all are there: what is called
    ``OUT`` is complete. A run that died is called again with the same arguments, and
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
        Images that a worker scores at a time.

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

    Notes
    -----
    The files have the columns ``row`` (0 for the first image of X), ``path``,
    ``score``, ``label``, ``s_pr``, ``s_fnn``, ``s_img`` (empty without references),
    ``error``, and those of X; all rows of X are there, in its order, when the files are
    read by name, as ``pandas.read_parquet(out)`` does.

    Runs are told apart by what `fit` learnt, references among it, by the settings that
    matter and by the names of the images. A function given as `crops` counts as the
    same if it is imported under the same name and its source is the same; a lambda, or
    any other callable that no import finds, never does: each call with one needs an
    `out` of its own, and is not gone on with.

    Give workers one thread each (``threads_per_worker=1``) and as many as there are
    cores or GPUs: a thread is an image decoded and a model used, and torch has threads
    of its own.

    Examples
    --------
    >>> import os, tempfile
    >>> from distributed import Client
    >>> from PIL import Image
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.distributed import score_distributed
    >>> detector = RandomWordCLIPDetector(
    ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
    ... ).fit()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = os.path.join(folder, "a.png")
    ...     Image.new("RGB", (64, 64)).save(image)
    ...     with Client(processes=False, dashboard_address="127.0.0.1:0") as client:
    ...         run = score_distributed(
    ...             detector,
    ...             [image, "gone.png"],
    ...             client,
    ...             out=os.path.join(folder, "scores"),
    ...         )
    >>> run.n_rows, run.n_failed
    (2, 1)
    """
    _check_arguments(detector, out, block_size)
    client = check_client(client)
    paths, objects, others = _check_inputs(X)
    out = Path(out)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out}: the folder {out.parent} does not exist.")

    detector = detector_of_rows(detector)
    identity = {
        "format": FORMAT,
        "block_size": int(block_size),
        "n_rows": len(paths),
        "images": _digest(paths, others),
        **detector_identity(detector),
    }
    blocks = cut_blocks(paths, int(block_size), objects)

    with exclusive(out):
        # Looked at before they are read: an image that changes in between has the wrong
        # stamp, and is scored again by the next call.
        stamps = _stamps(client, blocks)
        partial = out.with_name(out.name + ".partial")
        if out.exists():
            if _is_finished(out, identity, blocks, stamps):
                return _summary(out, len(blocks))
            _reopen(out, partial)

        partial.mkdir(exist_ok=True)
        with Journal(partial / JOURNAL, identity, resume=True) as journal:
            missing = _missing(partial, journal, blocks, stamps)
            for block, rows in score_blocks(detector, missing, client):
                part = _part(partial, block)
                counts = _write_part(part, block, rows, others)
                journal.put(part.name, stamps[block.start], counts)

        # Of a part that was being written when an earlier run died.
        for half in partial.glob("part-*.partial"):
            half.unlink()
        os.replace(partial, out)
    return _summary(out, len(blocks) - len(missing))


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


# The input


def _check_inputs(X):
    """Return paths, objects or None, and a pyarrow.Table of the other columns."""
    if (names := column_names(X)) is not None:
        items, others = _check_table(X, names)
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
        items, others = list(X), None

    for row, item in enumerate(items):
        if not isinstance(item, (str, os.PathLike)):
            raise TypeError(
                f"Got an object of type {type(item).__name__} in row {row}, but "
                "expected a path: images stay where they are, and workers read them. "
                "Write them to files first."
            )
    if not items:
        raise ValueError("Got no images, but expected at least one.")

    objects = None
    if others is not None and "object" in others.column_names:
        objects = others.column("object").to_pylist()
    return [os.fsdecode(item) for item in items], objects, others


def _check_table(X, names):
    """Return the items of the column of images, and a pyarrow.Table of the others."""
    column = "image" if "image" in names or not names else names[0]
    if column not in names or (column != "image" and len(names) > 1):
        raise ValueError(
            f"Got a {type(X).__name__} with the columns {names}, but expected one "
            "named 'image' with the paths of the images."
        )

    others = _arrow_table(X, [name for name in names if name != column])
    taken = {"row", *row_columns()} & set(others.column_names)
    if taken:
        raise ValueError(
            f"Got a {type(X).__name__} with the columns {sorted(taken)}, which the "
            "result has too; rename or drop them."
        )
    return list(column_of(X, column)), others


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


def _stamps(client, blocks):
    """Return by start what tells the files of each block from changed ones.

    Workers look at them: this process may not see them.
    """
    step = max(1, STAMPED // len(blocks[0]))
    bundles = [
        [block.paths for block in blocks[i : i + step]]
        for i in range(0, len(blocks), step)
    ]

    stamps = []
    for i in range(0, len(bundles), STAMPS_AHEAD):
        tasks = client.map(_stamps_of, bundles[i : i + STAMPS_AHEAD], pure=False)
        for found in client.gather(tasks):
            stamps += found
    return {block.start: stamp for block, stamp in zip(blocks, stamps, strict=True)}


def _stamps_of(blocks):
    """Digest the stamps of the files of each block."""
    texts = (json.dumps([file_stamp(path) for path in paths]) for paths in blocks)
    return [hashlib.blake2b(t.encode(), digest_size=16).hexdigest() for t in texts]


# The folder


def _is_finished(out, identity, blocks, stamps):
    """Tell whether a folder holds this very result, of the images as they are now."""
    made_with, parts, _ = read_journal(out / JOURNAL)
    if made_with is None:
        raise FileExistsError(
            f"{out} exists, and no run of score_distributed made it. Remove it, or "
            "name another output."
        )
    if made_with != identity:
        raise FileExistsError(
            f"{out} exists, made with {differences(made_with, identity)}. Remove it, "
            "or name another output."
        )

    files = [_part(out, block) for block in blocks]
    lost = [f for f in files if not _is_in_place(f, parts.get(f.name, (0, None))[1])]
    if lost:
        raise FileExistsError(
            f"{out} has lost or damaged {len(lost)} of {len(blocks)} parts, such as "
            f"{lost[0].name}. Rename it to {out.name}.partial and call this again: "
            "those parts are computed anew."
        )
    return all(parts[_part(out, b).name][0] == stamps[b.start] for b in blocks)


def _reopen(out, partial):
    """Make a finished folder an unfinished one."""
    if partial.exists():
        raise FileExistsError(
            f"{partial} exists beside {out}, some of whose images have changed and are "
            "to be scored again there. Remove one of the two."
        )
    os.replace(out, partial)


def _missing(folder, journal, blocks, stamps):
    """Return the blocks that have no part, or one of images that have changed."""
    parts = {block: _part(folder, block) for block in blocks}
    return [
        block
        for block, part in parts.items()
        if not _is_in_place(part, journal.get(part.name, stamps[block.start]))
    ]


def _part(folder, block):
    # Of one width, so that the order of names is that of rows.
    return folder / f"part-{block.start:012d}.parquet"


def _is_in_place(part, counts):
    """Tell whether a part is there as it was written, by its counts in the journal."""
    from pyarrow import parquet

    try:
        return (
            counts is not None
            and part.stat().st_size == counts["size"]
            and parquet.read_metadata(part).num_rows == counts["n_rows"]
        )
    except Exception:  # whatever a damaged file makes of its reader
        return False


def _write_part(part, block, rows, others):
    """Write the rows of a block, and return what the journal keeps of them."""
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    fields = [(name, types[kind]) for name, kind in row_columns().items()]
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(fields))

    numbers = range(block.start, block.start + len(block))
    table = table.add_column(0, "row", pyarrow.array(numbers, pyarrow.int64()))
    if others is not None:
        carried = others.slice(block.start, len(block))
        for name, column in zip(carried.column_names, carried.columns, strict=True):
            table = table.append_column(name, column)

    with atomic_write(part) as path:
        parquet.write_table(table, path)
    n_failed = sum("error" in row for row in rows)
    return {"n_rows": len(rows), "n_failed": n_failed, "size": part.stat().st_size}


def _summary(out, n_before):
    _, parts, _ = read_journal(out / JOURNAL)
    counts = [found for _, found in parts.values()]
    return Bunch(
        path=out,
        n_rows=sum(found["n_rows"] for found in counts),
        n_failed=sum(found["n_failed"] for found in counts),
        n_blocks=len(counts),
        n_blocks_before=n_before,
    )
