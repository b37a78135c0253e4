"""Painted images to train and to test the bundled model on.

Training scenes are painted twice, whole and damaged: twins that differ by the defect
alone. Whole categories and kinds of defect are kept out of them.
"""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F

from skclipad.datasets import DEFECTS, OBJECTS, SURFACES, make_defect_images

# Chosen before any training, so that each has a relative among the others and none is
# a mere variant of one.
HELD_OUT_CATEGORIES = ("leather", "tile", "bottle", "hexagonal nut", "pill")
HELD_OUT_DEFECTS = ("cut", "hole")

IMAGE_SIZE, PATCH_SIZE = 64, 8
CHUNK = 1000
"""Images painted from one seed."""


def _paint_chunk(args):
    path, seed, size, categories, defects, twins = args
    bunches = [
        make_defect_images(
            CHUNK,
            image_size=size,
            categories=categories,
            defects=defects,
            anomaly_fraction=fraction,
            random_state=seed,
        )
        for fraction in ((0, 1) if twins else (0.5,))
    ]

    labels = [np.stack([b.category, b.defect, b.color]).astype(str) for b in bunches]
    images = np.stack([b.images for b in bunches], axis=1)
    np.savez(path, images=images, labels=np.stack(labels, axis=2))


def paint(folder, n_scenes, seed, categories, defects, workers, twins=False):
    """Paint images into a folder, chunk by chunk, skipping chunks that are there.

    Parameters
    ----------
    folder : Path
        Where the chunks go.
    n_scenes : int
        How many scenes, rounded up to whole chunks.
    seed : int
        Seed of the first chunk; the next ones count up.
    categories, defects : sequence of str
        What to paint.
    workers : int
        Processes that paint.
    twins : bool, default=False
        Paint each scene twice, whole and damaged; else once, either.

    Returns
    -------
    images : ndarray of shape (n_scenes, 1 or 2, size, size, 3), uint8
        Scenes; with `twins` the whole image, then the damaged one.
    labels : ndarray of shape (3, n_scenes, 1 or 2), str
        Category, kind of defect ("none" for a whole thing) and colour.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(seed, seed + -(-n_scenes // CHUNK))
    paths = [folder / f"{s}.npz" for s in seeds]
    jobs = [
        (path, s, IMAGE_SIZE, categories, defects, twins)
        for path, s in zip(paths, seeds, strict=True)
        if not path.exists()
    ]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_paint_chunk, jobs))
    parts = [np.load(path) for path in paths]
    images = np.concatenate([part["images"] for part in parts])
    return images, np.concatenate([part["labels"] for part in parts], axis=1)


class Pictures:
    """A pool of painted images with what is known about each.

    Parameters
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
        The images.
    labels : ndarray of shape (3, n), str
        As `paint` gives them.
    """

    def __init__(self, images, labels):
        self.images = torch.from_numpy(images)
        self.category, self.defect, self.color = labels
        self.target = (self.defect != "none").astype(int)

    def __len__(self):
        return len(self.images)


def read_pools(folder, n_scenes, workers):
    """Paint, or find painted, the images for training and for evaluation.

    Parameters
    ----------
    folder : Path
        Where painted images are kept.
    n_scenes : int
        Scenes to train on, each whole and damaged.
    workers : int
        Processes that paint.

    Returns
    -------
    train : Pictures
        Images 2 * i and 2 * i + 1 are twins.
    tests : dict of str to Pictures
        New images of what training shows and of what it does not.
    """
    known = [n for n in (*SURFACES, *OBJECTS) if n not in HELD_OUT_CATEGORIES]
    kinds = [name for name in DEFECTS if name not in HELD_OUT_DEFECTS]
    struck = make_defect_images(1, defects=HELD_OUT_DEFECTS).category_names

    def pool(name, n_scenes, seed, categories, defects, twins=False):
        images, labels = paint(
            folder / name, n_scenes, seed, categories, defects, workers, twins
        )
        return Pictures(images.reshape(-1, *images.shape[2:]), labels.reshape(3, -1))

    tests = {
        "seen": pool("seen", 2 * CHUNK, 10, known, kinds),
        "held-out categories": pool(
            "held", 2 * CHUNK, 20, HELD_OUT_CATEGORIES, DEFECTS
        ),
        "held-out kinds": pool(
            "kinds", CHUNK, 30, [n for n in known if n in struck], HELD_OUT_DEFECTS
        ),
    }
    return pool("train", n_scenes, 1000, known, kinds, twins=True), tests


def augment(images, generator):
    """Vary a batch of twins cheaply: pose, light, colour, noise, black and white.

    Both twins of a scene are varied alike, so that they go on to differ by the defect
    alone.

    Parameters
    ----------
    images : torch.Tensor of shape (2 * n, size, size, 3), uint8
        Whole images, then their damaged twins.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    images : torch.Tensor of shape (2 * n, size, size, 3), float32
        Images on the scale 0 to 255.
    grey : torch.Tensor of shape (2 * n,), bool
        Which ones have lost their colours.
    """

    def uniform(low, high, *shape):
        return torch.rand(shape, generator=generator) * (high - low) + low

    n = len(images) // 2
    x = images.permute(0, 3, 1, 2).float().unflatten(0, (2, n))
    for axis in (3, 4):
        x = torch.where(uniform(0, 1, n, 1, 1, 1) < 0.5, x.flip(axis), x)
    x = torch.where(uniform(0, 1, n, 1, 1, 1) < 0.5, x.transpose(3, 4), x)
    if uniform(0, 1) < 0.5:  # a batch in two is moved: resampling blurs fine defects
        angle, scale = uniform(-0.2, 0.2, n), uniform(0.85, 1.1, n)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        shift = uniform(-0.1, 0.1, 2, n)
        pose = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], 1).view(n, 2, 3)
        # Twins are moved as one image of six channels.
        pairs = x.transpose(0, 1).flatten(1, 2)
        grid = F.affine_grid(pose, pairs.shape, align_corners=False)
        pairs = F.grid_sample(
            pairs, grid, padding_mode="reflection", align_corners=False
        )
        x = pairs.unflatten(1, (2, 3)).transpose(0, 1)
    mean = x.mean((0, 3, 4), keepdim=True)
    x = (x - mean) * uniform(0.75, 1.3, n, 1, 1, 1) + mean
    x = x * uniform(0.9, 1.1, n, 3, 1, 1) + uniform(-20, 20, n, 1, 1, 1)
    if uniform(0, 1) < 0.3:
        noise = torch.randn(x.shape[1:], generator=generator)
        x = x + noise * uniform(0, 8, n, 1, 1, 1)
    grey = uniform(0, 1, n) < 0.08
    x = torch.where(grey[:, None, None, None], x.mean(2, keepdim=True), x)
    return x.flatten(0, 1).clamp(0, 255).permute(0, 2, 3, 1), grey.repeat(2)


def damaged_patches(images):
    """Tell which patches of damaged twins differ from those of the whole ones.

    Parameters
    ----------
    images : torch.Tensor of shape (2 * n, size, size, 3), float32
        Whole images, then their damaged twins, on the scale 0 to 255.

    Returns
    -------
    torch.Tensor of shape (2 * n, n_patches), float32
        1 for damaged patches, 0 for all others.
    """
    whole, damaged = images.chunk(2)
    changed = ((whole - damaged).abs().amax(-1) >= 10).float()
    share = F.avg_pool2d(changed[:, None], PATCH_SIZE).flatten(1)
    hit = (share >= 3 / PATCH_SIZE**2).float()
    return torch.cat([torch.zeros_like(hit), hit])


def draw_windows(hit, generator):
    """Draw a window of patches for each scene, most of them on its defect.

    Parameters
    ----------
    hit : torch.Tensor of shape (2 * n, n_patches)
        As `damaged_patches` gives it.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    torch.Tensor of shape (2 * n, n_kept), int64
        Patches in the window; both twins have the same one.
    """
    n, side = len(hit) // 2, IMAGE_SIZE // PATCH_SIZE
    height, width = torch.randint(2, 6, (2,), generator=generator).tolist()
    # Two windows of three are placed around a damaged patch, the others anywhere.
    anywhere = torch.rand(n, 1, generator=generator) < 1 / 3
    weights = torch.where(anywhere, 1.0, hit[n:] + 1e-6)
    center = torch.multinomial(weights, 1, generator=generator)[:, 0]
    offsets = torch.rand(2, n, generator=generator)
    top = (center // side - (offsets[0] * height).long()).clamp(0, side - height)
    left = (center % side - (offsets[1] * width).long()).clamp(0, side - width)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    return (rows[:, :, None] * side + columns[:, None]).flatten(1).repeat(2, 1)
