"""``skclipad score --plan``: what a run will take, before it is begun."""

import shutil

from skclipad._images.video import file_of
from skclipad._storage.files import file_stamp, full_path
from skclipad._storage.journal import journal_path, read_journal
from skclipad._storage.ledger import Ledger, ledger_path
from skclipad.cli._console import ALL_SCORED, duration
from skclipad.cli._decoding import would_gain
from skclipad.cli._detectors import run_identity
from skclipad.cli._score_report import N_HEAT_MAPS
from skclipad.scoring._plan import LOOKED_AT, n_threads, probe

DONE = "nothing was written; leave --plan out to score them"
HEAT_MAP_BYTES = 2_000
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
PAGE_BYTES = 400_000  # of a report without images


def tell_plan(args, target, detector, paths):
    """Print what a run takes: images, time, memory, disk. Nothing is written.

    A batch of the images is scored to see how long that takes, and forgotten.
    """
    known = _known(args, target, detector)
    left = [path for path in paths if not known(path)]
    lines = [f"{len(paths):,} pictures, {len(left):,} of them to be scored"]
    if left:
        lines += _lines(args, target, detector, left, len(paths))
    print("\n".join([*lines, DONE]))
    return ALL_SCORED


def _lines(args, target, detector, left, n):
    """Yield what there is to be said of images that are to be scored."""
    found = probe(detector, left, maps=_wants_maps(args), tiles=args.map_tiles)
    width, height = found.largest
    of = f", of {LOOKED_AT:,} looked at" if len(left) > LOOKED_AT else ""
    yield f"largest   {width:,} x {height:,} pixels{of}"

    seconds = found.seconds * len(left)
    n_maps = _n_maps(args, len(left)) if found.map_seconds is not None else 0
    yield (
        f"time      {duration(seconds)}: {1 / found.seconds:.1f} pictures a second, as "
        f"measured on {found.n_images:,}"
    )
    if args.detector is None:
        yield f"          and {duration(detector.fit_time_)} before, to fit a detector"
    if n_maps:
        more = duration(n_maps * found.map_seconds)
        yield f"          and {more} for {n_maps:,} maps"
    if would_gain(detector, left):
        yield (
            "hint      --decode reduced reads these JPEGs faster, with slightly other "
            "scores"
        )

    memory = found.memory(n, n_threads(detector), args.map_tiles)
    said = "not known here" if memory is None else f"{_size(memory)} at most"
    yield f"memory    {said}"
    yield from _disk(args, target, found, len(left), n)


def _disk(args, target, found, n_left, n):
    sizes = {"the table": found.row_bytes * n}
    if target is not None:
        kept = "what --update knows" if args.update else "a journal until the end"
        sizes[kept] = found.journal_bytes * n
    if args.maps is not None and found.map_bytes is not None:
        sizes["maps"] = found.map_bytes * n_left
    if args.report is not None:
        sizes["the report at most"] = _report_size(args, n)

    said = ", ".join(f"{name} {_size(size)}" for name, size in sizes.items())
    yield f"disk      {said}"
    folder = "." if target is None else target.parent
    free = shutil.disk_usage(folder).free
    if sum(sizes.values()) > free:
        yield f"          MORE than the {_size(free)} that are free in {folder}"


def _known(args, target, detector):
    """Return what tells whether an image needs no score any more."""
    if args.update and ledger_path(target).exists():
        with Ledger(ledger_path(target), run_identity(detector)) as ledger:
            stamps = ledger.stamps()
        return lambda path: stamps.get(full_path(path)) == _stamp(path)

    results = {}
    if args.resume:
        _, results, _ = read_journal(journal_path(target))
    return lambda path: path in results and results[path][0] == _stamp(path)


def _stamp(path):
    return file_stamp(file_of(path))


def _wants_maps(args):
    return args.maps is not None or (args.report is not None and args.heat_maps != 0)


def _n_maps(args, n):
    if args.maps is not None:
        return n
    return min(n, N_HEAT_MAPS if args.heat_maps is None else args.heat_maps)


def _report_size(args, n):
    """Return the bytes of a report at most: its images in base64, and its heat maps."""
    thumbnail = max(4_000, min(16_000, 24_000_000 // n)) + 300
    heat = _n_maps(args, n) if _wants_maps(args) else 0
    return PAGE_BYTES + (4 * thumbnail * n + 4 * HEAT_MAP_BYTES * heat) // 3


def _size(n_bytes):
    unit, factor = next((one for one in UNITS if n_bytes >= one[1]), UNITS[-1])
    n = n_bytes / factor
    return f"{n:.0f} {unit}" if n >= 10 else f"{n:.1f} {unit}"
