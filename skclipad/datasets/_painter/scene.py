"""Scenes: a whole subject in its pose, its backdrop, and where damage may strike."""

from dataclasses import dataclass

import numpy as np

from skclipad.datasets._painter.brush import PAINTS, Brush, Layer, luminance, shade_of
from skclipad.datasets._painter.canvas import F, pixel_grid
from skclipad.datasets._painter.defects import Site, local_tone
from skclipad.datasets._painter.goods import GOODS
from skclipad.datasets._painter.hardware import HARDWARE
from skclipad.datasets._painter.surfaces import SURFACES

OBJECTS = {**HARDWARE, **GOODS}
KINDS = {**SURFACES, **OBJECTS}

_SUFFERS = {
    "wood": "stain contamination discoloration scratch crack hole dent cut burn chip "
    "scuff mold",
    "metal": "stain contamination discoloration scratch crack hole dent rust chip "
    "scuff burn",
    "ceramic": "stain contamination discoloration scratch crack hole chip scuff",
    "stone": "stain contamination discoloration scratch crack hole chip mold burn",
    "textile": "stain contamination discoloration hole cut tear burn fold mold "
    "loose-thread",
    "leather": "stain contamination discoloration scratch crack hole cut tear burn "
    "fold scuff mold",
    "paper": "stain contamination discoloration hole cut tear burn fold scuff mold",
    "plastic": "stain contamination discoloration scratch crack hole dent cut burn "
    "bubble scuff chip",
    "rubber": "stain contamination discoloration scratch crack hole cut tear bubble "
    "scuff",
    "glass": "stain contamination discoloration scratch crack hole chip bubble scuff",
    "mesh": "contamination rust bend break discoloration",
    "electronics": "stain contamination discoloration scratch crack hole burn rust "
    "chip",
    "chalk": "stain contamination discoloration scratch crack hole chip",
    "food": "stain contamination discoloration crack hole mold burn cut",
    "plant": "stain contamination discoloration hole cut tear burn mold fold",
}
_ON_EDGE = ("missing piece", "chip")
_BRITTLE = ("ceramic", "glass", "plastic", "food", "chalk", "electronics")
_CRUMBLING = ("ceramic", "stone", "glass", "paper", "wood", "mesh")


def suffers(category):
    """Return the sorted names of the defects that a category may show."""
    kind = KINDS[category]
    names = {name.replace("-", " ") for name in _SUFFERS[kind.material].split()}
    if category in OBJECTS:
        names |= {"missing piece"}
        names |= {"bend"} if kind.slender else set()
        names |= {"break"} if kind.slender or kind.material in _BRITTLE else set()
    elif kind.material in _CRUMBLING:
        names |= {"missing piece"}
    return sorted(names)


@dataclass
class Scene:
    """What stands before the camera, and in which pose."""

    category: str
    front: Brush
    back: Layer
    angle: float
    solid: bool


def _backdrop(size, rng, subject):
    """Paint what lies behind, of a colour that sets off the subject's."""
    brush = Brush(size, rng, rng.uniform(0.7, 1.4), rng.uniform(0, 2 * np.pi))

    names = (*("white", "grey", "black") * 5, *PAINTS)
    for _ in range(9):
        ground = shade_of(rng, names[rng.integers(len(names))], 0.25)
        apart = abs(float(luminance(ground) - luminance(subject)))
        if apart > 0.2:
            break
    else:
        ground = shade_of(rng, "white" if luminance(subject) < 0.5 else "black")

    brush.rgb[:] = ground
    kind = rng.integers(6)
    if kind == 0:
        brush.tone(F(rng.uniform(0.02, 0.06)) * brush.clouds(4, 4, 0.8))
    elif kind == 1:
        brush.tone(F(rng.uniform(0.02, 0.05)) * brush.streaks(0, 20))
    elif kind == 2:
        brush.tone(F(rng.uniform(0.02, 0.07)) * np.sin(brush.y * rng.integers(6, 40)))

    brush.gloss = rng.uniform(0, 0.25)
    return brush


def draw_scene(category, size, rng):
    """Paint one whole subject of a category and what lies behind it."""
    kind, solid = KINDS[category], category in OBJECTS
    if solid:
        scale, angle = rng.uniform(0.6, 0.97), rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.12:  # a close-up, cut off by the frame
            scale *= rng.uniform(1.1, 1.5)
        room = max(0.0, 0.95 - scale) + 0.06
        shift = rng.uniform(-room, room, 2)
    else:
        scale, shift = rng.uniform(0.7, 1.6), rng.uniform(-0.5, 0.5, 2)
        angle = (
            rng.uniform(0, 2 * np.pi)
            if rng.random() < 0.5
            else (rng.integers(4) * np.pi / 2 + rng.normal(0, 0.05))
        )

    front = Brush(size, rng, scale, angle, shift)
    kind.paint(front)
    front.rgb = np.clip(front.rgb, 0, 1)

    if solid or kind.material == "mesh":
        weight = front.alpha.sum() + F(1e-6)
        subject = np.einsum("ij,ijk->k", front.alpha, front.rgb) / weight
        back = _backdrop(size, rng, subject)
    else:
        back = Brush(size, rng)
        tone = front.rgb.mean(axis=(0, 1))
        depth = 0.15 if luminance(tone) > 0.3 else 2.2
        back.rgb[:] = np.clip(tone * F(depth) + F(0.02), 0, 0.95)
        back.tone(0.15 * back.clouds(10, 3))
        back.height -= 0.03

    return Scene(category, front, back, angle, solid)


def _edge(alpha):
    """Mark the pixels inside an outline that touch the outside."""
    solid = alpha > 0.5
    inner = solid.copy()
    inner[1:] &= solid[:-1]
    inner[:-1] &= solid[1:]
    inner[:, 1:] &= solid[:, :-1]
    inner[:, :-1] &= solid[:, 1:]
    return solid & ~inner


def draw_site(name, scene, rng, size, fraction, force):
    """Choose where a defect of a length, as a fraction of the side, strikes."""
    x, y = pixel_grid(size)
    reach = max(0.05, 1 - 0.5 * fraction)
    near = (np.abs(x) < reach) & (np.abs(y) < reach)

    spots = np.array([], dtype=int)
    if name in _ON_EDGE and scene.solid:
        spots = np.flatnonzero(_edge(scene.front.alpha) & near)
    if not len(spots):
        spots = np.flatnonzero((scene.front.alpha > 0.6) & near)
    if not len(spots):
        spots = np.flatnonzero(scene.front.alpha > 0.3)

    spot = spots[rng.integers(len(spots))]
    cx, cy = float(x.flat[spot]), float(y.flat[spot])
    turn = rng.uniform(0, 2 * np.pi)
    c, s = F(np.cos(turn)), F(np.sin(turn))
    dx, dy = x - F(cx), y - F(cy)
    u, v = c * dx + s * dy, c * dy - s * dx

    return Site(
        rng=rng,
        x=u,
        y=v,
        extent=fraction,
        px=2 / size,
        force=force,
        tone=local_tone(scene.front, u, v, max(0.1, 0.5 * fraction)),
        centre=(cx, cy),
        axis=scene.angle,
        material=KINDS[scene.category].material,
        solid=scene.solid,
        slender=KINDS[scene.category].slender,
    )
