"""Photographs of 12 and 24 megapixels: what `decode="reduced"` saves, and changes.

Real photographs are enlarged, get the noise of a camera's sensor, and are written as
JPEG files. The embedder reads these, in full and reduced by turns. Beside seconds by
the clock stand those that its process computes, which other work on the machine changes
less, and those of them that reading takes. What no reduction spares, a file's Huffman
codes, is nearly all of decoding it to an eighth of its side::

    python benchmarks/big_jpegs.py
    python benchmarks/big_jpegs.py --models tiny --photos FOLDER
    python benchmarks/big_jpegs.py --models ViT-B-32 --precision fp32 int8 --images 0

The last has random weights, which change no time, and none of the scores that they
would make. "heat maps" are those of a report.

What it changes is measured where a reduced image is as small as the rule allows, twice
the size that the model reads. Beside it stands what a rounding error would change: one
grey level, up or down, in a tenth of the values that the model reads.

Photographs are those of a folder, or the 50 that come with the package. Enlarged ones
have no detail of their own in their finest pixels, only noise.
"""

import argparse
import io
import random
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from _common import describe_machine, print_table
from PIL import Image
from scipy.stats import spearmanr

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.precision import PRECISIONS
from skclipad._embedder import load_clip
from skclipad._images.crops import crop_boxes, resize_image
from skclipad._images.reading import image_size, read_image, read_reduced
from skclipad.datasets import load_sample_photos

SIZES = {"12 megapixels": (4000, 3000), "24 megapixels": (6000, 4000)}
NOISE = 4  # grey levels, standard deviation
QUALITY = 92
MAP_SIZE = 32  # of a report's heat maps
REDUCED = 4  # by so much a photograph is reduced whose scores are compared


def enlarged(photo, size, rng):
    """Return a photograph as a JPEG file of another size, as bytes."""
    pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS), np.float32)
    noise = rng.normal(0, NOISE, (*pixels.shape[:2], 1)).astype(np.float32)
    noisy = (pixels + noise).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def photographs(folder, n):
    """Return `n` photographs at most, drawn from a folder or the package's own.

    Strips, more than twice as long as wide, are passed over.
    """
    paths = load_sample_photos().paths
    if folder is not None:
        paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() == ".jpg")
    paths = [
        path for path in paths if max(image_size(path)) <= 2 * min(image_size(path))
    ]
    chosen = random.Random(0).sample(paths, min(n, len(paths)))
    return [read_image(path) for path in chosen]


# What it saves


def speed(model, photos, folder, repeats, precisions):
    """Print images a second, in full and reduced, and those of maps."""
    rng, rows = np.random.default_rng(0), []
    for name, size in SIZES.items():
        paths = [folder / f"{i}.jpg" for i in range(len(photos))]
        for path, photo in zip(paths, photos, strict=True):
            path.write_bytes(enlarged(photo, size, rng))
        megabytes = np.mean([path.stat().st_size for path in paths]) / 1e6
        title = f"{name}, {megabytes:.1f} MB"
        found = timed(model, paths, repeats, precisions)
        rows += [[f"{title}, {what}", *cells] for what, cells in found]

    print(f"{model}, {len(photos)} photographs, medians of {repeats} turns")
    names = [
        "images/s",
        "times full",
        "computing, ms",
        "times",
        "of it reading",
        "times",
    ]
    print_table(["", *names], rows)


def timed(model, paths, repeats, precisions):
    """Yield what was timed of some files, and the cells of its row."""
    contenders = {
        f"{decode}, {precision}": CLIPImageEmbedder(
            model, None, decode=decode, precision=precision
        )
        for precision in precisions
        for decode in ("full", "reduced")
    }
    taken = {name: [] for name in contenders}  # by the clock, computing, and reading
    for turn in range(repeats + 1):
        for name, embedder in contenders.items():
            one = time_of(embedder, paths)
            taken[name] += [one] if turn else []  # the first is to get warm

    each = {name: np.array(times) / len(paths) for name, times in taken.items()}
    first = next(iter(each.values()))
    for name, times in each.items():
        clock, computed, read = np.median(times, axis=0)
        gains = np.median(first / times, axis=0)
        cells = [1 / clock, gains[0], 1000 * computed, gains[1], 1000 * read, gains[2]]
        yield name, [f"{cell:.4g}" for cell in cells]

    floor = np.median([time_of_codes(path) for path in paths])
    full = np.median(first[:, 2])
    yield "an eighth of it", [*[""] * 4, f"{1000 * floor:.4g}", f"{full / floor:.4g}"]

    maps = [time_of_maps(model, paths) for _ in range(repeats)]
    clock, computed = np.median(maps, axis=0) / len(paths)
    yield "heat maps", [f"{1 / clock:.4g}", "", f"{1000 * computed:.4g}", *[""] * 3]


def time_of(embedder, paths):
    """Return the seconds of embedding, by the clock and computed, and of reading."""
    size = load_clip(embedder).image_size
    clock, computed = perf_counter(), process_time()
    embedder.transform(paths)
    taken = [perf_counter() - clock, process_time() - computed]

    computed = process_time()
    for path in paths:
        if embedder.decode == "full":
            image = read_image(path)
            box = (0, 0, *image.size)
        else:
            image, (box,) = read_reduced(path, crop_boxes, size)
        resize_image(image, box, size)
    return [*taken, process_time() - computed]


def time_of_maps(model, paths):
    """Return the seconds of maps as a report has them, by the clock and computed."""
    embedder = CLIPImageEmbedder(model, None)
    detector = RandomWordCLIPDetector(N_p=100, random_state=0, embedder=embedder).fit()
    clock, computed = perf_counter(), process_time()
    list(detector.anomaly_map(paths, size=MAP_SIZE))
    return perf_counter() - clock, process_time() - computed


def time_of_codes(path):
    """Return the computed seconds of decoding a file to an eighth of its side.

    That is hardly more than its Huffman codes, which no reduction spares.
    """
    computed = process_time()
    with Image.open(path) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()
    return process_time() - computed


# What it changes


def change(model, photos, folder):
    """Print how far scores and embeddings move."""
    rng, paths = np.random.default_rng(0), []
    full = CLIPImageEmbedder(model, None)
    side = 2 * REDUCED * load_clip(full).image_size[0]
    for i, photo in enumerate(photos):
        zoom = side / min(photo.size)
        size = tuple(round(zoom * length) for length in photo.size)
        paths.append(folder / f"{i}.jpg")
        paths[-1].write_bytes(enlarged(photo, size, rng))

    detector = RandomWordCLIPDetector(N_p=2000, random_state=0, embedder=full).fit()
    before = full.transform(paths)
    others = {
        "reduced": CLIPImageEmbedder(model, None, decode="reduced").transform(paths),
        "one level in a tenth": full.transform(rounded(full, paths, rng)),
    }
    rows = [[name, *moved(detector, before, e)] for name, e in others.items()]
    print(
        f"{model}, {len(paths)} photographs of {side} pixels, read at {side // REDUCED}"
    )
    names = ["s_pr: largest", "99 %", "median", "s_fnn: largest", "99 %", "median"]
    print_table(["", *names, "rank correlation", "lowest cosine"], rows)


def rounded(embedder, paths, rng):
    """Yield what the model reads of images, a tenth of it one grey level off."""
    clip = load_clip(embedder)
    how = (clip.image_size, "squash", clip.interpolation)
    for path in paths:
        image = read_image(path)
        pixels = resize_image(image, (0, 0, *image.size), *how).astype(int)
        off = rng.choice([-1, 0, 1], pixels.shape, p=[0.05, 0.9, 0.05])
        yield (pixels + off).clip(0, 255).astype(np.uint8)


def moved(detector, before, after):
    """Return the cells of a row: how far scores and embeddings have moved."""
    scores = [detector.score_components(embedded) for embedded in (before, after)]
    cells = []
    for name in ("s_pr", "s_fnn"):
        change = np.abs(scores[0][name] - scores[1][name])
        cells += [change.max(), np.quantile(change, 0.99), np.median(change)]
    combined = [detector.combine_components(one) for one in scores]
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(axis=1) / norms
    cells = [f"{cell:.4f}" for cell in cells]
    return [*cells, f"{spearmanr(*combined)[0]:.4f}", f"{cosines.min():.5f}"]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["lite", "tiny"])
    parser.add_argument("--photos", metavar="FOLDER", help="JPEG files, in folders too")
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=PRECISIONS)
    parser.add_argument("--images", type=int, default=50, help="to compare scores of")
    parser.add_argument("--large", type=int, default=24, help="to time")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    describe_machine()
    with tempfile.TemporaryDirectory() as name:
        for model in args.models:
            photos = photographs(args.photos, max(args.images, args.large))
            if args.repeats:
                large = photos[: args.large]
                speed(model, large, Path(name), args.repeats, args.precision)
            if args.images:
                change(model, photos[: args.images], Path(name))


if __name__ == "__main__":
    main()
