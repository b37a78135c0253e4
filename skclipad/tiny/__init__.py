"""The bundled model: a small CLIP, in the folder format of open_clip."""

from pathlib import Path

FOLDER = Path(__file__).parent
