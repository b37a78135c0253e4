"""The bundled model for tests: a small CLIP of painted images."""

from pathlib import Path

FOLDER = Path(__file__).parent
CAVEAT = (
    "The bundled model, tiny, has seen nothing but painted images. On photos it is "
    "weak, and on some worse than chance: take lite, or better a real CLIP."
)
