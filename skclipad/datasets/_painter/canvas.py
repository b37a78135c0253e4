"""What every painted image stands on: coordinates, noise, blur and shapes.

An image is a square of side 2 around the origin, x to the right and y down, whatever
its number of pixels, so that shapes, textures and defects scale with the image. All
arrays are float32; what depends on the size alone is computed once and kept.

A shape is its signed distance: negative inside, zero on the outline, positive outside.
"""

from functools import lru_cache

import numpy as np

F = np.float32
TAU = 2 * np.pi
_SPLINE_STD = 0.479  # of the cubic B-spline of unit normal nodes, in two dimensions


@lru_cache(maxsize=32)
def pixel_grid(size):
    """Return the x and y of the pixel centres, two arrays of shape (size, size)."""
    line = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(F)
    x, y = np.meshgrid(line, line)
    for array in (x, y):
        array.setflags(write=False)
    return x, y


@lru_cache(maxsize=512)
def _spline_weights(size, cells):
    """Cubic B-spline weights from ``cells + 3`` nodes to ``size`` pixels."""
    t = (np.arange(size) + 0.5) * (cells / size)
    base = np.minimum(t.astype(int), cells - 1)
    f = t - base
    taps = (
        (1 - f) ** 3 / 6,
        (3 * f**3 - 6 * f**2 + 4) / 6,
        (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
        f**3 / 6,
    )

    weights = np.zeros((size, cells + 3), dtype=F)
    for k, tap in enumerate(taps):
        weights[np.arange(size), base + k] = tap
    return weights


def noise(rng, size, nx, ny=None):
    """Smooth noise of mean 0 and deviation 1 with nx by ny cells over the image.

    As many cells as pixels, or more, is white noise.
    """
    ny = nx if ny is None else ny
    nodes = rng.standard_normal((ny + 3, nx + 3), dtype=F)  # as many at any size

    if nx >= size and ny >= size:
        return nodes[:size, :size].copy()

    nx, ny = min(nx, size), min(ny, size)
    nodes = nodes[: ny + 3, : nx + 3] * F(1 / _SPLINE_STD)
    return _spline_weights(size, ny) @ nodes @ _spline_weights(size, nx).T


def clouds(rng, size, cells, octaves=3, gain=0.6):
    """Noise of several scales, each twice as fine as the last; deviation about 1."""
    total, weight, norm = 0, 1.0, 0.0
    for octave in range(octaves):
        total = total + F(weight) * noise(rng, size, cells << octave)
        norm += weight * weight
        weight *= gain
    return total * F(1 / np.sqrt(norm))


def lattice(rng, cells=64):
    """Draw the nodes of a periodic lattice for `sample`; `cells` a power of two."""
    return rng.uniform(-1, 1, (cells, cells)).astype(F)


def sample(nodes, u, v):
    """Read a periodic lattice, smoothly, at the coordinates u and v (in cells).

    Noise by this route follows any rotated, bent or polar coordinates.
    """
    cells = len(nodes)
    fu, fv = np.floor(u), np.floor(v)

    su, sv = u - fu, v - fv
    su = su * su * (3 - 2 * su)
    sv = sv * sv * (3 - 2 * sv)

    iu, iv = fu.astype(np.int32), fv.astype(np.int32)
    flat, last = nodes.ravel(), cells - 1
    row0, row1 = (iv & last) * cells, ((iv + 1) & last) * cells
    col0, col1 = iu & last, (iu + 1) & last

    top = flat[row0 + col0]
    top += su * (flat[row0 + col1] - top)
    low = flat[row1 + col0]
    low += su * (flat[row1 + col1] - low)
    top += sv * (low - top)
    return top


def per_cell(rng, u, v, cells=16):
    """One value in [-1, 1] for each unit cell of the coordinates u and v."""
    table = lattice(rng, cells)
    rows = np.floor(v).astype(np.int32) & (cells - 1)
    return table[rows, np.floor(u).astype(np.int32) & (cells - 1)]


@lru_cache(maxsize=128)
def _blur_matrix(size, sigma):
    """Gaussian blur of one axis as a matrix, its edges reflected."""
    line = np.arange(size)
    distance = line[:, None] - np.concatenate([line, -1 - line, 2 * size - 1 - line])
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    kernel = kernel.reshape(size, 3, size).sum(axis=1)
    kernel[kernel < 1e-7] = 0  # subnormal numbers would slow the product tenfold
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(F)


def blur(image, sigma):
    """Blur an image of shape (S, S) or (S, S, 3); `sigma` in pixels."""
    size = len(image)
    matrix = _blur_matrix(size, round(float(sigma), 2))
    if image.ndim == 2:
        return matrix @ image @ matrix.T
    channels = np.ascontiguousarray(image.transpose(2, 0, 1))
    return np.ascontiguousarray((matrix @ channels @ matrix.T).transpose(1, 2, 0))


def remap(image, x, y):
    """Read an image, for each pixel at x and y, bilinearly, its edges repeated."""
    size = len(image)
    u = np.clip((x + 1) * (size / 2) - 0.5, 0, size - 1.001)
    v = np.clip((y + 1) * (size / 2) - 0.5, 0, size - 1.001)
    iu, iv = u.astype(np.int32), v.astype(np.int32)
    fu, fv = (u - iu).astype(F), (v - iv).astype(F)
    if image.ndim == 3:
        fu, fv = fu[..., None], fv[..., None]
    top = image[iv, iu] * (1 - fu) + image[iv, iu + 1] * fu
    low = image[iv + 1, iu] * (1 - fu) + image[iv + 1, iu + 1] * fu
    return top * (1 - fv) + low * fv


# Shapes: signed distances, or close enough to them near the outline.


def circle(x, y, radius):
    """Signed distance to a circle around the origin."""
    return np.sqrt(x * x + y * y) - F(radius)


def ring(x, y, radius, width):
    """Signed distance to a ring of the given middle radius and half width."""
    return np.abs(circle(x, y, radius)) - F(width)


def ellipse(x, y, a, b):
    """Signed distance, to first order, to an ellipse of half axes a and b."""
    u, v = x / F(a), y / F(b)
    k = np.sqrt(u * u + v * v) + F(1e-6)
    slope = np.sqrt((u / F(a)) ** 2 + (v / F(b)) ** 2) + F(1e-6)
    return k * (k - 1) / slope


def box(x, y, a, b, radius=0.0):
    """Signed distance to a box of half sides a and b with rounded corners."""
    u, v = np.abs(x) - F(a - radius), np.abs(y) - F(b - radius)
    outside = np.sqrt(np.maximum(u, 0) ** 2 + np.maximum(v, 0) ** 2)
    return outside + np.minimum(np.maximum(u, v), 0) - F(radius)


def segment(x, y, start, end, radius):
    """Signed distance to a stroke of the given half width between two points."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = F(x1 - x0), F(y1 - y0)
    u, v = x - F(x0), y - F(y0)
    t = np.clip((u * dx + v * dy) / (dx * dx + dy * dy + F(1e-9)), 0, 1)
    return np.sqrt((u - t * dx) ** 2 + (v - t * dy) ** 2) - F(radius)


def fold_angle(x, y, n):
    """Fold the plane onto one of n equal sectors around the x axis."""
    r, sector = np.sqrt(x * x + y * y), TAU / n
    angle = np.mod(np.arctan2(y, x) + F(sector / 2), F(sector)) - F(sector / 2)
    return r * np.cos(angle), r * np.sin(angle)


def ngon(x, y, n, radius, rounding=0.0):
    """Signed distance to a regular polygon, one flat side facing +x."""
    u, v = fold_angle(x, y, n)
    inner = radius * np.cos(np.pi / n) - rounding
    half = inner * np.tan(np.pi / n)
    du, dv = u - F(inner), np.maximum(np.abs(v) - F(half), 0)
    return np.where(du > 0, np.sqrt(du * du + dv * dv), du) - F(rounding)


def convex(x, y, angles, offsets):
    """Signed distance to the convex shape cut by half planes."""
    d = F(-9)
    for angle, offset in zip(angles, offsets, strict=True):
        d = np.maximum(d, x * F(np.cos(angle)) + y * F(np.sin(angle)) - F(offset))
    return d


def wobble(rng, points, amount, t):
    """A random curve: values of deviation `amount` at even points, read at t in 0..1.

    Its corners stay sharp, which makes cracks and tears of it.
    """
    nodes = rng.normal(0, amount, points)
    nodes[[0, -1]] *= 0.3
    return np.interp(t, np.linspace(0, 1, points), nodes).astype(F)


def coverage(distance, px):
    """How much of each pixel a shape covers, 0..1; `px` is the side of a pixel."""
    return np.clip(F(0.5) - distance * F(1 / px), 0, 1)


def smooth(low, high, value):
    """Rise from 0 at `low` to 1 at `high` without corners."""
    t = np.clip((value - F(low)) * F(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)
