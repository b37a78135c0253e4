"""Photographs to train on, whole and struck by painted defects.

A photo becomes a layer of the painter, lit evenly, and the painter's own defects strike
it: the twins differ by the defect alone. Both are compressed alike afterwards, so that
no trace of the file tells them apart.
"""

import csv
import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from skclipad.datasets._painted import _damage
from skclipad.datasets._painter.brush import Layer
from skclipad.datasets._painter.canvas import F, clouds
from skclipad.datasets._painter.light import draw_light, photograph
from skclipad.datasets._painter.scene import Scene, suffers

SIZE = 224
GREY_LEVELS = 6  # a photo whose channels differ by less on average is black and white

# Which painted category suffers as the things of a set do; a package unless produce.
LIKE_SET = {
    "deeppcb": "circuit board",
    "coffee_leaf": "leaf",
    "paper_piped": "paper",
    "masonry_brick": "brick",
    "fabric_zsarayloo": "woven fabric",
    "wind_turbine": "painted steel",
    "surface_cracks": "concrete",
    "grocery": "apple",
    "trashnet": "plastic",
}
LIKE_WASTE = {"glass": "glass", "metal": "painted steel"} | {
    name: name for name in ("plastic", "paper", "cardboard")
}
PACKED = ("milk", "juice", "yoghurt", "soy", "oat", "cream", "tropicana")

# Kinds of damage as sources name them: the painter's word, or one of `PHOTO_WORDS`.
KINDS = {
    "rust": "disease",
    "miner": "disease",
    "phoma": "disease",
    "cercospora": "disease",
    "crack": "crack",
    "spalling": "spalling",
    "efflorescence": "efflorescence",
    "Warp lines": "loose thread",
}
PHOTO_WORDS = {
    "disease": (
        ("diseased", "sick", "spotted", "rotten"),
        ("disease", "spots", "brown spots", "a leaf disease"),
    ),
    "spalling": (("crumbling", "chipped"), ("spalling", "a chipped surface")),
    "efflorescence": (("stained", "discolored"), ("efflorescence", "salt stains")),
}


@dataclass(frozen=True)
class Photo:
    """A photograph with what its source says of it.

    Attributes
    ----------
    path : Path
        The file.
    group, object, label, kind : str
        Its set, what it shows, "good", "damaged" or "unlabelled", kind of damage.
    """

    path: Path
    group: str
    object: str
    label: str
    kind: str

    @property
    def defect(self):
        """Kind of damage in the words of captions; "damage" where none is known."""
        return KINDS.get(self.kind, "damage") if self.label == "damaged" else "none"

    @property
    def like(self):
        """Painted category whose defects suit it."""
        if self.group == "trashnet":
            return LIKE_WASTE.get(self.object.split()[0], "plastic")
        if self.group == "grocery" and any(word in self.object for word in PACKED):
            return "cardboard"
        return LIKE_SET.get(self.group, "plastic")


def read_index(folder):
    """Read the photographs below ``train/`` that their licence lets us train on.

    Parameters
    ----------
    folder : Path
        Holds ``index.tsv`` and ``train/``.

    Returns
    -------
    list of Photo
    """
    with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        Photo(folder / r["file"], r["set"], r["object"], r["label"], r["kind"])
        for r in rows
        if r["file"].startswith("train/") and "measure only" not in r["licence"]
    ]


def read_square(path):
    """Read a photo squashed to a square of about its own number of pixels."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    side = int(np.clip(round((image.width * image.height) ** 0.5), 96, SIZE))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def finish(image, quality):
    """Compress a photo once more and bring it to the size that the tower reads."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    image = Image.open(file).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def draw_quality(seed):
    """Draw the quality of compression that all twins of a photo share."""
    return int(np.random.default_rng((seed, 0)).integers(60, 96))


def whole_photo(args):
    """Return a photo as it is, and its kind of damage: arguments (photo, seed)."""
    photo, seed = args
    return finish(read_square(photo.path), draw_quality(seed)), photo.defect


def struck_photo(args):
    """Return a photo struck by a painted defect, and its name: (photo, seed, turn)."""
    photo, seed, turn = args
    rng = np.random.default_rng((seed, 1, turn))
    image = read_square(photo.path)
    light, scene = even_light(image, rng), scene_of(photo, image, rng)
    # Without an outline nothing can bend or break.
    names = [n for n in suffers(photo.like) if n not in ("bend", "break")]
    name = names[rng.integers(len(names))]
    fraction = 0.1 * 6 ** rng.random()
    seen = photograph(scene.front, scene.back, light)
    struck, _ = _damage(name, scene, light, seen, fraction, (seed, 2, turn))
    step = struck.astype(np.int16) - seen
    struck = np.clip(image + step, 0, 255).astype(np.uint8)
    return finish(struck, draw_quality(seed)), name


def even_light(image, rng):
    """Draw a light that leaves a photo as it is but shows the relief of a defect."""
    size = len(image)
    channels = image.astype(np.int16)
    light = draw_light(rng, size, grey_fraction=0)
    return replace(
        light,
        field=np.ones((size, size, 3), dtype=F),
        grain=np.zeros((size, size, 3), dtype=F),
        sigma=float(rng.uniform(0.3, 0.8)) * (rng.random() < 0.4),
        contrast=1.0,
        lift=0.0,
        grey=bool(np.ptp(channels, axis=2).mean() < GREY_LEVELS),
    )


def scene_of(photo, image, rng):
    """Take a photo for a surface, with something dark or pale behind it."""
    rgb = image.astype(F) / F(255)
    flat, size = np.zeros(rgb.shape[:2], dtype=F), len(image)
    front = Layer(rgb, flat, flat + 1, 0.0)
    tone = rgb.mean(axis=(0, 1)) * F(rng.choice((0.1, 0.3, 2.2)))
    back = Layer(np.clip(flat[..., None] + tone, 0.02, 0.95), flat - F(0.03), flat, 0.0)
    back.rgb = back.rgb * (1 + F(0.1) * clouds(rng, size, 10))[..., None]
    return Scene(photo.like, front, back, float(rng.uniform(0, 2 * np.pi)), False)


def make_array(path, function, jobs, workers):
    """Make images into a file, or find them made.

    Parameters
    ----------
    path : Path
        Array of the images; kinds of damage go to ``.txt`` beside it.
    function : callable
        Takes a job; returns an image of shape (SIZE, SIZE, 3), uint8, and a kind.
    jobs : list
        One an image.
    workers : int
        Processes.

    Returns
    -------
    images : ndarray of shape (n_jobs, SIZE, SIZE, 3), uint8
        Read from the file as needed.
    kinds : list of str
    """
    names = path.with_suffix(".txt")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part, shape = path.with_suffix(".part"), (len(jobs), SIZE, SIZE, 3)
        images = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        with ProcessPoolExecutor(workers) as pool:
            kinds = []
            for i, made in enumerate(pool.map(function, jobs, chunksize=16)):
                images[i] = made[0]
                kinds.append(made[1])
        images.flush()
        names.write_text("\n".join(kinds) + "\n")
        part.replace(path)
    return np.load(path, mmap_mode="r"), names.read_text().splitlines()


@dataclass
class Pairs:
    """Whole images and damaged counterparts, with what is known about them.

    Attributes
    ----------
    name : str
        What they are: "struck 0", "painted", "labelled".
    whole, damaged : ndarray of shape (n, SIZE, SIZE, 3), uint8
        Images; those of a pair are twins but for the labelled ones.
    category : ndarray of shape (n, 2), str
        What each shows.
    defect, color : ndarray of shape (n,), str
        Kind of damage; colour, "none" where unknown.
    """

    name: str
    whole: np.ndarray
    damaged: np.ndarray
    category: np.ndarray
    defect: np.ndarray
    color: np.ndarray

    def __len__(self):
        return len(self.defect)


class Rows:
    """Some rows of an array, read when asked for.

    Parameters
    ----------
    array : ndarray
        The array, which may lie in a file.
    rows : ndarray of shape (n,), int
        Which ones.
    """

    def __init__(self, array, rows):
        self.array, self.rows = array, np.asarray(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return self.array[self.rows[key]]


def struck_pairs(photos, folder, turns, workers):
    """Return a `Pairs` for each turn: every photo that is not damaged, and struck."""
    kept = [(p, i) for i, p in enumerate(photos) if p.label != "damaged"]
    whole, _ = make_array(folder / "whole.npy", whole_photo, kept, workers)
    category = np.array([[photo.object] * 2 for photo, _ in kept])
    color = np.full(len(kept), "none")
    for turn in range(turns):
        jobs = [(*job, turn) for job in kept]
        path = folder / f"struck-{turn}.npy"
        struck, kinds = make_array(path, struck_photo, jobs, workers)
        kinds = np.array(kinds)
        yield Pairs(f"struck {turn}", whole, struck, category, kinds, color)


def labelled_pairs(photos, folder, workers):
    """Return each damaged photo with a good one, of its own set where there is any."""
    rng = np.random.default_rng(0)
    kept = [(p, i) for i, p in enumerate(photos) if p.label != "damaged"]
    whole, _ = make_array(folder / "whole.npy", whole_photo, kept, workers)
    damaged = [(p, i) for i, p in enumerate(photos) if p.label == "damaged"]
    images, kinds = make_array(folder / "damaged.npy", whole_photo, damaged, workers)
    good = {}
    for row, (photo, _) in enumerate(kept):
        if photo.label == "good":
            good.setdefault(photo.group, []).append(row)
    everything = list(range(len(kept)))
    rows = [rng.choice(good.get(photo.group, everything)) for photo, _ in damaged]
    category = [
        [kept[row][0].object, photo.object]
        for row, (photo, _) in zip(rows, damaged, strict=True)
    ]
    color = np.full(len(damaged), "none")
    return Pairs(
        "labelled",
        Rows(whole, rows),
        images,
        np.array(category),
        np.array(kinds),
        color,
    )
