"""Objects of the household, the kitchen and the electronics bench.

Each function paints one category within about -1 to 1 of its own coordinates, lying
along x where it is long, and draws whatever may vary in a whole one.
"""

import numpy as np

from skclipad.datasets._painter.brush import BRIGHT, PAINTS, register
from skclipad.datasets._painter.canvas import (
    TAU,
    F,
    box,
    circle,
    coverage,
    ellipse,
    fold_angle,
    ngon,
    ring,
    segment,
    smooth,
)

GOODS = {}


@register(GOODS, "bottle", "glass")
def _bottle(b):
    """A bottle from above: rim, neck and the dark inside."""
    glass = b.base("brown", "green", "black", "blue", "white", "grey")
    d = circle(b.x, b.y, 0.96)
    b.dome(d, 0.6, 0.7)

    glint = smooth(0.5, 0.95, np.cos(np.arctan2(b.y, b.x) - F(b.between(0, TAU))))
    glint = glint * coverage(ring(b.x, b.y, 0.84, 0.04), b.px)
    b.tint(glint * F(b.between(0.2, 0.7)), (1, 1, 1))

    neck = b.between(0.5, 0.68)
    b.fill(circle(b.x, b.y, neck + 0.09), glass * F(0.75))
    b.fill(ring(b.x, b.y, neck, 0.07), np.minimum(glass * F(1.35) + F(0.1), 1))
    b.dome(ring(b.x, b.y, neck, 0.07), 0.07, 0.9)
    b.fill(circle(b.x, b.y, neck - 0.08), glass * F(0.25))
    b.fill(circle(b.x, b.y, neck * b.between(0.45, 0.65)), glass * F(0.55))

    b.gloss = b.between(0.3, 0.8)
    b.outline(d)


@register(GOODS, "pill", "chalk")
def _pill(b):
    b.base("white", "white", *BRIGHT, "beige")
    if b.maybe(0.5):
        d = circle(b.x, b.y, 0.92)
    else:
        d = box(b.x, b.y, 0.95, b.between(0.45, 0.7), 0.44)

    b.dome(d, b.between(0.25, 0.6), b.between(0.4, 0.8))
    if b.maybe(0.45):
        groove = np.abs(b.x) - F(0.035)
        b.engrave(groove, 0.05)
        b.tone(-0.15 * coverage(groove, b.px))
    elif b.maybe(0.5):
        b.stamp(0.45, b.shade("black", "grey", "red", "blue"))

    if b.maybe(0.3):
        speckle = smooth(1.3, 1.9, b.noise(32))
        b.tint(speckle * F(b.between(0.3, 0.8)), b.shade("red", "brown", "blue"))

    b.gloss = b.between(0.05, 0.4)
    b.outline(d)


@register(GOODS, "capsule", "plastic")
def _capsule(b):
    b.base(*BRIGHT, "white")
    half = b.between(0.3, 0.42)
    d = box(b.x, b.y, 0.95, half, half)
    b.dome(d, half, 0.9)
    seam = b.between(-0.15, 0.15)
    if b.maybe(0.8):
        b.tint(smooth(-b.px, b.px, b.x - F(seam)), b.shade(*BRIGHT, "white", "black"))
    b.bevel(b.x - F(seam), 0.03, 0.5)
    if b.maybe(0.35):
        text = b.lettering(-0.75, -0.12, -0.1, 0.12, 1, b.integer(2, 4))
        b.tint(text * F(0.8), b.shade("black", "white"))
    b.gloss = b.between(0.4, 0.9)
    b.outline(d)


@register(GOODS, "cable section", "plastic")
def _cable_section(b):
    """A cable cut across: jacket, insulated cores, strands of copper."""
    b.base("black", "grey", "white", "orange", "yellow", "blue")
    d = circle(b.x, b.y, 0.96)
    b.fill(circle(b.x, b.y, 0.84), b.shade("white", "grey", "beige"))

    n = b.integer(2, 4)
    reach, core = {2: (0.4, 0.39), 3: (0.45, 0.37), 4: (0.5, 0.32)}[n]

    turn = np.arctan2(b.y, b.x)
    u, v = fold_angle(b.x, b.y, n)
    lead = circle(u - F(reach), v, core)
    sector = np.floor(np.mod(turn / F(TAU / n) + F(0.5), n)).astype(int)
    inks = np.array([b.shade(*PAINTS) for _ in range(n)])
    b.rgb += coverage(lead, b.px)[..., None] * (inks[sector % n] - b.rgb)
    b.bevel(lead, 0.05, 0.5)

    copper = circle(u - F(reach), v, core * 0.62)
    b.fill(copper, b.shade("copper", "copper", "silver"))
    bumps = np.sin(b.x * 48) * np.sin(b.y * 48 + b.x * 24)
    b.tone(0.35 * bumps * coverage(copper, b.px))

    b.gloss = b.between(0, 0.3)
    b.outline(d)


@register(GOODS, "button", "plastic")
def _button(b):
    b.base(*PAINTS)
    d = circle(b.x, b.y, 0.95)
    b.dome(d, 0.25, 0.5)
    b.engrave(circle(b.x, b.y, b.between(0.55, 0.72)), 0.07)
    if b.maybe(0.4):
        b.tone(0.12 * b.streaks(b.between(0, np.pi), 4, 1))
    n, reach = b.one_of((2, 4)), b.between(0.2, 0.28)
    u, v = fold_angle(b.x, b.y, n)
    hole = circle(u - F(reach), v, b.between(0.09, 0.13))
    b.bevel(-hole, 0.04, 0.6)
    b.gloss = b.between(0.1, 0.6)
    b.outline(np.maximum(d, -hole))


@register(GOODS, "circuit board", "electronics")
def _circuit_board(b):
    board = b.base("green", "green", "green", "blue", "black", "red")
    b.rgb *= F(b.between(0.6, 0.95))
    d = box(b.x, b.y, 0.95, b.between(0.6, 0.95), 0.04)

    for _ in range(b.integer(4, 7)):
        x0, y0, bend = b.rng.uniform(-0.85, 0.85, 3)
        path = np.minimum(
            segment(b.x, b.y, (x0, y0), (x0, bend), 0.015),
            segment(b.x, b.y, (x0, bend), (x0 + b.between(-0.9, 0.9), bend), 0.015),
        )
        b.fill(path, np.minimum(board * F(1.5) + F(0.06), 1))

    pads = circle(np.mod(b.x, 0.19) - 0.095, b.y - F(b.one_of((-0.5, 0.5))), 0.045)
    b.fill(pads, b.shade("silver", "gold"))

    for _ in range(b.integer(2, 5)):
        x0, y0 = b.rng.uniform(-0.6, 0.6, 2)
        wide, tall = b.rng.uniform(0.08, 0.27, 2)
        legs = box(b.x - F(x0), b.y - F(y0), wide, tall + 0.06)
        pin = np.maximum(legs, np.abs(np.mod(b.x, 0.09) - 0.045) - F(0.02))
        b.fill(pin, (0.75, 0.76, 0.78))
        chip = box(b.x - F(x0), b.y - F(y0), wide, tall, 0.01)
        b.fill(chip, b.shade("black", "black", "black", "beige", "grey"))
        b.bevel(chip, 0.04, 0.8)

    mount = circle(np.abs(b.x) - 0.84, np.abs(b.y) - F(0.48), 0.05)
    b.gloss = b.between(0.1, 0.4)
    b.outline(np.maximum(d, -mount))


@register(GOODS, "cookie", "food")
def _cookie(b):
    dough = b.base("brown", "beige", "beige", "orange", spread=0.2)

    theta = np.arctan2(b.y, b.x)
    edge = 0.008 * np.sin(theta * 5 + F(b.between(0, 6)))
    d = circle(b.x, b.y, 0.92) + edge + 0.012 * b.noise(9)
    if b.maybe(0.2):
        d = box(b.x, b.y, 0.9, b.between(0.6, 0.9), 0.1) + 0.02 * np.cos(
            F(TAU * 5) * (b.x + b.y)
        )

    b.dome(d, 0.35, 0.5)
    b.tone(0.07 * b.clouds(9, 3, 0.8))
    b.height += 0.008 * b.clouds(16, 2, 0.8)
    b.tint(smooth(-0.3, 0, d) * F(b.between(0.1, 0.5)), dough * F(0.55))

    kind = b.rng.integers(3)
    if kind == 0:
        u = np.mod(b.x + 0.13 * np.floor(b.y / 0.31) + 0.4, 0.34) - 0.17
        wob = 0.03 * b.noise(10)
        chips = circle(u + wob, np.mod(b.y, 0.31) - 0.155 - wob, b.between(0.06, 0.1))
        chips = np.maximum(chips, d + 0.08)
        b.fill(chips, (0.17, 0.1, 0.07))
        b.bevel(chips, 0.05, 0.7)
    elif kind == 1:
        holes = circle(np.mod(b.x, 0.4) - 0.2, np.mod(b.y, 0.4) - 0.2, 0.035)
        b.fill(np.maximum(holes, d + 0.12), dough * F(0.4))

    b.gloss = 0.02
    b.outline(d)


@register(GOODS, "zipper", "textile", slender=True)
def _zipper(b):
    b.base(*PAINTS)
    d = np.abs(b.y) - F(b.between(0.5, 0.7))
    d = np.maximum(d, np.abs(b.x) - F(b.between(0.9, 1.6)))

    b.tone(0.08 * np.sin(b.x * 75) + 0.03 * b.noise(40))

    pitch, reach = b.between(0.1, 0.16), b.between(0.1, 0.16)
    upper = np.mod(b.x, F(pitch)) - F(pitch / 2)
    lower = np.mod(b.x + F(pitch / 2), F(pitch)) - F(pitch / 2)
    teeth = np.minimum(
        box(upper, b.y + F(reach * 0.7), pitch * 0.3, reach, 0.02),
        box(lower, b.y - F(reach * 0.7), pitch * 0.3, reach, 0.02),
    )

    b.fill(np.abs(b.y) - F(reach * 1.2), b.rgb[0, 0] * F(0.55))
    b.fill(teeth, b.shade("silver", "gold", "copper", "white", "black"))
    b.bevel(teeth, 0.03, 0.9)
    seam = np.abs(np.abs(b.y) - F(0.4)) - F(0.012)
    b.tone(-0.2 * coverage(seam, b.px))

    b.gloss = b.between(0.05, 0.3)
    b.outline(d)


@register(GOODS, "toothbrush", "plastic", slender=True)
def _toothbrush(b):
    b.base(*BRIGHT, "white")

    neck = b.between(0.1, 0.15)
    d = segment(b.x, b.y, (-0.95, 0), (0.95, 0), neck)
    head = box(b.x - 0.5, b.y, 0.46, 0.26, 0.18)
    grip = ellipse(b.x + 0.62, b.y, 0.5, 0.2)
    d = np.minimum(np.minimum(d, head), grip)

    b.dome(d, 0.15, 0.7)
    if b.maybe(0.5):
        b.fill(ellipse(b.x + 0.62, b.y, 0.3, 0.1), b.shade(*PAINTS))

    u, v = np.mod(b.x - 0.04, 0.125) - 0.0625, np.mod(b.y + 0.0625, 0.125) - 0.0625
    inside = box(b.x - 0.51, b.y, 0.38, 0.19, 0.05)
    tuft = np.maximum(circle(u, v, 0.056), inside)

    ink = b.shade(*BRIGHT)
    stripe = smooth(-0.02, 0.02, np.abs(b.x - 0.5) - F(b.between(0.1, 0.25)))
    b.tint(coverage(tuft, b.px), b.shade("white"))
    b.tint(coverage(tuft, b.px) * stripe, ink)
    b.bevel(tuft, 0.04, 0.8)

    b.gloss = b.between(0.2, 0.6)
    b.outline(d)


@register(GOODS, "lid", "metal")
def _lid(b):
    b.base("silver", "gold", *PAINTS)
    n = b.integer(16, 40)
    theta = np.arctan2(b.y, b.x)
    d = circle(b.x, b.y, 0.95) - F(0.012) * np.sin(theta * n)
    b.bevel(d, 0.1, 0.8)
    b.tone(0.15 * np.sin(theta * n) * smooth(0.83, 0.88, circle(b.x, b.y, 0)))
    for radius in b.rng.uniform(0.25, 0.8, b.integer(1, 3)):
        b.bevel(ring(b.x, b.y, radius, 0.03), 0.03, b.one_of((-0.8, 0.8)))
    if b.maybe(0.5):
        b.stamp(0.5)
    b.gloss = b.between(0.15, 0.6)
    b.outline(d)


@register(GOODS, "plate", "ceramic")
def _plate(b):
    b.base("white", "white", "white", "beige", "blue", "grey", "black", "turquoise")
    d = circle(b.x, b.y, 0.96)
    well = b.between(0.55, 0.68)

    b.bevel(d, 0.05, 0.6)
    b.bevel(-circle(b.x, b.y, well), 0.12, 0.6)

    ink = b.shade(*PAINTS)
    if b.maybe(0.55):
        b.fill(ring(b.x, b.y, b.between(0.75, 0.9), b.between(0.01, 0.05)), ink)
    if b.maybe(0.3):
        u, v = fold_angle(b.x, b.y, b.integer(8, 20))
        b.fill(circle(u - 0.8, v, 0.06), ink)
    if b.maybe(0.2):
        b.fill(circle(*fold_angle(b.x, b.y, 6), 0.2), ink)

    b.gloss = b.between(0.2, 0.7)
    b.outline(d)


@register(GOODS, "apple", "food")
def _apple(b):
    skin = b.base("red", "red", "green", "yellow")

    theta = np.arctan2(b.x, -b.y)
    dip = 0.16 * np.exp(-(theta * theta) * 5) + 0.06 * np.exp(
        -((np.abs(theta) - F(np.pi)) ** 2) * 8
    )
    d = circle(b.x * F(b.between(0.95, 1.08)), b.y, 0.9) + dip

    b.dome(d, 0.8, 0.8)
    blush = smooth(-0.6, 0.6, b.x * F(b.between(-1, 1)) + b.y * F(b.between(-1, 1)))
    b.tint(blush * F(b.between(0, 0.6)), b.shade("red", "yellow", "green"))

    fan = np.arctan2(b.x, b.y + F(1.1))
    b.tone(F(b.between(0, 0.05)) * np.sin(fan * 40 + 2 * b.clouds(4, 2)))
    freckles = smooth(1.8, 2.3, b.noise(30))
    b.tint(freckles * 0.4, np.minimum(skin + F(0.25), 1))

    stem = segment(b.x, b.y, (0, -0.72), (b.between(-0.15, 0.15), -0.98), 0.045)
    b.fill(stem, (0.3, 0.2, 0.1))
    b.fill(ellipse(b.x, b.y + 0.72, 0.16, 0.07), skin * F(0.5), 0.7)

    b.gloss = b.between(0.15, 0.5)
    b.outline(np.minimum(d, stem))


@register(GOODS, "egg", "food")
def _egg(b):
    b.base("white", "beige", "beige", "brown", spread=0.08)
    taper = 1 + F(b.between(0.1, 0.25)) * b.x
    d = ellipse(b.x, b.y * taper, 0.93, 0.68)
    b.dome(d, 0.65, 0.85)
    freckles = smooth(1.9, 2.4, b.noise(36))
    b.tone(-F(b.between(0, 0.2)) * freckles + 0.015 * b.clouds(20, 2))
    b.gloss = b.between(0, 0.25)
    b.outline(d)


@register(GOODS, "leaf", "plant")
def _leaf(b):
    green = b.base("green", "green", "yellow", "red", "orange")

    t = np.clip((b.x + F(0.9)) * F(1 / 1.8), 0, 1)
    wide = F(b.between(0.9, 1.5)) * t ** F(b.between(0.5, 0.8)) * (1 - t)
    saw = F(b.between(0, 0.03)) * np.sin(b.x * 50)
    d = (np.abs(b.y) - wide - saw * (wide > 0.05)) * 0.8
    stem = segment(b.x, b.y, (-1.0, 0), (-0.7, 0), 0.03)

    side = np.mod(b.x - np.abs(b.y) * 0.9, F(b.between(0.2, 0.3))) - F(0.1)
    pale = np.minimum(green * F(1.35) + F(0.08), 1)
    b.fill(np.abs(side) - F(0.013), pale, 0.6)
    b.fill(np.maximum(np.abs(b.y) - F(0.022), b.x - 0.85), pale)

    b.height += F(0.025 * b.scale) * np.cos(side * 22)
    b.tone(0.06 * b.clouds(10, 3))
    b.fill(stem, pale * F(0.8))

    b.gloss = b.between(0.02, 0.3)
    b.outline(np.minimum(d, stem))


@register(GOODS, "transistor", "electronics")
def _transistor(b):
    b.base("black", "black", "grey")

    turn = b.x - F(-0.1)
    body = box(turn, b.y, 0.45, 0.5, 0.05)
    tab = box(b.x + 0.7, b.y, 0.28, 0.48, 0.05)
    legs = [box(b.x - 0.65, b.y - F(s), 0.34, 0.055) for s in (-0.3, 0.0, 0.3)]
    legs = np.minimum(np.minimum(legs[0], legs[1]), legs[2])

    metal = b.shade("silver", "silver", "copper")
    b.fill(np.minimum(tab, legs), metal)
    b.fill(body, b.rgb[0, 0])

    hole = circle(b.x + 0.75, b.y, 0.13)
    b.bevel(np.minimum(tab, legs), 0.03, 0.6)
    b.bevel(body, 0.06, 0.9)

    text = b.lettering(-0.4, -0.25, 0.25, 0.25, b.integer(1, 2), b.integer(3, 4))
    b.tint(text * F(b.between(0.3, 0.8)), (0.8, 0.8, 0.8))

    b.gloss = b.between(0.1, 0.4)
    b.outline(np.maximum(np.minimum(np.minimum(tab, legs), body), -hole))


@register(GOODS, "battery", "metal", slender=True)
def _battery(b):
    b.base("black", *BRIGHT, "silver", "white")

    half = b.between(0.24, 0.4)
    d = box(b.x + 0.04, b.y, 0.88, half, 0.05)
    tip = box(b.x - 0.88, b.y, 0.08, half * 0.4, 0.02)

    split = b.x - F(b.between(0.2, 0.55))
    b.tint(smooth(-b.px, b.px, split), b.shade("gold", "copper", "black", "silver"))
    caps = np.minimum(0.8 - b.x, b.x + 0.88)
    b.fill(caps, b.shade("silver"))

    if b.maybe(0.7):
        text = b.lettering(-0.7, -half * 0.4, 0.1, half * 0.4, 1, b.integer(3, 6))
        b.tint(text, b.shade("white", "black", "yellow"))

    b.dome(np.abs(b.y) - F(half), half, 0.95)
    b.gloss = b.between(0.2, 0.6)
    b.outline(np.minimum(d, tip))


@register(GOODS, "toy figure", "plastic")
def _toy_figure(b):
    b.base(*BRIGHT, "white", "brown", "grey")

    lean = b.between(-0.05, 0.05)
    head = ellipse(b.x - F(lean), b.y + 0.55, b.between(0.26, 0.4), 0.36)
    body = ellipse(b.x, b.y - 0.1, b.between(0.24, 0.36), 0.42)

    side = np.abs(b.x)
    reach, lift = b.between(0.6, 0.85), b.between(-0.4, 0.4)
    arm = segment(side, b.y, (0.2, -0.15), (reach, lift), 0.09)
    leg = segment(side, b.y, (0.15, 0.2), (b.between(0.2, 0.4), 0.88), 0.11)

    limbs = np.minimum(arm, leg)
    if b.maybe(0.5):
        horn = segment(side, b.y, (0.1, -0.75), (b.between(0.15, 0.3), -0.97), 0.04)
        limbs = np.minimum(limbs, horn)

    d = np.minimum(np.minimum(head, body), limbs)
    if b.maybe(0.6):
        b.fill(body, b.shade(*PAINTS))

    b.dome(d, 0.2, 0.8)

    n, eye = b.one_of((1, 2, 2)), b.between(0.07, 0.12)
    u = side - F(0.14) if n == 2 else b.x
    b.fill(circle(u, b.y + 0.58, eye), (0.95, 0.95, 0.95))
    b.fill(circle(u, b.y + 0.58, eye * 0.5), (0.05, 0.05, 0.05))
    mouth = np.maximum(np.abs(circle(b.x, b.y + 0.48, 0.14)) - F(0.02), -0.4 - b.y)
    b.fill(mouth, (0.1, 0.05, 0.05), 0.8)

    b.gloss = b.between(0.2, 0.6)
    b.outline(d)


@register(GOODS, "socket", "plastic")
def _socket(b):
    """A wall socket: a moulded frame with two pin holes."""
    b.base("white", "white", "white", "beige", "grey", "black")
    d = box(b.x, b.y, 0.94, 0.94, b.between(0.05, 0.25))
    b.bevel(d, 0.08, 0.7)

    well = circle(b.x, b.y, b.between(0.55, 0.7))
    if b.maybe(0.3):
        well = ngon(b.x, b.y, b.one_of((4, 6, 8)), 0.72, 0.08)

    b.bevel(-well, 0.08, 0.9)
    b.tone(-0.08 * coverage(well, b.px))

    pins = circle(np.abs(b.x) - 0.26, b.y, b.between(0.06, 0.1))
    b.fill(pins, (0.08, 0.08, 0.08))
    if b.maybe(0.5):
        b.fill(box(b.x, np.abs(b.y) - 0.6, 0.1, 0.05, 0.01), b.shade("silver", "grey"))

    b.gloss = b.between(0.2, 0.6)
    b.outline(d)
