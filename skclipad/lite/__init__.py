"""The bundled model for photographs: a small CLIP, in open_clip's format."""

from pathlib import Path

FOLDER = Path(__file__).parent
CAVEAT = (
    "The bundled model, lite, is a small CLIP for a first look at photos. On some "
    "things its words are no better than chance, and a real CLIP is far ahead."
)
