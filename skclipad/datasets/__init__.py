"""Painted inspection photos, for tests, examples and the bundled model."""

from skclipad.datasets._painted import (
    DEFECTS,
    OBJECTS,
    SURFACES,
    make_defect_images,
)

__all__ = ["DEFECTS", "OBJECTS", "SURFACES", "make_defect_images"]
