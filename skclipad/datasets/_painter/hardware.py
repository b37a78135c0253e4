"""Objects of the workshop: fasteners, bearings, blanks and whatever is machined.

Each function paints one category within about -1 to 1 of its own coordinates, lying
along x where it is long, and draws whatever may vary in a whole one.
"""

import numpy as np

from skclipad.datasets._painter.brush import METALS, PAINTS, register
from skclipad.datasets._painter.canvas import (
    TAU,
    F,
    box,
    circle,
    convex,
    coverage,
    ellipse,
    fold_angle,
    ngon,
    ring,
    segment,
    smooth,
)

HARDWARE = {}


def _turned(b, amount):
    """Add the two bright wedges that a lathe leaves on a flat face."""
    wedge = np.cos(2 * np.arctan2(b.y, b.x) - F(b.between(0, TAU)))
    b.tone(F(amount) * wedge)


@register(HARDWARE, "hexagonal nut", "metal")
def _hexagonal_nut(b):
    b.metal("silver", "silver", "grey", "gold", "black")
    d, bore = ngon(b.x, b.y, 6, 0.95, 0.05), b.between(0.42, 0.55)
    b.bevel(np.maximum(d, circle(b.x, b.y, 0.9)), 0.12, 0.7)
    _turned(b, b.between(0.03, 0.12))
    thread = circle(b.x, b.y, bore + 0.06)
    b.bevel(-thread, 0.08, 0.6)
    b.fill(thread, b.shade("grey") * F(0.6))
    b.outline(np.maximum(d, -circle(b.x, b.y, bore)))


@register(HARDWARE, "washer", "metal")
def _washer(b):
    b.metal(*METALS)
    bore, outer = b.between(0.3, 0.62), circle(b.x, b.y, 0.95)
    d = np.maximum(outer, -circle(b.x, b.y, bore))
    _turned(b, b.between(0.05, 0.16))
    b.bevel(d, b.between(0.03, 0.1), 0.8)
    if b.maybe(0.25):
        u, v = fold_angle(b.x, b.y, b.integer(6, 12))
        d = np.maximum(d, -box(u - 0.95, v, 0.12, 0.06))
    b.outline(d)


@register(HARDWARE, "bearing", "metal")
def _bearing(b):
    b.metal("silver", "silver", "grey", "black")

    bore = b.between(0.28, 0.42)
    d = np.maximum(circle(b.x, b.y, 0.96), -circle(b.x, b.y, bore))

    _turned(b, 0.08)

    middle = (0.96 + bore) / 2
    track = ring(b.x, b.y, middle, b.between(0.12, 0.17))
    b.bevel(d, 0.04, 0.8)
    b.bevel(-track, 0.04, 0.6)

    if b.maybe(0.35):
        b.fill(track, b.shade("black", "brown", "blue", "red", "grey"))
    else:
        b.fill(track, (0.12, 0.12, 0.13))
        u, v = fold_angle(b.x, b.y, b.integer(8, 13))
        ball = circle(u - F(middle), v, 0.13)
        b.fill(ball, (0.78, 0.79, 0.82))
        b.dome(ball, 0.13, 0.9)

    b.outline(d)


@register(HARDWARE, "gear", "metal")
def _gear(b):
    if b.maybe(0.7):
        b.metal("silver", "grey", "gold", "copper", "black")
    else:
        b.base("white", "black", "orange", "blue")

    n, depth = b.integer(9, 22), b.between(0.1, 0.18)
    r, theta = circle(b.x, b.y, 0), np.arctan2(b.y, b.x)
    tooth = smooth(-0.45, 0.45, np.sin(theta * n))
    d = r - F(0.96 - depth) - F(depth) * tooth

    bore = b.between(0.14, 0.28)
    _turned(b, b.between(0, 0.1))
    b.bevel(d, 0.05, 0.7)

    hub = circle(b.x, b.y, bore + 0.14)
    if b.maybe(0.7):
        web = np.maximum(r - F(0.7 - depth / 2), -hub)
        b.engrave(web, 0.05)
        if b.maybe(0.6):
            u, v = fold_angle(b.x, b.y, b.integer(3, 6))
            d = np.maximum(d, -circle(u - 0.5, v, 0.13))

    d = np.maximum(d, -circle(b.x, b.y, bore))
    if b.maybe(0.4):
        d = np.maximum(d, -box(b.x - F(bore), b.y, 0.07, 0.06))

    b.outline(d)


@register(HARDWARE, "screw", "metal", slender=True)
def _screw(b):
    b.metal("silver", "grey", "gold", "black")

    head, shank = b.between(0.24, 0.34), b.between(0.11, 0.16)
    start = -0.95 + b.between(0.18, 0.3)
    taper = np.clip((0.97 - b.x) * F(1 / b.between(0.1, 0.4)), 0, 1)

    pitch = b.between(0.07, 0.12)
    turn = np.abs(np.mod((b.x + b.y * 0.25) / F(pitch), 1) - F(0.5)) * 2
    threaded = smooth(-0.03, 0.03, b.x - F(start + b.between(0.05, 0.4)))
    reach = (F(shank) - F(0.035) * threaded * turn) * taper

    body = np.maximum(np.abs(b.y) - reach, np.abs(b.x - F(start + 1) / 2 - 0.0) - 0.9)
    body = np.maximum(body, F(start) - b.x)

    slope = np.clip((F(start) - b.x) / F(start + 0.95), 0, 1)
    wide = shank + (head - shank) * smooth(0, 0.8, slope)
    top = np.maximum(np.abs(b.y) - wide, np.maximum(b.x - F(start), -0.95 - b.x))
    d = np.minimum(body, top)

    b.tone(-0.4 * threaded * turn * (b.x > start))
    b.dome(np.abs(b.y) - np.maximum(reach, wide * (b.x < start)), shank, 0.9)
    b.outline(d)


@register(HARDWARE, "threaded rod", "metal", slender=True)
def _threaded_rod(b):
    b.metal("silver", "grey", "gold", "black")
    half, pitch = b.between(0.15, 0.42), b.between(0.09, 0.2)
    phase = (b.x + b.y * F(b.between(0.1, 0.35))) / F(pitch)
    turn = np.abs(np.mod(phase, 1) - F(0.5)) * 2
    reach = F(half) - F(0.3 * pitch) * turn
    d = np.maximum(np.abs(b.y) - reach, np.abs(b.x) - F(b.between(0.9, 1.6)))
    b.tone(0.1 - 0.45 * turn)
    b.height -= F(0.35 * pitch * b.scale) * turn
    b.dome(np.abs(b.y) - F(half), half, 0.9)
    b.outline(d)


@register(HARDWARE, "spring", "metal", slender=True)
def _spring(b):
    wire = b.metal("silver", "grey", "black", "copper", "gold")
    half, pitch, thick = b.between(0.25, 0.4), b.between(0.17, 0.26), 0.045
    ends = np.abs(b.x) - F(0.88)
    slope = pitch / (4 * half)
    front = np.mod(b.x - b.y * F(slope) + F(pitch / 2), F(pitch)) - F(pitch / 2)
    back = np.mod(b.x + b.y * F(slope) + F(pitch), F(pitch)) - F(pitch / 2)
    reach = np.abs(b.y) - F(half)
    front = np.maximum(np.maximum(np.abs(front) - F(thick), reach), ends)
    back = np.maximum(np.maximum(np.abs(back) - F(thick), reach), ends)
    b.fill(np.where(front < 0, F(1), back), wire * F(0.55))
    b.dome(np.minimum(front, back + 0.02), thick, 0.9)
    b.outline(np.minimum(front, back))


@register(HARDWARE, "key", "metal", slender=True)
def _key(b):
    b.metal("silver", "gold", "gold", "copper", "grey")

    head = b.between(0.3, 0.38)
    if b.maybe(0.5):
        bow = circle(b.x + F(0.96 - head), b.y, head)
    else:
        bow = box(b.x + F(0.96 - head), b.y, head, head * b.between(0.8, 1.05), 0.12)

    blade = box(b.x - 0.2, b.y, 0.76, 0.11, 0.02)
    cuts = b.rng.uniform(0.0, 0.1, 9)
    level = np.interp(b.x, np.linspace(0.1, 0.95, 9), cuts).astype(F)
    blade = np.maximum(blade, b.y - F(0.11) + level * (b.x > 0.1))
    d = np.minimum(bow, blade)

    hole = circle(b.x + F(0.96 - 0.45 * head), b.y, b.between(0.08, 0.12))
    d = np.maximum(d, -hole)
    b.bevel(d, 0.04, 0.8)

    groove = np.maximum(np.abs(b.y - 0.03) - F(0.02), -0.25 - b.x)
    b.engrave(np.maximum(groove, b.x - 0.85), 0.03)
    b.tone(-0.25 * coverage(groove, b.px))

    if b.maybe(0.5):
        b.x += F(0.96 - head)
        b.stamp(head * 0.45)
        b.x -= F(0.96 - head)
    b.outline(d)


@register(HARDWARE, "gasket", "rubber")
def _gasket(b):
    b.base("black", "black", "red", "blue", "green", "grey", "brown", spread=0.3)

    kind, wide = b.rng.integers(3), b.between(0.09, 0.2)
    if kind == 0:
        d = ring(b.x, b.y, 0.92 - wide, wide)
    elif kind == 1:
        ratio, corner = b.between(0.55, 0.95), b.between(0.1, 0.35)
        inner = box(b.x, b.y, 0.9 - wide, ratio - wide, corner)
        d = np.abs(inner) - F(wide)
    else:
        outer = ngon(b.x, b.y, b.integer(3, 6), 0.97, 0.2)
        d = np.maximum(outer, -circle(b.x, b.y, b.between(0.3, 0.42)))
        n = b.integer(3, 6)
        u, v = fold_angle(b.x, b.y, n)
        d = np.maximum(d, -circle(u - 0.62, v, 0.09))

    b.dome(d, 0.12, b.between(0.3, 0.8))
    b.tone(0.05 * b.clouds(24, 2))
    b.gloss = b.between(0.05, 0.35)
    b.outline(d)


@register(HARDWARE, "bracket", "metal")
def _bracket(b):
    if b.maybe(0.6):
        b.metal(*METALS)
    else:
        b.base(*PAINTS)

    arm, thick = b.between(0.6, 0.95), b.between(0.2, 0.32)
    if b.maybe(0.5):
        d = np.minimum(
            box(b.x, b.y + F(arm - thick), 0.9, thick, 0.06),
            box(b.x + F(0.9 - thick), b.y, thick, arm, 0.06),
        )
        spots = [(-0.9 + thick, arm - thick), (0.9 - thick, thick - arm)]
        spots.append((-0.9 + thick, thick - arm))
        fold = b.x - F(0.9 - 0.0) + F(1.8 - 2 * thick)
    else:
        d = box(b.x, b.y, 0.95, thick, thick * b.between(0.1, 0.9))
        spots = [(-0.7, 0), (0.7, 0), (0, 0)][: b.integer(2, 3)]
        fold = b.x - F(b.between(-0.3, 0.3))

    b.bevel(d, 0.05, 0.7)
    if b.maybe(0.4):
        b.tone(-0.15 * smooth(-0.02, 0.02, fold))

    for x0, y0 in spots:
        d = np.maximum(d, -circle(b.x - F(x0), b.y - F(y0), thick * 0.38))
    b.outline(d)


@register(HARDWARE, "coin", "metal")
def _coin(b):
    b.metal("silver", "gold", "copper", "grey", "gold")
    d = circle(b.x, b.y, 0.95)
    b.bevel(d, 0.04, 0.8)
    b.engrave(circle(b.x, b.y, 0.84), 0.03)

    if b.maybe(0.35):
        two = b.shade("silver", "gold", "copper")
        b.fill(circle(b.x, b.y, b.between(0.5, 0.65)), two)

    beads = circle(*_spot(b, 0.76, b.integer(18, 30)), 0.03)
    b.bevel(beads, 0.02, 0.8)

    kind = b.rng.integers(3)
    if kind == 0:
        digit = b.lettering(-0.4, -0.3, 0.4, 0.3, 1, b.integer(1, 3))
        b.height += F(0.035 * b.scale) * digit
        b.tone(0.15 * digit)
    elif kind == 1:
        star = circle(*fold_angle(b.x, b.y, 5), 0)
        u, v = fold_angle(b.x, b.y, 5)
        star = np.maximum(u * 0.8 + np.abs(v) * 1.6 - F(0.42), star - F(0.55))
        b.bevel(star, 0.1, 0.6)
    else:
        face = ellipse(b.x, b.y + 0.1, 0.27, 0.36)
        bust = np.minimum(face, ellipse(b.x, b.y - 0.55, 0.45, 0.25))
        b.dome(bust, 0.25, 0.5)
        b.tone(0.1 * coverage(bust, b.px))

    b.tone(0.04 * b.clouds(12, 3))
    b.outline(d)


def _spot(b, radius, n):
    """Coordinates around the nearest of n places on a circle."""
    u, v = fold_angle(b.x, b.y, n)
    return u - F(radius), v


def _blank(b):
    """Return the outline of a random part: the distance, no two alike."""
    x, y, kind = b.x, b.y, b.rng.integers(8)
    wide, tall = b.between(0.6, 0.95), b.between(0.3, 0.95)

    if kind == 0:
        return box(x, y, wide, tall, b.between(0, 0.3) * tall)
    if kind == 1:
        return ellipse(x, y, wide, tall)
    if kind == 2:
        return ngon(x, y, b.integer(3, 9), 0.95, b.between(0, 0.2))

    if kind == 3:
        n = b.integer(4, 8)
        turns = np.arange(n) * TAU / n + b.rng.uniform(-0.25, 0.25, n)
        return convex(x, y, turns, b.rng.uniform(0.5, 0.9, n))

    if kind == 4:
        thick = b.between(0.2, 0.4)
        cross = box(x, y - F(b.between(-0.4, 0.4)), 0.92, thick, 0.06)
        return np.minimum(cross, box(x - F(b.between(-0.5, 0.5)), y, thick, 0.92, 0.06))
    if kind == 5:
        r, theta = circle(x, y, 0), np.arctan2(y, x)
        depth = b.between(0.06, 0.22)
        return r - F(0.93 - depth) - F(depth) * np.cos(theta * b.integer(3, 9))

    if kind == 6:
        ends = [circle(x - F(s), y, b.between(0.25, 0.42)) for s in (-0.55, 0.55)]
        bar = box(x, y, 0.6, b.between(0.1, 0.25))
        return np.minimum(np.minimum(*ends), bar)

    d = circle(x, y, 0.93)
    return np.maximum(d, np.abs(y) - F(b.between(0.45, 0.8)))


def _holes(b, d):
    """Cut a regular set of holes out of a part and return its new outline."""
    kind, r = b.rng.integers(5), b.between(0.06, 0.16)

    if kind == 0:
        return d

    if kind == 1:
        hole = circle(*_spot(b, b.between(0.35, 0.6), b.integer(2, 8)), r)
    elif kind == 2:
        hole = circle(b.x, b.y, b.between(0.12, 0.35))
    elif kind == 3:
        spot = b.between(0.3, 0.6), b.between(0.15, 0.6)
        hole = circle(np.abs(b.x) - F(spot[0]), np.abs(b.y) - F(spot[1]), r)
    else:
        off = b.between(0, 0.4)
        hole = box(np.abs(b.x) - F(off), b.y, b.between(0.1, 0.3), r * 0.7, r * 0.6)

    if b.maybe(0.6):
        return np.maximum(d, -hole)
    b.fill(hole, b.rgb[0, 0] * F(0.3))
    b.bevel(-hole, 0.03, 0.8)
    return d


def _features(b, d):
    """Put up to three benign features on a part: rims, ribs, pads, inlays, print."""
    for _ in range(b.integer(0, 3)):
        kind = b.rng.integers(7)

        if kind == 0:
            b.engrave(d + F(b.between(0.1, 0.25)), 0.05)
        elif kind == 1:
            b.height += F(0.02 * b.scale) * np.cos(b.x * F(b.between(9, 28)))
        elif kind == 2:
            rib = np.abs(np.abs(b.y) - F(b.between(0, 0.4))) - F(0.04)
            b.bevel(np.maximum(rib, d + F(0.05)), 0.04, 0.9)
        elif kind == 3:
            pad = ngon(b.x, b.y, b.one_of((3, 4, 6, 8, 30)), b.between(0.25, 0.55))
            b.bevel(pad, 0.05, b.one_of((-0.9, 0.9)))
        elif kind == 4:
            b.fill(d + F(b.between(0.1, 0.3)), b.shade(*PAINTS, *METALS))
        elif kind == 5:
            b.stamp(b.between(0.2, 0.5))
        else:
            stripe = np.abs(b.x - F(b.between(-0.4, 0.4))) - F(b.between(0.05, 0.2))
            b.fill(stripe, b.shade(*PAINTS))


@register(HARDWARE, "machined part", "metal")
def _machined_part(b):
    """A part of any shape, material and make-up: variety for its own sake."""
    kind = b.rng.integers(4)
    if kind < 2:
        b.metal(*METALS)
    else:
        b.base(*PAINTS, *METALS)
        b.gloss = b.between(0, 0.5)

    d = _blank(b)
    if b.maybe(0.3):
        b.tone(F(b.between(0.03, 0.1)) * b.clouds(b.integer(3, 30), 3))
    if b.maybe(0.75):
        b.bevel(d, b.between(0.03, 0.2), b.between(0.4, 1))
    else:
        b.dome(d, b.between(0.2, 0.6), b.between(0.3, 0.8))

    _features(b, d)
    b.outline(_holes(b, d))


@register(HARDWARE, "hook", "metal", slender=True)
def _hook(b):
    b.metal(*METALS)
    thick = b.between(0.08, 0.13)
    r = b.between(0.34, 0.45)
    shank = segment(b.x, b.y, (-0.85, -r), (0.3, -r), thick)
    bow = np.abs(circle(b.x - 0.35, b.y, r)) - F(thick)
    bow = np.maximum(bow, 0.3 - b.x)
    tip = segment(b.x, b.y, (0.35, r), (b.between(-0.2, 0.15), r), thick)
    eye = np.abs(circle(b.x + 0.78, b.y + F(r), 0.14)) - F(thick * 0.7)
    d = np.minimum(np.minimum(shank, bow), np.minimum(tip, eye))
    d = np.maximum(d, -circle(b.x + 0.78, b.y + F(r), 0.1))
    b.dome(d, thick, 0.9)
    b.outline(d)
