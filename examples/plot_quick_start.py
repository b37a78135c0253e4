"""
===========
Quick start
===========

Can a detector that was shown no image, neither good nor bad, tell damaged things from
whole ones? Here is one, from nothing to scores, on painted images and with the small
bundled model.
"""

# %%
# Some images
# -----------
#
# They are painted by formula: photos of surfaces and of objects as an inspection camera
# might take them. About half of the things are damaged; `target` says which. The
# detector will not be told.

import matplotlib.pyplot as plt
import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc, f1_max
from skclipad.plotting import ScoreHistogramDisplay

painted = make_defect_images(200, random_state=1)
print(f"{len(painted.images)} images, {painted.target.sum()} of damaged things")


def show(rows, titles):
    """Draw images in a line."""
    fig, axes = plt.subplots(1, len(rows), figsize=(10, 1.9), layout="constrained")
    for ax, row, title in zip(axes, rows, titles, strict=True):
        ax.imshow(painted.images[row])
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()


show(range(8), painted.defect[:8])

# %%
# A detector
# ----------
#
# `fit` is called without any image. It writes 1,000 pairs of prompts with random
# words in them, such as "x8k2p a q0rty photo wmm4c of ab1zz a damaged hh93s", embeds
# them with CLIP and trains a small network to tell the normal from the damaged ones.
# Leave the embedder out, and it takes a real CLIP instead of the bundled one.

detector = RandomWordCLIPDetector(
    N_p=1000, embedder=CLIPImageEmbedder("tiny"), random_state=0
)
detector.fit()

# %%
# Scores
# ------
#
# The second column of `predict_proba` is the anomaly score. It ranks: AUROC is the
# chance that a damaged thing has a higher score than a whole one, 0.5 for a coin toss.

scores = detector.predict_proba(painted.images)[:, 1]
print(f"AUROC  {auroc(painted.target, scores):.3f}")
f1, threshold = f1_max(painted.target, scores, return_threshold=True)
print(f"F1-max {f1:.3f}, at a threshold of {threshold:.2f}")

# %%
# No threshold can undo where the two histograms overlap:

display = ScoreHistogramDisplay.from_estimator(detector, painted.images, painted.target)

# %%
# The images that it finds most anomalous, and what they really show:

order = np.argsort(-scores)[:8]
show(order, [f"{scores[i]:.2f}\n{painted.defect[i]}" for i in order])

# %%
# And the least anomalous ones. Damaged things among them are what was missed:

order = np.argsort(scores)[:8]
show(order, [f"{scores[i]:.2f}\n{painted.defect[i]}" for i in order])

# %%
# Two opinions
# ------------
#
# The score is the mean of two: what the two prompts say by themselves, and what the
# network says.

components = detector.score_components(painted.images)
for name, values in components.items():
    print(f"{name:6} AUROC {auroc(painted.target, values):.3f}")

# %%
# Conclusion
# ----------
#
# Texts were enough. The numbers above are those of a model of a few megabytes that
# knows only painted images; what carries over to a real CLIP is the code, not they.
# With your own images go on to :doc:`plot_own_folder`.
