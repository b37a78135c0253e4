"""
====================
An unlabelled folder
====================

A folder of photographs, a few of them of damaged things, nobody knows which. What do
words find in it, what do four good photographs, and what does the folder by itself?
"""

# %%
# Cans
# ----
#
# The package brings photographs of drink cans. In a folder from a line most things are
# good, so this one is made of all good cans and three of the damaged ones. Its labels
# are used in the end alone, to see who was right.

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import load_sample_photos
from skclipad.metrics import auroc

cans = load_sample_photos()
good, damaged = (np.flatnonzero(cans.target == label) for label in (0, 1))
rows = np.concatenate([good, damaged[::11]])
photos, target = cans.paths[rows], cans.target[rows]
n_good = len(good)
print(f"{n_good} good cans and {len(rows) - n_good} damaged ones")

fig, axes = plt.subplots(3, 7, figsize=(8, 4.6), layout="constrained")
for ax in axes.flat:
    ax.set_axis_off()
for ax, path in zip(axes.flat, photos, strict=False):
    ax.imshow(Image.open(path))

# %%
# Four ways to look
# -----------------
#
# **Words** know no can at all. **Four good cans** are known to be good: their parts are
# what others are compared with, in two ways. "winclip" asks for the most similar part
# of all four, "mutual" for one in each of those that are nearest. **The folder** is its
# own reference, damaged cans and all: `fit` gets it as it is, without a label.

words = RandomWordCLIPDetector(
    N_p=200, object_name="can", embedder=CLIPImageEmbedder("lite"), random_state=0
)
few = {"n_shots": 4, "scores": ("reference",)}
ways = {
    "words": {},
    "4 good, winclip": few,
    "4 good, mutual": {**few, "reference_method": "mutual"},
    "the folder": {**few, "n_shots": "all", "reference_method": "mutual"},
}

known = photos[:4]
detectors = {}
for name, settings in ways.items():
    detector = RandomWordCLIPDetector(**{**words.get_params(deep=False), **settings})
    detectors[name] = detector.fit(photos if name == "the folder" else known)

# %%
# Who was right?
# --------------
#
# The four known cans are left out: "winclip" would find each of them among its own
# references.

new = np.arange(4, len(photos))
scores = {
    name: detector.predict_proba(photos[new])[:, 1]
    for name, detector in detectors.items()
}
for name, values in scores.items():
    print(f"{name:16} AUROC {auroc(target[new], values):.3f}")

fig, axes = plt.subplots(4, 1, figsize=(8, 4), layout="constrained")
for ax, (name, values) in zip(axes, scores.items(), strict=True):
    for label, colour in ((0, "tab:blue"), (1, "tab:red")):
        at = values[target[new] == label]
        ax.plot(at, np.zeros_like(at), "o", color=colour, alpha=0.6)
    ax.set(yticks=[], ylabel=name)
    ax.yaxis.label.set(rotation=0, ha="right", va="center")
axes[0].plot([], [], "o", color="tab:blue", label="good")
axes[0].plot([], [], "o", color="tab:red", label="damaged")
axes[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
axes[-1].set_xlabel("score, each way on its own scale")

# %%
# What each of them sees
# ----------------------
#
# The scores of references are the highest value of a map. Each row of maps has a scale
# of its own, from the least to the greatest value in it, since the numbers of one way
# mean nothing in another: bright is what stands out for this one. A good can, last,
# shows what a map of nothing looks like.

shown = [*np.flatnonzero(target == 1), 4]
fig, axes = plt.subplots(5, len(shown), figsize=(7, 9), layout="constrained")
for ax, i in zip(axes[0], shown, strict=True):
    ax.imshow(Image.open(photos[i]))
    ax.set_title("damaged" if target[i] else "good")
for row, (name, detector) in zip(axes[1:], detectors.items(), strict=True):
    maps = detector.anomaly_map(photos[shown])
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    for ax, one in zip(row, maps, strict=True):
        drawn = ax.imshow(one, cmap="inferno", vmin=low, vmax=high)
    fig.colorbar(drawn, ax=list(row), aspect=12)
    row[0].set_ylabel(name)
axes[0, 0].set_ylabel("photograph")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])

# %%
# What is kept
# ------------
#
# A detector keeps the parts of its references, so the folder is not needed any more to
# score tomorrow's photographs.

folder = detectors["the folder"]
size = sum(array.nbytes for array in folder.references_.values())
print(f"{len(folder.reference_rows_)} references, {size / 1e6:.1f} MB")
folder

# %%
# The same from the shell:
#
# .. code-block:: console
#
#     skclipad score photos/ --unlabelled --object can -o scores.csv --report r.html

# %%
# Conclusion
# ----------
#
# Words are for the first look, when there is one photograph. As soon as there is a
# folder of one kind of thing, it knows more than they do, and nobody has to sort it. A
# few photographs that are known to be good say what good is even where damage is
# frequent: the folder cannot, for what many of its photographs have is usual to it.
# Look at the maps before you believe a score: they tell a dent from a reflection.
