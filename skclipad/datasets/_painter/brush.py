"""The brush: paints one thing in its own pose and leaves a layer behind.

A layer is not yet a photo. It holds a colour without light, a height, a coverage and a
gloss; `light` turns layers into a photo. A defect changes the layer, so that light,
shadow, blur and noise treat damaged and whole things alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skclipad.datasets._painter.canvas import (
    F,
    box,
    circle,
    clouds,
    coverage,
    lattice,
    noise,
    pixel_grid,
    sample,
)

PALETTE = {
    "red": (0.74, 0.13, 0.12),
    "orange": (0.90, 0.47, 0.12),
    "yellow": (0.92, 0.79, 0.20),
    "green": (0.20, 0.51, 0.24),
    "turquoise": (0.18, 0.66, 0.66),
    "blue": (0.14, 0.32, 0.68),
    "purple": (0.45, 0.24, 0.58),
    "pink": (0.92, 0.55, 0.66),
    "brown": (0.45, 0.28, 0.16),
    "beige": (0.83, 0.74, 0.58),
    "white": (0.91, 0.91, 0.89),
    "grey": (0.52, 0.52, 0.53),
    "black": (0.11, 0.11, 0.12),
    "silver": (0.73, 0.74, 0.76),
    "gold": (0.80, 0.63, 0.26),
    "copper": (0.72, 0.42, 0.28),
}
METALS = ("silver", "silver", "grey", "gold", "copper", "black")
BRIGHT = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
PAINTS = (*BRIGHT, "white", "black", "grey", "beige", "brown")


def shade_of(rng, name, spread=0.12):
    """Draw one shade of a named colour, an array of 3 values in 0..1."""
    rgb = np.asarray(PALETTE[name], dtype=F)
    rgb = rgb * F(1 + rng.uniform(-spread, spread))
    return np.clip(rgb + rng.uniform(-0.03, 0.03, 3).astype(F), 0.02, 0.98)


def luminance(rgb):
    """Brightness of colours, the last axis being red, green and blue."""
    return rgb @ np.array([0.3, 0.59, 0.11], dtype=F)


@dataclass(frozen=True)
class Kind:
    """One category: how it is painted and what it is made of.

    Attributes
    ----------
    paint : callable
        Paints it with the `Brush` it is handed.
    material : str
        Decides which defects it suffers.
    slender : bool
        Whether it is long and thin, so that it bends.
    """

    paint: Callable
    material: str
    slender: bool = False


def register(registry, name, material, slender=False):
    """Return a decorator that files a painting function under a category's name."""

    def enter(paint):
        registry[name] = Kind(paint, material, slender)
        return paint

    return enter


@dataclass
class Layer:
    """Paint without light.

    Attributes
    ----------
    rgb : ndarray of shape (S, S, 3)
        Colour, 0..1.
    height : ndarray of shape (S, S)
        Relief in units of half the image's side.
    alpha : ndarray of shape (S, S)
        Coverage, 0..1; below 1 what lies behind shows.
    gloss : float
        Strength of highlights, 0..1.
    """

    rgb: np.ndarray
    height: np.ndarray
    alpha: np.ndarray
    gloss: float

    def copy(self):
        """Return a layer that shares no array with this one."""
        return Layer(self.rgb.copy(), self.height.copy(), self.alpha.copy(), self.gloss)

    def tint(self, amount, color):
        """Move the colour towards `color` by `amount`, of shape (S, S), 0..1."""
        self.rgb += amount[..., None] * (np.asarray(color, dtype=F) - self.rgb)

    def tone(self, field):
        """Brighten (positive) or darken (negative) by a fraction."""
        self.rgb *= (1 + field)[..., None]


class Brush(Layer):
    """A layer with the coordinates of its subject, under construction.

    Parameters
    ----------
    size : int
        Side of the image in pixels.
    rng : numpy.random.Generator
        Source of every choice.
    scale, angle, shift : float, float, (float, float)
        Pose: half extent of the subject's unit, turn in radians, centre.

    Attributes
    ----------
    x, y : ndarray of shape (size, size)
        The subject's own coordinates.
    px : float
        Side of a pixel in these coordinates.
    color : str
        Everyday name of the main colour.
    """

    def __init__(self, size, rng, scale=1.0, angle=0.0, shift=(0.0, 0.0)):
        self.size, self.rng, self.scale = size, rng, scale
        x, y = pixel_grid(size)
        c, s = F(np.cos(angle) / scale), F(np.sin(angle) / scale)
        x, y = x - F(shift[0]), y - F(shift[1])
        self.x, self.y = c * x + s * y, c * y - s * x
        self.px = 2 / size / scale
        self.color = "grey"
        super().__init__(
            rgb=np.zeros((size, size, 3), dtype=F),
            height=np.zeros((size, size), dtype=F),
            alpha=np.ones((size, size), dtype=F),
            gloss=0.1,
        )

    # Choices

    def maybe(self, chance):
        """Return True with the given chance."""
        return self.rng.random() < chance

    def between(self, low, high):
        """Draw a number between two others."""
        return low + (high - low) * self.rng.random()

    def integer(self, low, high):
        """Draw an integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, options):
        """Draw one of the options."""
        return options[self.rng.integers(len(options))]

    def shade(self, *names):
        """Draw a shade of one of the named colours."""
        return shade_of(self.rng, self.one_of(names))

    # Paint

    def base(self, *names, spread=0.12):
        """Paint all over with the main colour, one of `names`; return the shade."""
        self.color = self.one_of(names)
        shade = shade_of(self.rng, self.color, spread)
        self.rgb[:] = shade
        return shade

    def metal(self, *names):
        """Paint all over with a metal: brushed, cast or polished."""
        shade = self.base(*(names or METALS))
        kind = self.rng.integers(3)
        if kind == 0:
            self.tone(0.05 * self.streaks(self.between(0, np.pi), 40))
        elif kind == 1:
            self.tone(0.04 * self.clouds(24, 2))
        self.gloss = self.between(0.15, 0.45)
        return shade

    def outline(self, distance):
        """Let the layer cover the shape and nothing else."""
        self.alpha = coverage(distance, self.px)

    def fill(self, distance, color, opacity=1.0):
        """Paint a shape over what is there."""
        self.tint(coverage(distance, self.px) * F(opacity), color)

    # Relief

    def bevel(self, distance, width, depth=1.0):
        """Raise a shape, its edge sloping over `width`; `depth` 1 slopes by 45 deg."""
        t = np.clip(distance * F(-1 / width), 0, 1)
        self.height += F(depth * width * self.scale) * (t * (2 - t))

    def engrave(self, distance, depth=0.03):
        """Sink a shape by `depth` with an edge of one or two pixels."""
        edge = max(self.px, depth)
        self.height -= F(depth * self.scale) * np.clip(0.5 - distance / F(edge), 0, 1)

    def dome(self, distance, radius, depth=0.5):
        """Swell a shape as if a ball of the given radius were under it."""
        t = np.clip(distance * F(-1 / radius), 0, 1)
        self.height += F(depth * radius * self.scale) * np.sqrt(t * (2 - t) + F(1e-4))

    # Texture

    def noise(self, nx, ny=None):
        """Smooth noise over the image; see `noise` of the canvas."""
        return noise(self.rng, self.size, nx, ny)

    def clouds(self, cells, octaves=3, gain=0.6):
        """Noise of several scales over the image."""
        return clouds(self.rng, self.size, cells, octaves, gain)

    def streaks(self, angle, fine, coarse=1.5):
        """Noise drawn out along a direction of the subject."""
        c, s = F(np.cos(angle)), F(np.sin(angle))
        u, v = c * self.x + s * self.y, c * self.y - s * self.x
        nodes = lattice(self.rng)
        return sample(nodes, u * F(coarse) + 31, v * F(fine) + 31) + sample(
            nodes, u * F(2 * coarse), v * F(2.3 * fine)
        )

    def grain(self, amount):
        """Speckle the colour, pixel by pixel at 64 pixels and coarser above."""
        self.tone(F(amount) * self.noise(64))

    def lettering(self, x0, y0, x1, y1, rows=1, columns=6):
        """Cover a box with made-up letters; return their coverage (S, S)."""
        u = (self.x - F(x0)) * F(4 * columns / (x1 - x0))
        v = (self.y - F(y0)) * F(6 * rows / (y1 - y0))
        iu, iv = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)

        glyphs = (self.rng.random((6 * rows, 4 * columns)) < 0.6).astype(F)
        glyphs[:, 3::4] = 0
        glyphs[5::6] = 0

        inside = (iu >= 0) & (iu < 4 * columns) & (iv >= 0) & (iv < 6 * rows)
        iu, iv = np.clip(iu, 0, 4 * columns - 1), np.clip(iv, 0, 6 * rows - 1)
        return glyphs[iv, iu] * inside

    def stamp(self, reach, color=None):
        """Print or emboss a benign mark in the middle: letters, a ring or a disc."""
        color = self.shade(*PAINTS) if color is None else color

        kind = self.rng.integers(4)
        if kind < 2:
            half = reach * self.between(0.5, 0.9)
            tall = half * self.between(0.2, 0.35)
            mark = self.lettering(-half, -tall, half, tall, 1, self.integer(3, 5))
        elif kind == 2:
            d = np.abs(circle(self.x, self.y, reach * 0.7)) - F(reach * 0.1)
            mark = coverage(d, self.px)
        else:
            d = box(self.x, self.y, reach * 0.7, reach * 0.2, reach * 0.1)
            mark = coverage(d, self.px)

        if self.maybe(0.4):
            self.height += mark * F(0.03 * self.scale * self.one_of((-1, 1)))
        else:
            self.tint(mark * F(self.between(0.5, 1)), color)
