"""Throw damaged images at the reader: an image or one kind of error, and no third.

    python tools/fuzz.py                    20,000 inputs, and a table of what happened
    python tools/fuzz.py --n 1000 --seed 1  fewer, others

Each input is a PNG, JPEG, TIFF, WebP or GIF file with a few changes: bytes and blocks
overwritten, removed, doubled, swapped with another file's, cut off; sizes set to
extremes; checksums of PNG made right again, so that the change is not merely refused.
It is read as `CLIPImageEmbedder` reads it, hashed, and cut and resized for the model.

A process of its own does it, with a limit on its memory, and another one watches it:
a crash, a hang, a growing process, and any exception but `ImageReadError` is a failure,
whose input is kept in a file. The exit code is 1 if there was one. Input number i of a
seed is the same in every run.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image, features

from skclipad._exceptions import ImageReadError
from skclipad._images.crops import crop_boxes, resize_image
from skclipad._images.reading import image_identity, read_reduced

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF")
SIDE = 64  # pixels that the model would read
MEMORY = 1 << 30  # bytes that the process may ever use
# Bytes that it may ask for: a chunk of a PNG may claim 4 GB, which Python's files ask
# for at once, and never touch where the file is shorter.
ADDRESSES = 6 << 30
PATIENCE = 60.0  # seconds that it may take
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 30_000, 1 << 31, 2**32)


# Images to begin with


def whole_files():
    """Return format -> contents of sound files of many kinds."""
    grey = Image.radial_gradient("L").resize((24, 17))
    colour = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    clear = colour.copy()
    clear.putalpha(grey)
    frames = [colour, colour.rotate(90), colour.rotate(180)]
    animated = {"save_all": True, "append_images": frames[1:], "duration": 50}
    exif = Image.Exif()
    exif[0x0112] = 6

    kinds = {
        "PNG": [
            *((image, {}) for image in (grey, colour, clear, grey.convert("1"))),
            *((image, {}) for image in (colour.convert("P"), clear.convert("LA"))),
            (grey.convert("I;16"), {}),
            (colour.convert("P"), {"transparency": 3, "bits": 4}),
            (colour, {"exif": exif, "icc_profile": b"profile" * 9, "dpi": (9, 9)}),
            (frames[0], animated),
        ],
        "JPEG": [
            (grey, {}),
            (colour, {"quality": 60}),
            (colour, {"progressive": True}),
            (colour, {"exif": exif, "restart_marker_blocks": 1}),
            (colour.convert("CMYK"), {}),
            (colour, {"subsampling": 0, "comment": b"a comment"}),
        ],
        "TIFF": [
            *((image, {}) for image in (grey, colour, clear, grey.convert("F"))),
            *((grey.convert(mode), {}) for mode in ("I", "I;16", "1")),
            *((colour, {"compression": c}) for c in ("tiff_lzw", "packbits", "jpeg")),
            (colour, {"compression": "tiff_adobe_deflate"}),
            (grey.convert("1"), {"compression": "group4"}),
            (colour, {"exif": exif}),
            (frames[0], {"save_all": True, "append_images": frames[1:]}),
        ],
        "WEBP": [
            (colour, {}),
            (colour, {"lossless": True}),
            (clear, {"exif": exif}),
            (frames[0], animated),
        ],
        "GIF": [
            (grey, {}),
            (colour.convert("P"), {"transparency": 2, "interlace": 1}),
            (frames[0], animated | {"disposal": 2, "comment": b"a comment"}),
        ],
    }
    return {
        kind: [_file(kind, *made) for made in kinds[kind]]
        for kind in FORMATS
        if kind != "WEBP" or features.check("webp")
    }


def _file(kind, image, options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


# Changes


def mutated(files, seed, number):
    """Return (format, content) of one input."""
    rng = random.Random(f"{seed} {number}")
    kind = FORMATS[number % len(FORMATS)]
    kind = kind if kind in files else "PNG"
    content = bytearray(rng.choice(files[kind]))
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 8))):
        if not content:
            break
        change = rng.choice(CHANGES)
        change(rng, content, files)
    if kind == "PNG" and rng.random() < 0.7:
        content = _with_checksums(content)
    return kind, bytes(content)


def _flip(rng, content, files):
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _overwrite(rng, content, files):
    start = rng.randrange(len(content))
    length = rng.choice((1, 2, 4, 8, 30))
    content[start : start + length] = rng.randbytes(length)


def _set_number(rng, content, files):
    start = rng.randrange(min(len(content), 300))  # heads are where numbers count
    form = rng.choice((">H", "<H", ">I", "<I"))
    number = rng.choice(EXTREMES) + rng.choice((-1, 0, 0, 1))
    size = struct.calcsize(form)
    content[start : start + size] = struct.pack(form, number % 256**size)


def _remove(rng, content, files):
    start = rng.randrange(len(content))
    del content[start : start + rng.choice((1, 2, 10, 100))]


def _double(rng, content, files):
    start = rng.randrange(len(content))
    piece = content[start : start + rng.choice((1, 4, 30, 200))]
    content[start:start] = piece * rng.choice((1, 2, 50))


def _splice(rng, content, files):
    other = rng.choice(files[rng.choice(list(files))])
    start = rng.randrange(len(other))
    piece = other[start : start + rng.choice((4, 20, 100))]
    place = rng.randrange(len(content))
    content[place : place + len(piece)] = piece


def _cut(rng, content, files):
    del content[rng.randrange(len(content)) :]


CHANGES = (
    *(_flip, _flip, _overwrite, _overwrite, _set_number, _set_number),
    *(_remove, _double, _splice, _cut),
)


def _with_checksums(content):
    """Make the checksums of a PNG right: decoders stop at the first wrong one."""
    place = 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(content):
            break
        checksum = zlib.crc32(content[place + 4 : end])
        content[end : end + 4] = struct.pack(">I", checksum)
        place = end + 4
    return content


# One process reads, another watches


def read(path):
    """Do with a file what scoring does; return "image" or "refused"."""
    identity = image_identity(path)
    try:
        image, _ = read_reduced(path, crop_boxes, (SIDE, SIDE), 0)
    except ImageReadError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from error
        return "refused"

    assert image.mode == "RGB" and min(image.size) >= 1, (image.mode, image.size)
    assert len(identity) == 40

    for box in crop_boxes(*image.size, "multi")[:3]:
        for mode in ("squash", "shortest", "longest"):
            pixels = resize_image(image, box, (SIDE, SIDE), mode)
            assert pixels.shape == (SIDE, SIDE, 3), pixels.shape
    return "image"


def work(pipe, numbers, seed, folder):
    """Read inputs, and tell what is begun and what became of it."""
    warnings.simplefilter("ignore")
    files, path = whole_files(), Path(folder) / f"input-{os.getpid()}"
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ADDRESSES,) * 2)

    for number in numbers:
        kind, content = mutated(files, seed, number)
        path.write_bytes(content or b"\0")
        pipe.send((number, kind, None, 0.0, 0))

        start = time.process_time()
        try:
            outcome = read(path)
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"[:200]

        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak > MEMORY:
            outcome = f"{peak / 1e6:.0f} MB used"

        pipe.send((number, kind, outcome, seconds, peak))
    pipe.close()


def watch(n, seed, keep):
    """Have n inputs read; return counts, the slowest, the peak and the failures."""
    context = multiprocessing.get_context("fork")  # what is imported stays imported
    counts, slowest, peak, failures = defaultdict(Counter), defaultdict(float), 0, []
    n_done = 0
    with tempfile.TemporaryDirectory() as folder:
        while n_done < n:
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, range(n_done, n), seed, folder)
            process = context.Process(target=work, args=arguments)
            process.start()
            theirs.close()

            number = n_done
            with contextlib.suppress(EOFError):
                while ours.poll(PATIENCE):
                    number, kind, outcome, seconds, used = ours.recv()
                    if outcome is None:
                        continue
                    n_done, peak = number + 1, max(peak, used)
                    slowest[kind] = max(slowest[kind], seconds)
                    if outcome not in ("image", "refused"):
                        failures.append((number, kind, outcome))
                        outcome = "failed"
                    counts[kind][outcome] += 1

            if n_done < n:
                process.join(1)  # one that died needs no ending
                process.kill()
            process.join()
            if n_done < n:  # it died, or was ended, over this input
                kind = mutated(whole_files(), seed, number)[0]
                what = "hang" if process.exitcode == -9 else "crash"
                failures.append((number, kind, f"{what}, exit code {process.exitcode}"))
                counts[kind]["failed"] += 1
                n_done = number + 1

    for number, kind, _ in failures:
        name = f"seed-{seed}-{number}.{kind.lower()}"
        Path(keep).mkdir(parents=True, exist_ok=True)
        (Path(keep) / name).write_bytes(mutated(whole_files(), seed, number)[1])
    return counts, slowest, peak, failures


def main():
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20_000, help="inputs (20,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", default="fuzz-failures", help="folder of failures")
    args = parser.parse_args()

    start = time.perf_counter()
    counts, slowest, peak, failures = watch(args.n, args.seed, args.keep)

    names = ("inputs", "read", "refused", "failed")
    print(f"{'format':<8}" + "".join(f"{n:>9}" for n in names) + f"{'slowest':>10}")
    for kind, count in counts.items():
        print(
            f"{kind:<8}{count.total():>9}{count['image']:>9}{count['refused']:>9}"
            f"{count['failed']:>9}{slowest[kind]:>8.2f} s"
        )
    print(
        f"{sum(c.total() for c in counts.values()):,} inputs (seed {args.seed}) in "
        f"{time.perf_counter() - start:.0f} s, peak memory {peak / 1e6:.0f} MB, "
        f"{len(failures)} failures"
    )

    for number, kind, outcome in failures[:20]:
        print(f"  input {number}, {kind}: {outcome}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
