"""Loaded images of any mode and arrays of any range, brought to upright 8-bit RGB."""

import numpy as np
from PIL import Image, ImageOps

from skclipad._images.bit_depth import (
    BITS_PER_SAMPLE,
    PHOTOMETRIC,
    WHITE_IS_ZERO,
    BitDepth,
    tiff_tag,
)

CHANNELS = (1, 3, 4)
FLOAT_TOLERANCE = 1e-6  # how far float pixels may overshoot 0..1 and still be clipped


def upright_rgb(image, turn=None, depth=None):
    """Return a loaded PIL image of any mode as upright 8-bit RGB."""
    if 0 in image.size:
        raise ValueError("it has no pixels (size {}x{})".format(*image.size))
    if image.mode == "F" or image.mode.startswith("I"):  # I, I;16, I;16B, ...
        image = _grey(image, depth)
    elif image.mode == "RGB":
        image = _with_8_bit_transparency(image)
    if _is_transparent(image):
        image = _on_white(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _grey(image, depth):
    """Return an image of one channel of more than 8 bits as one of 8."""
    array, clear = np.asarray(image), image.info.get("transparency")
    if image.mode == "F":
        grey = array_to_image(array)
    else:
        twelve = tiff_tag(image, BITS_PER_SAMPLE) == (12,)
        depth = BitDepth(12) if twelve else depth
        grey = array_to_image(_full_range(array), depth=depth)
    if tiff_tag(image, PHOTOMETRIC) == (WHITE_IS_ZERO,):
        grey = ImageOps.invert(grey)
    if isinstance(clear, int):  # of a PNG: this very value is transparent
        shown = (array != clear).astype(np.uint8) * 255
        grey.putalpha(Image.fromarray(shown))
    return grey


def _with_8_bit_transparency(image):
    """Return an image whose transparent colour, if it has 16 bits, is cut to 8."""
    clear = image.info.get("transparency")
    if not isinstance(clear, tuple) or max(clear) < 256:
        return image
    image = image.copy()
    image.info["transparency"] = tuple(value >> 8 for value in clear)
    return image


def _full_range(array):
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise ValueError(
            f"its integer values reach from {low} to {high}, but must lie in 0..65535, "
            "the range of 16 bits"
        )
    return array.astype(np.uint16)


def _is_transparent(image):
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return True
    if image.mode == "P" and getattr(image.palette, "mode", "RGB") == "RGBA":
        return True
    return image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info


def _on_white(image):
    if image.mode == "La":  # Pillow goes from La to LA and nowhere else
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def array_to_image(array, channels_first=False, depth=None):
    """Return an array as a PIL image of mode L, RGB or RGBA."""
    axis = 0 if channels_first else -1
    if array.ndim not in (2, 3) or (
        array.ndim == 3 and array.shape[axis] not in CHANNELS
    ):
        layouts = "(H, W) or (C, H, W)" if channels_first else "(H, W) or (H, W, C)"
        reason = f"its shape is {array.shape}, but {layouts} with C in 1, 3, 4 is taken"
        if array.ndim == 3 and array.shape[-1 - axis] in CHANNELS:
            move = "permute(2, 0, 1)" if channels_first else "transpose(1, 2, 0)"
            reason += f"; write image.{move}"
        raise ValueError(reason)

    if array.size == 0:
        raise ValueError(f"it has no pixels (shape {array.shape})")
    if array.ndim == 3:
        array = np.moveaxis(array, axis, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array
    return Image.fromarray(np.ascontiguousarray(_to_uint8(array, depth)))


def _to_uint8(array, depth=None):
    """Scale pixels from the range of their dtype, or of `depth`, to 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return depth.to_uint8(array)

    if array.dtype.kind != "f":
        reason = (
            f"its dtype is {array.dtype}, but uint8 (0..255), uint16 (0..65535), bool "
            "and float (0..1) are taken"
        )
        if array.dtype.kind in "iu":
            reason += (
                "; if its values lie in 0..255, write image.astype(np.uint8), for a "
                "tensor image.to(torch.uint8)"
            )
        raise ValueError(reason)

    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds NaN or infinite values")
    if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
        raise ValueError(
            f"its float values reach from {low:.6g} to {high:.6g}, but must lie in "
            "0..1; divide by 255, or pass dtype uint8, whose range is 0..255"
        )
    return np.rint(array.clip(0, 1).astype(np.float32) * 255).astype(np.uint8)
