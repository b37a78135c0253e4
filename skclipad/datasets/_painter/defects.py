"""Defects: what goes wrong with a painted layer, one function a kind.

A defect changes the layer's colour, relief or coverage around its `Site`. It paints
more strongly where `Site.force` is higher; `_painted` raises the force until the photo
shows it. Lengths follow from `Site.extent`, half the length asked for.
"""

from dataclasses import dataclass

import numpy as np

from skclipad.datasets._painter.brush import luminance, shade_of
from skclipad.datasets._painter.canvas import (
    TAU,
    F,
    box,
    circle,
    clouds,
    convex,
    coverage,
    noise,
    pixel_grid,
    remap,
    smooth,
    wobble,
)


@dataclass
class Site:
    """Where and how strongly a defect strikes.

    Attributes
    ----------
    rng : numpy.random.Generator
        Source of every choice.
    x, y : ndarray of shape (S, S)
        Coordinates around the centre of the defect, turned at random.
    extent : float
        Half the length of the defect, in units of half the image's side.
    px : float
        Side of a pixel.
    force : float
        1 at first, more where the defect could not be seen.
    tone : ndarray of shape (3,)
        Mean colour of the layer around the centre.
    centre, axis : (float, float), float
        Centre in the image; direction of the subject's own x axis in radians.
    material : str
        What the subject is made of.
    solid : bool
        True for an object, False for a surface that fills the image.
    slender : bool
        True for a long and thin object.
    """

    rng: np.random.Generator
    x: np.ndarray
    y: np.ndarray
    extent: float
    px: float
    force: float
    tone: np.ndarray
    centre: tuple
    axis: float
    material: str
    solid: bool
    slender: bool

    @property
    def size(self):
        """Side of the image in pixels."""
        return len(self.x)

    def between(self, low, high):
        """Draw a number between two others."""
        return low + (high - low) * self.rng.random()

    def maybe(self, chance):
        """Return True with the given chance."""
        return self.rng.random() < chance

    def integer(self, low, high):
        """Draw an integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def shade(self, *names):
        """Draw a shade of one of the named colours, pushed away from the tone."""
        return self.away(shade_of(self.rng, names[self.rng.integers(len(names))]))

    def away(self, color):
        """Push a colour away from the tone, the more so the higher the force."""
        step = np.asarray(color, dtype=F) - self.tone
        reach = np.abs(step).max()
        if reach < 0.28:
            pale = luminance(self.tone) < 0.35
            step = step + F((0.3 - reach) * (1 if pale else -1))
        return np.clip(self.tone + step * F(self.force), 0.01, 0.99)

    def opacity(self, low, high):
        """Draw an opacity and raise it by the force."""
        return F(min(1.0, self.between(low, high) * self.force))

    def dark(self):
        """Return the colour of a depth: dark, or pale where all is dark."""
        return self.away(self.tone * F(self.between(0.1, 0.3)))

    def blob(self, radius, roughness=0.15, stretch=1.0):
        """Signed distance to an irregular spot around the centre."""
        x, y = self.x / F(stretch), self.y * F(stretch)
        theta = np.arctan2(y, x)
        wave = sum(
            F(roughness * self.rng.normal() / k)
            * np.cos(k * theta + F(self.rng.uniform(0, TAU)))
            for k in (2, 3, 5)
        )

        cells = int(np.clip(3 / radius, 4, 64))
        wave = wave + F(0.35 * roughness) * noise(self.rng, self.size, cells)
        return np.sqrt(x * x + y * y) - F(radius) * (1 + wave)

    def shard(self, radius, sides=5):
        """Signed distance to an angular splinter around the centre."""
        turns = np.arange(sides) * TAU / sides + self.rng.uniform(-0.4, 0.4, sides)
        offsets = radius * self.rng.uniform(0.6, 1.05, sides)
        jag = F(0.05 * radius) * noise(self.rng, self.size, int(min(64, 8 / radius)))
        return convex(self.x, self.y, turns, offsets) + jag

    def ray(self, start, angle, length, width, amount=0.12, points=6):
        """Signed distance to a jagged line that tapers off."""
        c, s = F(np.cos(angle)), F(np.sin(angle))
        u, v = self.x - F(start[0]), self.y - F(start[1])
        u, v = c * u + s * v, c * v - s * u
        t = u * F(1 / length)
        curve = wobble(self.rng, points, amount * length, t)
        taper = np.maximum(width * (1 - 0.75 * np.clip(t, 0, 1)), 0.55 * self.px)
        return np.maximum(np.abs(v - curve) - taper, np.maximum(-u, u - F(length)))

    def along(self, half_length, half_width, bow=0.0):
        """Signed distance to a smooth spindle through the centre."""
        t = self.x * F(1 / half_length)
        spindle = F(half_width) * np.maximum(1 - t * t, 0)
        spindle = np.maximum(spindle, F(0.5 * self.px))
        across = np.abs(self.y - F(bow) * t * t) - spindle
        return np.maximum(across, np.abs(self.x) - F(half_length))


DEFECTS = {}


def defect(name):
    """Return a decorator that files a function under the name of its defect."""

    def enter(function):
        DEFECTS[name] = function
        return function

    return enter


def _thin(site, share, low, high):
    """Half width of a line: a share of the extent within limits, wider by force."""
    width = min(max(site.extent * share, low), high)
    return max(0.6 * site.px, width) * site.force**0.6


def _fray(layer, site, d, width, color, amount=0.7):
    """Lighten the lips around an opening."""
    lips = (1 - smooth(0, width, np.abs(d))) * F(amount)
    layer.tint(np.minimum(lips, 1), site.away(color))


def _open(layer, site, d):
    """Cut a shape out of the layer, with a shaded rim."""
    layer.height -= F(0.04) * (1 - smooth(-0.02, 0.05, d))
    layer.alpha *= coverage(-d, site.px)


@defect("scratch")
def _scratch(layer, site):
    width = _thin(site, 0.035, 0.012, 0.03)
    color = site.shade("white", "silver", "black") if site.maybe(0.7) else site.dark()
    for k in range(site.integer(1, 3)):
        reach = site.extent * (1 if k == 0 else site.between(0.4, 0.9))
        site.y = site.y - F(k * site.between(0.06, 0.14))
        d = site.along(reach, width, site.between(-0.15, 0.15) * reach)
        layer.tint(coverage(d, site.px) * site.opacity(0.6, 1), color)
        layer.height -= F(0.02 * site.force) * coverage(d, site.px)


@defect("crack")
def _crack(layer, site):
    width, reach = _thin(site, 0.06, 0.014, 0.045), site.extent
    d = np.minimum(
        site.ray((0, 0), site.between(-0.3, 0.3), reach, width),
        site.ray((0, 0), np.pi + site.between(-0.3, 0.3), reach, width),
    )
    for _ in range(site.integer(0, 3)):
        root = (site.between(-0.6, 0.6) * reach, 0.0)
        turn, long = site.rng.uniform(0, TAU), reach * site.between(0.3, 0.6)
        d = np.minimum(d, site.ray(root, turn, long, width * 0.7))

    line = coverage(d, site.px)
    layer.tint(line * site.opacity(0.75, 1), site.dark())
    layer.height -= F(0.03 * site.force) * line


@defect("hole")
def _hole(layer, site):
    soft = site.material in ("textile", "paper", "leather")
    radius = max(site.extent * site.between(0.7, 1), 1.3 * site.px)
    d = site.blob(radius, 0.3 if soft else 0.12)

    if site.solid and site.maybe(0.6):
        layer.tint(coverage(d, site.px), site.dark())
        layer.height -= F(0.08) * (1 - smooth(-0.05, 0.02, d))
    else:
        if soft:
            _fray(layer, site, d, 0.06, site.tone * F(1.3))
        else:
            _fray(layer, site, d, 0.04, site.tone * F(0.5))
        _open(layer, site, d)


@defect("stain")
def _stain(layer, site):
    color = site.shade("brown", "brown", "black", "red", "blue", "yellow", "purple")
    d = site.blob(site.extent * 0.9, site.between(0.15, 0.45))
    soft = site.between(0.02, 0.12)
    inside = 1 - smooth(-soft, soft * 0.3, d)
    edge = np.exp(-((d * F(1 / 0.04)) ** 2)) * F(site.between(0, 0.35))
    amount = inside * site.opacity(0.4, 0.9) + edge * inside
    layer.tint(np.clip(amount, 0, 1), color)


@defect("dent")
def _dent(layer, site):
    radius = max(site.extent, 3 * site.px)
    if site.maybe(0.3):
        d = site.along(radius, radius * 0.3) + F(0.1 * radius)
        bowl = 1 - smooth(-0.25 * radius, 0.2 * radius, d)
    else:
        r = circle(site.x, site.y * F(site.between(1, 1.6)), 0) / F(radius)
        bowl = np.maximum(1 - r * r, 0) ** 2

    deep = min(0.85 * site.force, 2.4) * radius * site.between(0.7, 1)
    layer.height -= F(deep) * bowl
    layer.tone(-F(min(0.15 * site.force, 0.6)) * bowl)


@defect("cut")
def _cut(layer, site):
    width = _thin(site, 0.09, 0.02, 0.07)
    d = site.along(site.extent, width, site.between(-0.08, 0.08))
    _fray(layer, site, d, width, site.tone * F(1.35), 0.6)
    slit = coverage(d, site.px)
    layer.tint(slit * site.opacity(0.85, 1), site.dark())
    layer.height -= F(0.05 * site.force) * slit
    if site.material in ("textile", "paper", "leather", "rubber"):
        layer.alpha *= 1 - slit


@defect("missing piece")
def _missing_piece(layer, site):
    radius = max(site.extent, 2 * site.px)
    if site.solid and site.maybe(0.4):
        d = site.blob(radius, 0.2)
    else:
        d = site.shard(radius, site.integer(4, 7))

    if site.material not in ("textile", "mesh", "paper"):
        rim = 1 - smooth(0, F(max(0.05, 1.5 * site.px)), d)
        layer.tint(rim * F(0.6), site.away(site.tone * F(site.between(0.6, 1.4))))
    _open(layer, site, d)


@defect("chip")
def _chip(layer, site):
    d = site.shard(max(site.extent * 0.8, 1.5 * site.px), site.integer(4, 6))
    raw = site.away(site.tone * F(0.5) + F(0.5 * site.between(0.1, 0.9)))
    face = coverage(d, site.px)
    slope = site.x * F(site.between(-0.5, 0.5)) + site.y * F(site.between(-0.5, 0.5))
    layer.tint(face * site.opacity(0.8, 1), raw)
    layer.height += face * (slope - F(0.05))
    layer.tone(face * F(0.12) * clouds(site.rng, site.size, 24, 2))
    if site.solid:
        layer.alpha *= 1 - face * smooth(0.3, 0.35, face * (site.x > 0))


@defect("contamination")
def _contamination(layer, site):
    rng, n = site.rng, site.integer(1, 9)
    if site.maybe(0.25):  # a hair
        d = site.ray((-site.extent, 0), 0, 2 * site.extent, 0.014, 0.1, 9)
    else:
        spots = rng.normal(0, 0.45 * site.extent, (n, 2, 1, 1)).astype(F)
        radii = rng.uniform(0.1, 0.3, (n, 1, 1)) * site.extent + 0.8 * site.px
        spread = (site.x - spots[:, 0]) ** 2 + (site.y - spots[:, 1]) ** 2
        d = (np.sqrt(spread) - radii.astype(F)).min(axis=0)
        d = d + F(0.012) * noise(rng, site.size, 24)

    color = site.shade("black", "brown", "white", "green", "blue", "red", "yellow")

    lump = coverage(d, site.px)
    ground = 1 - smooth(0, 0.06, d)
    layer.tone(-F(0.25) * ground * (1 - lump))
    layer.tint(lump * site.opacity(0.8, 1), color)
    layer.height += F(0.05) * smooth(-0.08, 0.01, -d)
    layer.alpha = np.maximum(layer.alpha, lump * (layer.alpha.max() > 0))


@defect("discoloration")
def _discoloration(layer, site):
    d = site.blob(site.extent * 0.9, 0.3)
    amount = 1 - smooth(-0.7 * site.extent, 0.1 * site.extent, d)

    kind = site.integer(0, 2)
    if kind == 0:
        color = site.shade("yellow", "orange", "brown", "green", "blue", "purple")
    elif kind == 1:
        color = site.away(site.tone * F(0.4) + F(0.55))
    else:
        color = site.away(site.tone * F(0.5))

    keep = layer.rgb / np.maximum(site.tone, F(0.05))
    keep = np.clip(keep, 0.4, 1.8)
    layer.rgb += (amount * site.opacity(0.5, 0.85))[..., None] * (
        np.clip(color * keep, 0, 1) - layer.rgb
    )


def _warped(layer, x, y):
    """Move all of a layer, in place, to where x and y look it up."""
    for name in ("rgb", "height", "alpha"):
        setattr(layer, name, remap(getattr(layer, name), x, y))


@defect("bend")
def _bend(layer, site):
    x, y = pixel_grid(site.size)
    if not site.solid:
        r2 = (site.x**2 + site.y**2) * F(1 / (0.55 * site.extent) ** 2)
        push = F(site.extent * 0.35 * min(site.force, 1.6)) * np.exp(-r2)
        turn = site.rng.uniform(0, TAU)
        _warped(layer, x + push * F(np.cos(turn)), y + push * F(np.sin(turn)))
        layer.height += F(0.3) * push
        return

    c, s = F(np.cos(site.axis)), F(np.sin(site.axis))
    cx, cy = (F(0.55 * value) for value in site.centre)  # not at the very end
    u, v = c * (x - cx) + s * (y - cy), c * (y - cy) - s * (x - cx)
    side = 1 if cx * c + cy * s > 0 else -1

    angle = site.between(0.35, 0.7) * min(site.force, 2) * site.rng.choice((-1, 1))
    turn = F(angle * side) * smooth(-0.12, 0.12, u * side)
    ct, st = np.cos(turn), np.sin(turn)
    u, v = ct * u + st * v, ct * v - st * u

    _warped(layer, c * u - s * v + cx, s * u + c * v + cy)


@defect("break")
def _break(layer, site):
    if not site.solid:
        d = box(site.x, site.y, site.extent, max(0.4 * site.extent, 2 * site.px), 0.01)
        jag = F(0.03) * noise(site.rng, site.size, 20)
        _open(layer, site, d + jag)
        return

    x, y = pixel_grid(site.size)
    cx, cy = site.centre

    # The line runs across the subject, the lesser part falling off outwards.
    aim = np.arctan2(cy, cx) + site.between(-0.4, 0.4)
    if site.slender:
        outward = cx * np.cos(site.axis) + cy * np.sin(site.axis) > 0
        aim = site.axis if outward else site.axis + np.pi

    c, s = F(np.cos(aim)), F(np.sin(aim))
    u, v = c * (x - F(cx)) + s * (y - F(cy)), c * (y - F(cy)) - s * (x - F(cx))
    jag = wobble(site.rng, 12, 0.05, v * F(0.5) + F(0.5))
    keep = coverage(u - jag, site.px)

    whole = layer.copy()
    gap, slip = site.between(0.07, 0.16) * site.force, site.between(-0.15, 0.15)
    if site.maybe(0.35):
        layer.alpha *= keep
        return

    dx, dy = c * gap - s * slip, s * gap + c * slip
    _warped(whole, x - F(dx), y - F(dy))
    u, v = u - F(gap), v - F(slip)
    jag = wobble(site.rng, 12, 0.05, v * F(0.5) + F(0.5))
    part = whole.alpha * coverage(jag - u, site.px)
    layer.alpha *= keep

    share = part / np.maximum(part + layer.alpha, F(1e-3))
    layer.tint(share, whole.rgb)
    layer.height += share * (whole.height - layer.height)
    layer.alpha = np.maximum(layer.alpha, part)


@defect("burn")
def _burn(layer, site):
    d = site.blob(site.extent * 0.6, 0.3)
    halo = 1 - smooth(0, 0.45 * site.extent + site.px, d)
    layer.tint(halo * site.opacity(0.5, 0.8), site.away((0.36, 0.2, 0.09)))
    char = 1 - smooth(-0.2 * site.extent, 0.12 * site.extent, d)
    coal = site.away((0.05, 0.04, 0.04))
    layer.tint(char * site.opacity(0.8, 1), coal)
    layer.tone(char * F(0.25) * clouds(site.rng, site.size, 24, 2))
    layer.height += F(0.015) * char * noise(site.rng, site.size, 24)


@defect("tear")
def _tear(layer, site):
    reach = site.extent
    u = (site.x + F(reach)) * F(1 / (2 * reach))
    gape = max(site.between(0.12, 0.3) * reach, 1.5 * site.px)
    upper, lower = (wobble(site.rng, 9, 0.06 * reach, u) for _ in range(2))
    half = F(gape) * np.clip(1 - u, 0, 1)
    d = np.maximum(site.y - half - upper, -half - site.y + lower)
    d = np.maximum(d, np.abs(site.x) - F(reach))
    pale = site.tone * F(0.4) + F(0.55) if site.material == "paper" else site.tone * 1.4
    _fray(layer, site, d, max(0.05, 1.2 * site.px), pale, 0.9)
    _open(layer, site, d)


@defect("fold")
def _fold(layer, site):
    t = site.x * F(1 / site.extent)
    fade = np.maximum(1 - t * t, 0)
    curve = wobble(site.rng, 6, 0.03 * site.extent, t * F(0.5) + F(0.5))
    v = site.y - curve
    side = site.rng.choice((-1, 1))
    strong = min(site.force, 3.0)
    away = np.exp(-np.abs(v) * F(1 / (0.25 * site.extent + 2 * site.px)))
    layer.tone(F(side * 0.45 * strong) * np.sign(v) * away * fade)
    line = coverage(np.abs(v) - F(_thin(site, 0.03, 0.014, 0.03)), site.px) * fade
    crease = site.away(site.tone * F(0.45 if site.maybe(0.6) else 1.5))
    layer.tint(line * site.opacity(0.8, 1), crease)
    layer.height += F(0.05 * strong) * away * fade


@defect("rust")
def _rust(layer, site):
    field = clouds(site.rng, site.size, 10, 3, 0.8)
    d = site.blob(site.extent * 0.9, 0.35)
    patch = 1 - smooth(-0.35 * site.extent, 0.25 * site.extent, d + 0.05 * field)
    patch = patch * smooth(-1.3, -0.2, field + 2.2 * (patch - F(0.4)))
    brown = site.away((0.50, 0.24, 0.09))
    layer.tint(patch * site.opacity(0.75, 1), brown)
    fine = noise(site.rng, site.size, 40)
    layer.rgb += (patch * 0.09 * fine)[..., None] * np.array([1, 0.6, 0.25], dtype=F)
    layer.height += F(0.008) * patch * fine


@defect("bubble")
def _bubble(layer, site):
    for k in range(site.integer(1, 4)):
        radius = max(site.extent * (0.6 if k == 0 else site.between(0.15, 0.4)), 0.05)
        radius = max(radius, 2.2 * site.px)
        x0, y0 = site.rng.normal(0, 0.4 * site.extent, 2) if k else (0.0, 0.0)
        d = circle(site.x - F(x0), site.y - F(y0), radius)
        t = np.clip(d * F(-1 / radius), 0, 1)
        layer.height += F(radius * min(0.9 * site.force, 2.0)) * np.sqrt(
            t * (2 - t) + F(1e-4)
        )
        glow = np.exp(-((d * F(1 / max(0.02, 0.7 * site.px))) ** 2))
        layer.tone(-F(min(0.4 * site.force, 0.8)) * glow)
        pale = site.away(site.tone * F(0.6) + F(0.4))
        layer.tint(t * F(min(0.3 * site.force, 0.7)), pale)


@defect("scuff")
def _scuff(layer, site):
    d = site.blob(site.extent * 0.9, 0.3, 1.3)
    patch = 1 - smooth(-0.4 * site.extent, 0.15 * site.extent, d)
    lines = noise(site.rng, site.size, 3, 64)
    if site.maybe(0.5):
        lines = lines.T
    rubbed = patch * smooth(-0.7, 0.5, lines)
    color = site.away(site.tone * F(0.5) + F(0.5 * site.rng.choice((0.15, 0.95))))
    layer.tint(np.minimum(rubbed * site.opacity(0.85, 1), 1), color)


@defect("loose thread")
def _loose_thread(layer, site):
    reach, width = site.extent, _thin(site, 0.05, 0.018, 0.035)
    t = site.x * F(1 / reach)
    phase, waves = site.between(0, TAU), site.between(1.5, 4)
    curl = F(0.28 * reach) * np.sin(F(phase) + F(waves) * t + 0.8 * t * t)
    slope = np.sqrt(1 + (F(0.28 * waves) * np.cos(F(phase) + F(waves) * t)) ** 2)
    d = np.maximum(np.abs(site.y - curl) / slope - F(width), np.abs(t) * reach - reach)
    shade = 1 - smooth(0, 0.05, d - F(0.01))
    layer.tone(-F(0.4) * shade)
    color = site.away(site.tone * F(0.4) + F(0.55 * site.rng.choice((0.1, 1))))
    layer.tint(coverage(d, site.px), color)
    layer.height += F(0.02) * coverage(d, site.px)


@defect("mold")
def _mold(layer, site):
    rng, n = site.rng, site.integer(4, 14)
    spots = rng.normal(0, 0.42 * site.extent, (n, 2, 1, 1)).astype(F)
    radii = rng.uniform(0.06, 0.3, (n, 1, 1)) * site.extent + 0.7 * site.px
    spread = (site.x - spots[:, 0]) ** 2 + (site.y - spots[:, 1]) ** 2
    d = (np.sqrt(spread) / radii.astype(F)).min(axis=0)
    d = d + F(0.2) * noise(rng, site.size, 40)
    fuzz = 1 - smooth(0.4, 1.2, d)
    color = site.shade("green", "black", "white", "turquoise")
    layer.tint(fuzz * site.opacity(0.75, 1), color)
    heart = 1 - smooth(0.1, 0.6, d)
    layer.tint(heart * F(0.5), site.away(color * F(0.4)))


def strike(name, layer, site):
    """Return a copy of a layer with the defect of that name at a site."""
    damaged = layer.copy()
    DEFECTS[name](damaged, site)
    if name not in ("bend", "break", "contamination"):
        # What lies outside the subject's outline stays as it was.
        damaged.alpha = np.minimum(damaged.alpha, layer.alpha)
    return damaged


def local_tone(layer, x, y, reach):
    """Mean colour of a layer near the origin of x and y, weighted by coverage."""
    weight = np.exp(-(x * x + y * y) * F(1 / reach**2)) * layer.alpha
    total = weight.sum() + F(1e-6)
    return np.einsum("ij,ijk->k", weight, layer.rgb) / total
