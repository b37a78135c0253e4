"""Surfaces: images that one material fills from edge to edge.

Each function paints one category in a subject's coordinates of about -1 to 1 and draws
whatever may vary in a whole one: colour, weave, knots, veins, seams, print.
"""

import numpy as np

from skclipad.datasets._painter.brush import BRIGHT, METALS, PAINTS, register, shade_of
from skclipad.datasets._painter.canvas import (
    TAU,
    F,
    box,
    circle,
    coverage,
    fold_angle,
    lattice,
    ngon,
    per_cell,
    sample,
    smooth,
)

SURFACES = {}


def _wrap(t, period):
    """Fold a coordinate into -period / 2 .. period / 2."""
    return np.mod(t + F(period / 2), F(period)) - F(period / 2)


@register(SURFACES, "wood", "wood")
def _wood(b):
    light = b.base("brown", "brown", "brown", "beige", "orange", spread=0.25)
    nodes, x, y = lattice(b.rng), b.x, b.y

    planks = b.between(0.5, 1.1) if b.maybe(0.35) else 0
    if planks:
        board = np.floor(y / F(planks))
        x = x + 3.7 * board
        b.tone(0.08 * per_cell(b.rng, board * 0, board))

    rings = y * F(b.between(1.5, 4)) + F(b.between(0.3, 0.9)) * sample(
        nodes, x * F(b.between(0.4, 1)) + 9, y * 1.5 + 9
    )

    if b.maybe(0.3):
        dx, dy = x - F(b.between(-0.7, 0.7)), y - F(b.between(-0.7, 0.7))
        knot = np.exp(-(dx * dx * 6 + dy * dy * 14))
        rings = rings + 1.6 * knot
        b.tone(-0.25 * knot * knot)

    wave = 0.5 + 0.5 * np.sin(F(TAU) * rings)
    b.tint(wave * F(b.between(0.15, 0.6)), light * F(b.between(0.5, 0.8)))
    b.tone(0.07 * sample(nodes, x * 2 + 5, y * 34) + 0.03 * b.noise(64))

    if planks:
        gap = np.abs(_wrap(y - F(planks / 2), planks)) - F(0.012)
        b.fill(gap, light * 0.3)
        b.engrave(gap, 0.02)

    b.gloss = b.between(0, 0.25)


@register(SURFACES, "brushed metal", "metal")
def _brushed_metal(b):
    b.base("silver", "silver", "grey", "gold", "copper")
    b.tone(F(b.between(0.04, 0.09)) * b.streaks(0, 50, b.between(0.4, 1.5)))
    band = np.cos(F(b.between(0.6, 1.8)) * (b.y - F(b.between(-1, 1))))
    b.tone(F(b.between(0, 0.2)) * band)
    b.gloss = b.between(0.1, 0.45)


@register(SURFACES, "tile", "ceramic")
def _tile(b):
    b.base(*PAINTS, "white", "white", "beige")

    pitch = b.between(0.45, 1.1)
    x, y = b.x + F(b.between(-1, 1)), b.y + F(b.between(-1, 1))

    if b.maybe(0.35):
        ratio = b.between(1.5, 3)
        x = x / F(ratio) + F(0.5 * pitch) * np.mod(np.floor(y / F(pitch)), 2)
    else:
        ratio = 1

    b.tone(F(b.between(0.01, 0.08)) * per_cell(b.rng, x / F(pitch), y / F(pitch)))
    if b.maybe(0.2):
        chess = np.mod(np.floor(x / F(pitch)) + np.floor(y / F(pitch)), 2)
        b.tint(chess, b.shade(*PAINTS))

    cx, cy = _wrap(x - F(pitch / 2), pitch) * F(ratio), _wrap(y - F(pitch / 2), pitch)
    if b.maybe(0.25):
        flower = circle(*fold_angle(cx, cy, 4), pitch * 0.35)
        b.fill(np.abs(flower + F(0.1 * pitch)) - F(0.03), b.shade(*PAINTS), 0.8)
    b.tone(F(b.between(0, 0.05)) * b.clouds(8))

    half, grout = pitch / 2, b.between(0.012, 0.035)
    slab = box(cx, cy, half * ratio - grout, half - grout, 0.03)
    b.fill(-slab, b.shade("grey", "white", "beige", "black"))
    b.bevel(slab, 0.05, 0.7)

    b.gloss = b.between(0.1, 0.6)


@register(SURFACES, "leather", "leather")
def _leather(b):
    b.base("brown", "brown", "black", "beige", "red", "white", "blue", "green")
    cells = b.integer(12, 28)
    folds = np.abs(b.clouds(cells, 2, 0.7))
    b.height += F(b.between(0.4, 1) * 0.15 / cells) * np.minimum(folds, 1)
    b.tone(0.12 * np.minimum(folds, 1) - 0.08 + 0.05 * b.noise(3))
    if b.maybe(0.2):
        seam = b.x - F(b.between(-0.7, 0.7))
        stitch = box(_wrap(b.y, 0.16), seam, 0.05, 0.018, 0.015)
        b.engrave(np.abs(seam) - F(0.03), 0.02)
        b.fill(stitch, b.shade(*PAINTS))
    b.gloss = b.between(0.05, 0.4)


@register(SURFACES, "carpet", "textile")
def _carpet(b):
    b.base(*PAINTS)
    if b.maybe(0.3):
        stripes = np.sin(b.x * F(b.between(4, 14)))
        b.tint(smooth(-0.2, 0.2, stripes), b.shade(*PAINTS))
    tufts = b.clouds(b.integer(22, 40), 2, 0.9)
    b.tone(F(b.between(0.07, 0.16)) * tufts + 0.04 * b.noise(3))
    b.height += F(b.between(0.006, 0.014)) * tufts
    b.rgb += F(b.between(0, 0.04)) * b.noise(64)[..., None]
    b.gloss = 0.0


@register(SURFACES, "grid", "mesh")
def _grid(b):
    b.metal("silver", "grey", "black", "gold", "white", "green")
    pitch, half = b.between(0.22, 0.5), b.between(0.02, 0.05)

    kind = b.rng.integers(3)
    if kind == 0:
        d = np.minimum(np.abs(_wrap(b.x, pitch)), np.abs(_wrap(b.y, pitch))) - F(half)
    elif kind == 1:
        d = -circle(_wrap(b.x, pitch), _wrap(b.y, pitch), pitch / 2 - half)
    else:
        tall = pitch * 3**0.5
        u, v = _wrap(b.x, pitch), _wrap(b.y, tall)
        d = -ngon(u, v, 6, pitch * 0.577)
        u, v = _wrap(b.x + F(pitch / 2), pitch), _wrap(b.y + F(tall / 2), tall)
        d = np.maximum(d, -ngon(u, v, 6, pitch * 0.577)) - F(half)

    b.outline(d)
    b.dome(d, half * 1.5, 0.7)


@register(SURFACES, "woven fabric", "textile")
def _woven_fabric(b):
    warp = b.base(*PAINTS)
    weft = warp * F(b.between(0.75, 1.1)) if b.maybe(0.6) else b.shade(*PAINTS)

    n = b.between(9, 20)
    u, v = b.x * F(n), b.y * F(n)
    step, period = np.floor(u) + np.floor(v), b.one_of((2, 2, 4))
    over = np.mod(step, period) >= period / 2
    tu, tv = np.abs(_wrap(u - F(0.5), 1)), np.abs(_wrap(v - F(0.5), 1))

    b.tint((~over).astype(F), weft)
    if b.maybe(0.3):
        plaid = np.maximum(np.sin(b.x * 5) > 0.6, np.sin(b.y * 5) > 0.6).astype(F)
        b.tint(plaid * F(0.7), b.shade(*PAINTS))

    across = np.where(over, tu, tv)
    b.tone(0.08 - 0.55 * across * across * 1.6 + 0.04 * b.noise(48))
    b.height -= F(0.35 / n) * across * across
    b.gloss = 0.02


@register(SURFACES, "paper", "paper")
def _paper(b):
    b.base("white", "white", "beige", "yellow", "pink", "blue", "brown", spread=0.08)
    b.tone(0.012 * b.clouds(40, 1) + 0.012 * b.noise(3))
    kind = b.rng.integers(4)
    if kind == 0:
        rule = np.abs(_wrap(b.y, b.between(0.14, 0.3))) - F(0.006)
        b.fill(rule, b.shade("blue", "grey", "red"), 0.6)
    elif kind == 1:
        text = b.lettering(-1, -1, 1, 1, b.integer(7, 11), b.integer(18, 26))
        text = text * (b.noise(12, 3) > -0.9)
        b.tint(text * F(b.between(0.4, 0.8)), b.shade("black", "grey", "blue"))
    b.gloss = b.between(0, 0.08)


@register(SURFACES, "concrete", "stone")
def _concrete(b):
    b.base("grey", "grey", "grey", "beige", "white", spread=0.2)
    b.tone(F(b.between(0.04, 0.1)) * b.clouds(3, 5, 0.75))
    pores = smooth(2.1, 2.6, b.noise(34))
    b.tone(-0.35 * pores)
    b.height -= 0.01 * pores
    b.height += F(b.between(0.001, 0.004)) * b.clouds(24, 2, 0.9)
    if b.maybe(0.15):
        joint = np.abs(b.y - F(b.between(-0.6, 0.6))) - F(0.02)
        b.tone(-0.5 * coverage(joint, b.px))
    b.gloss = 0.0


@register(SURFACES, "plastic", "plastic")
def _plastic(b):
    b.base(*PAINTS)
    kind = b.rng.integers(4)
    if kind == 0:
        b.height += 0.0035 * b.clouds(24, 2)
    elif kind == 1:
        b.height += F(0.02) * np.cos(b.x * F(b.between(14, 34)))
    elif kind == 2:
        pitch = b.between(0.2, 0.5)
        b.bevel(circle(_wrap(b.x, pitch), _wrap(b.y, pitch), pitch * 0.3), 0.04, 0.6)
    if b.maybe(0.25):
        b.stamp(b.between(0.25, 0.6))
    b.gloss = b.between(0.2, 0.7)


@register(SURFACES, "marble", "stone")
def _marble(b):
    stone = b.base("white", "white", "beige", "black", "green", "grey", "pink")
    nodes = lattice(b.rng)
    u = b.x * 1.3 + 20 + 0.5 * sample(nodes, b.x * 2, b.y * 2 + 7)
    v = b.y * 1.3 + 20 + 0.5 * sample(nodes, b.x * 2 + 30, b.y * 2)
    folds = np.abs(sample(nodes, u, v) + 0.5 * sample(nodes, u * 2.1, v * 2.1))
    vein = np.exp(-folds * F(b.between(6, 14)))
    dark = stone.mean() > 0.35
    ink = stone * F(0.55) if dark else shade_of(b.rng, "white")
    b.tint(vein * F(b.between(0.25, 0.6)), ink)
    b.tone(0.05 * b.clouds(3, 3))
    b.gloss = b.between(0.2, 0.6)


@register(SURFACES, "brick", "stone")
def _brick(b):
    b.base("red", "brown", "brown", "orange", "beige", "grey", "white")

    tall = b.between(0.24, 0.42)
    wide = tall * b.between(2, 2.8)
    row = np.floor(b.y / F(tall))
    x = b.x + F(wide / 2) * np.mod(row, 2)

    b.tone(F(b.between(0.06, 0.22)) * per_cell(b.rng, x / F(wide), row))
    b.tone(0.06 * b.clouds(10, 3, 0.8))

    joint = b.between(0.016, 0.03)
    v = np.mod(b.y, F(tall)) - F(tall / 2)
    u = _wrap(x - F(wide / 2), wide)
    block = box(u, v, wide / 2 - joint, tall / 2 - joint, 0.02)
    b.fill(-block, b.shade("grey", "beige", "white") * F(b.between(0.6, 1)))
    b.bevel(block, 0.03, 0.8)

    b.height += 0.004 * b.clouds(24, 2)
    b.gloss = 0.0


@register(SURFACES, "rubber", "rubber")
def _rubber(b):
    b.base("black", "black", "black", "grey", "red", "green", "blue", spread=0.3)
    kind, pitch = b.rng.integers(4), b.between(0.14, 0.32)
    u, v = _wrap(b.x, pitch), _wrap(b.y, pitch)
    if kind == 0:
        b.bevel(circle(u, v, pitch * 0.33), 0.03, 0.9)
    elif kind == 1:
        b.bevel(np.abs(u) - F(pitch * 0.3), 0.03, 0.9)
    elif kind == 2:
        b.bevel(np.abs(u) + np.abs(v) - F(pitch * 0.4), 0.03, 0.9)
    b.tone(0.06 * b.clouds(30, 2))
    b.rgb += F(b.between(0, 0.05))
    b.gloss = b.between(0.05, 0.3)


@register(SURFACES, "glass", "glass")
def _glass(b):
    tint = b.base("turquoise", "green", "blue", "grey", "white", spread=0.2)
    b.rgb[:] = tint * F(0.5) + F(b.between(0.25, 0.45))
    slope = b.x * F(b.between(-1, 1)) + b.y * F(b.between(0.3, 1))
    b.tone(F(b.between(0.05, 0.25)) * slope)
    for _ in range(b.integer(1, 3)):
        bar = np.abs(b.x + b.y * 0.6 - F(b.between(-1.3, 1.3)))
        glare = 1 - smooth(0, b.between(0.06, 0.3), bar - F(b.between(0.02, 0.2)))
        b.tint(glare * F(b.between(0.08, 0.3)), (1, 1, 1))
    if b.maybe(0.2):
        dots = circle(_wrap(b.x, 0.2), _wrap(b.y, 0.2), 0.03)
        b.fill(dots, b.shade("white", "black"), 0.5)
    b.gloss = b.between(0.4, 0.9)


@register(SURFACES, "cardboard", "paper")
def _cardboard(b):
    b.base("brown", "beige", "beige", spread=0.1)
    b.rgb[:] = b.rgb * F(0.7) + F(0.3) * np.array([0.78, 0.6, 0.42], dtype=F)
    b.tone(F(b.between(0.01, 0.04)) * np.cos(b.x * F(b.between(24, 44))))
    b.tone(0.025 * b.clouds(12, 3, 0.9))
    if b.maybe(0.4):
        b.stamp(b.between(0.3, 0.7), b.shade("black", "red", "blue"))
    if b.maybe(0.2):
        tape = np.abs(b.y - F(b.between(-0.5, 0.5))) - F(b.between(0.1, 0.2))
        b.fill(tape, b.shade("beige", "brown", "white"), 0.7)
    b.gloss = 0.02


@register(SURFACES, "solar panel", "glass")
def _solar_panel(b):
    b.base("blue", "blue", "black", "black")
    b.rgb *= F(b.between(0.4, 0.8))
    pitch = b.between(0.7, 1.3)
    if b.maybe(0.5):
        b.tone(0.2 * per_cell(b.rng, b.x * 9 + b.y * 2, b.y * 7 - b.x * 3))
    u, v = _wrap(b.x, pitch), _wrap(b.y, pitch)
    fingers = np.abs(_wrap(b.y, 0.09)) - F(0.006)
    b.fill(fingers, (0.6, 0.62, 0.66), 0.35)
    bars = np.abs(_wrap(b.x, pitch / b.integer(2, 4))) - F(0.014)
    b.fill(bars, (0.75, 0.76, 0.78))
    b.fill(-box(u, v, pitch * 0.48, pitch * 0.48, 0.08), b.shade("white", "grey"))
    b.gloss = b.between(0.2, 0.6)


@register(SURFACES, "knitted wool", "textile")
def _knitted_wool(b):
    yarn = b.base(*PAINTS)
    n = b.between(5, 9)
    u, v = b.x * F(n), b.y * F(n * 1.3)
    if b.maybe(0.35):
        b.tint((np.sin(v * F(b.between(0.4, 1.2))) > 0).astype(F), b.shade(*PAINTS))
    side = _wrap(u, 1)
    lean = v + np.abs(side) * 1.6
    strand = np.abs(_wrap(lean, 1)) * 2
    ridge = (1 - strand * strand) * (1 - (np.abs(np.abs(side) - F(0.25)) * 3.2) ** 2)
    b.tint(0.75 * (1 - smooth(0, 0.6, ridge)), yarn * F(0.35))
    b.height += F(0.18 / n) * np.maximum(ridge, 0)
    b.tone(0.07 * b.noise(56))
    b.gloss = 0.0


@register(SURFACES, "painted steel", "metal")
def _painted_steel(b):
    b.base(*PAINTS)
    b.height += 0.002 * b.clouds(10, 2)

    if b.maybe(0.35):
        pitch = b.between(0.5, 0.9)
        rivet = circle(_wrap(b.x, pitch), b.y - F(b.between(-0.7, 0.7)), 0.07)
        b.fill(rivet, b.shade(*METALS))
        b.dome(rivet, 0.07, 0.7)

    if b.maybe(0.3):
        seam = np.abs(b.x - F(b.between(-0.8, 0.8))) - F(0.015)
        b.engrave(seam, 0.03)

    if b.maybe(0.2):
        stripe = np.abs(b.y - F(b.between(-0.6, 0.6))) - F(b.between(0.05, 0.25))
        b.fill(stripe, b.shade(*PAINTS))

    b.gloss = b.between(0.2, 0.6)


@register(SURFACES, "patterned sheet", "plastic")
def _patterned_sheet(b):
    """Any periodic print or relief on any ground: variety for its own sake."""
    b.base(*PAINTS, *METALS)
    pitch, ink = b.between(0.16, 0.6), b.shade(*BRIGHT, *PAINTS)
    u, v = _wrap(b.x, pitch), _wrap(b.y, pitch)

    shapes = (
        lambda: np.abs(u) - F(pitch * b.between(0.1, 0.35)),
        lambda: circle(u, v, pitch * b.between(0.15, 0.4)),
        lambda: ngon(u, v, b.integer(3, 6), pitch * b.between(0.25, 0.45)),
        lambda: (
            np.abs(_wrap(b.y + F(pitch * 0.3) * np.sin(b.x * 9), pitch))
            - F(pitch * 0.15)
        ),
        lambda: u * v * F(6 / pitch),
        lambda: np.abs(circle(u, v, pitch * 0.35)) - F(pitch * 0.08),
        lambda: np.minimum(np.abs(u + v), np.abs(u - v)) - F(pitch * 0.1),
    )

    d = b.one_of(shapes)()
    if b.maybe(0.7):
        b.fill(d, ink, b.between(0.5, 1))
    else:
        b.bevel(d, pitch * 0.15, b.one_of((-0.8, 0.8)))

    if b.maybe(0.4):
        b.tone(F(b.between(0.02, 0.08)) * b.clouds(b.integer(4, 30), 3))
    b.gloss = b.between(0, 0.6)
