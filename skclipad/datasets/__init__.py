"""Images to judge: painted ones, the paper's three data sets, and your own."""

from skclipad.datasets._folder import load_folder
from skclipad.datasets._mvtec import load_mvtec_ad
from skclipad.datasets._painted import (
    DEFECTS,
    OBJECTS,
    SURFACES,
    make_defect_images,
)
from skclipad.datasets._sample import load_sample_photos
from skclipad.datasets._sewerml import load_sewerml
from skclipad.datasets._visa import load_visa
from skclipad.datasets._write import write_mvtec_layout, write_visa_layout

__all__ = [
    "DEFECTS",
    "OBJECTS",
    "SURFACES",
    "load_folder",
    "load_mvtec_ad",
    "load_sample_photos",
    "load_sewerml",
    "load_visa",
    "make_defect_images",
    "write_mvtec_layout",
    "write_visa_layout",
]
