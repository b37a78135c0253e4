"""From layers to a photo: shadow, light, lens, sensor."""

from dataclasses import dataclass

import numpy as np

from skclipad.datasets._painter.brush import Layer, luminance
from skclipad.datasets._painter.canvas import F, blur, noise, pixel_grid


@dataclass
class Light:
    """All that makes one photo of a scene; drawn once and used for any state of it.

    Attributes
    ----------
    direction : ndarray of shape (3,)
        Where the light comes from, unit length, z towards the viewer.
    ambient : float
        Share of light that comes from everywhere.
    field : ndarray of shape (S, S, 3)
        Light falling on each pixel: gradient, vignette, exposure and tint.
    shadow : float
        Darkness of cast shadows.
    sigma : float
        Blur of the lens in pixels.
    grain : ndarray of shape (S, S, 3)
        Noise of the sensor.
    contrast, lift : float
        Tone curve.
    grey : bool
        Whether the photo is black and white.
    """

    direction: np.ndarray
    ambient: float
    field: np.ndarray
    shadow: float
    sigma: float
    grain: np.ndarray
    contrast: float
    lift: float
    grey: bool


def draw_light(rng, size, grey_fraction):
    """Draw the light, lens and sensor of one photo."""
    x, y = pixel_grid(size)
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.55, 1.05)
    direction = np.array(
        [np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)]
    )

    slope = rng.uniform(0, 0.22)
    field = 1 + F(slope * np.cos(turn)) * x + F(slope * np.sin(turn)) * y

    if rng.random() < 0.4:
        cx, cy = rng.uniform(-0.4, 0.4, 2)
        field -= F(rng.uniform(0.05, 0.22)) * ((x - F(cx)) ** 2 + (y - F(cy)) ** 2)
    if rng.random() < 0.3:
        field += F(rng.uniform(0.03, 0.08)) * noise(rng, size, 2)

    tint = rng.uniform(-0.06, 0.06)
    white = np.array([1 + tint, 1 + 0.2 * tint, 1 - tint], dtype=F)
    field = np.maximum(field, F(0.3))[..., None] * (white * F(rng.uniform(0.72, 1.05)))

    level = rng.uniform(0.004, 0.03) if rng.random() < 0.85 else rng.uniform(0.03, 0.05)
    sharp = rng.random()
    sigma = 0 if sharp < 0.35 else rng.integers(4, 9 if sharp < 0.93 else 13) / 10
    ambient, shadow = rng.uniform(0.3, 0.6), rng.uniform(0, 0.55)
    contrast, lift = rng.uniform(0.8, 1.15), rng.uniform(-0.05, 0.06)

    grey = rng.random() < grey_fraction
    return Light(
        direction=direction.astype(F),
        ambient=float(ambient),
        field=field,
        shadow=float(shadow),
        sigma=float(sigma) * size / 64,
        # Drawn last: all else is the same at any size.
        grain=rng.standard_normal((size, size, 3), dtype=F) * F(level),
        contrast=float(contrast),
        lift=float(lift),
        grey=bool(grey),
    )


def _shift(image, dx, dy):
    """Move an image by whole pixels, zeros coming in."""
    size = len(image)
    moved = np.zeros_like(image)
    to_x, from_x = slice(max(dx, 0), size + min(dx, 0)), slice(max(-dx, 0), size - dx)
    to_y, from_y = slice(max(dy, 0), size + min(dy, 0)), slice(max(-dy, 0), size - dy)
    moved[to_y, to_x] = image[from_y, from_x]
    return moved


def _stack(front, back, light):
    """Put the front layer on the back one, with its cast shadow."""
    size = len(front.alpha)
    reach = 0.035 * size
    dx, dy = (-light.direction[:2] * reach * 1.3).round().astype(int)
    shadow = blur(_shift(front.alpha, int(dx), int(dy)), reach)

    ground = back.rgb * (1 - F(light.shadow) * shadow)[..., None]
    alpha = front.alpha[..., None]
    return Layer(
        rgb=ground + alpha * (front.rgb - ground),
        height=back.height + front.alpha * (front.height - back.height),
        alpha=front.alpha,
        gloss=back.gloss + front.alpha * F(front.gloss - back.gloss),
    )


def _relight(layer, light):
    """Shade a layer by its relief: Lambert's cosine and Blinn's highlight."""
    size = len(layer.height)
    gx, gy = np.zeros_like(layer.height), np.zeros_like(layer.height)
    np.subtract(layer.height[:, 2:], layer.height[:, :-2], out=gx[:, 1:-1])
    np.subtract(layer.height[2:], layer.height[:-2], out=gy[1:-1])
    gx *= F(size / 4)
    gy *= F(size / 4)
    steep = 1 / np.sqrt(1 + gx * gx + gy * gy)

    lx, ly, lz = light.direction
    lambert = np.maximum((lz - gx * lx - gy * ly) * steep, 0) * F(1 / lz)

    half = light.direction + np.array([0, 0, 1], dtype=F)
    hx, hy, hz = half / np.sqrt(half @ half)
    x, y = pixel_grid(size)
    bright = np.maximum((hz - (gx + 0.25 * x) * hx - (gy + 0.25 * y) * hy) * steep, 0)
    for _ in range(4):  # to the power of 16
        bright *= bright

    shaded = layer.rgb * (light.ambient + (1 - light.ambient) * lambert)[..., None]
    return shaded + (layer.gloss * bright * F(0.45))[..., None]


def photograph(front, back, light):
    """Photograph a subject and what lies behind it: (S, S, 3), uint8."""
    image = _relight(_stack(front, back, light), light) * light.field
    image -= F(0.5) * np.maximum(image - F(0.8), 0)  # highlights roll off
    if light.sigma:
        image = blur(image, light.sigma)
    image = (image - F(0.5)) * F(light.contrast) + F(0.5 + light.lift) + light.grain
    if light.grey:
        image = np.repeat(luminance(image)[..., None], 3, axis=2)
    return (np.clip(image, 0, 1) * 255 + F(0.5)).astype(np.uint8)
