"""
===========
Where it is
===========

A score says that something is wrong; the next question is where. Anomaly maps answer it
without having learnt from a single mask. This essay draws them, measures them against
masks, and looks at what they cannot show.
"""

# %%
# Maps of a few images
# --------------------

import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import aupro, pixel_auroc, pixel_f1_max
from skclipad.plotting import AnomalyMapDisplay

categories = ["leather", "tile", "wood"]
test = make_defect_images(
    30, categories=categories, defect_size=(0.3, 0.6), random_state=8
)
detector = RandomWordCLIPDetector(
    N_p=500, embedder=CLIPImageEmbedder("tiny"), random_state=0
).fit()

damaged = np.flatnonzero(test.target)[:4]
AnomalyMapDisplay.from_estimator(
    detector, test.images[damaged], masks=test.masks[damaged]
)

# %%
# One map for each image, of its size. In a notebook they draw themselves:

maps = detector.anomaly_map(test.images)
maps[:6]

# %%
# How good are they?
# ------------------
#
# Over all pixels of all images, whole ones included: the chance that a damaged pixel
# has a higher value than a whole one (AUROC), the best F1, and how much of each damaged
# spot is covered (AUPRO).


def measured(name, maps):
    """Compare maps with masks."""
    area = pixel_auroc(test.masks, maps)
    f1 = pixel_f1_max(test.masks, maps)
    overlap = aupro(test.masks, maps)
    print(f"{name:10} AUROC {area:.3f}  F1 {f1:.3f}  AUPRO {overlap:.3f}")


measured("zero-shot", maps)

# %%
# With good images
# ----------------
#
# References say what a part may look like, wherever it is. Do maps gain by them?

good = make_defect_images(
    30, categories=categories, anomaly_fraction=0, random_state=9
).images
few = RandomWordCLIPDetector(
    N_p=500, n_shots=8, embedder=CLIPImageEmbedder("tiny"), random_state=0
).fit(good)
measured("8 shots", few.anomaly_map(test.images))
AnomalyMapDisplay.from_estimator(few, test.images[damaged], masks=test.masks[damaged])

# %%
# How fine they are
# -----------------
#
# A map is as fine as the patches that the model sees: 8 x 8 of them in the bundled one.
# Everything between is interpolation. How large are the spots that are to be found?

n_pixels = test.masks[test.target == 1].sum(axis=(1, 2))
patch = 8 * 8
print(f"a patch has {patch} pixels; half of the damaged spots have fewer than")
print(f"{np.median(n_pixels):.0f}, the smallest has {n_pixels.min()}")
print(f"{np.mean(n_pixels < patch):.0%} of them are smaller than one patch")

# %%
# Conclusion
# ----------
#
# A map points, it does not measure: use it to say where to look, not how large a crack
# is. The image's score is made from the whole image and not from its map, so an
# image may be called anomalous while its map is dull, and the other way round. Where
# outlines matter, take a model with smaller patches, or a method that learns from
# masks.
