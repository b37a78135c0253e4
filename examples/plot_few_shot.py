"""
=================
A few good images
=================

Zero-shot needs no image at all. But often a few images of good parts are at hand:
how much do they help, and on what?
"""

# %%
# Two kinds of thing
# ------------------
#
# References only help on what they show, so each kind of thing gets its own. Tiles fill
# the image and look much the same everywhere. Coins lie on some backdrop, each in
# another place, size and light. Good images to learn from are painted with another
# seed than those to judge.

from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc

kinds = ["tile", "coin"]
test, good = {}, {}
for kind in kinds:
    test[kind] = make_defect_images(32, categories=[kind], random_state=6)
    good[kind] = make_defect_images(
        20, categories=[kind], anomaly_fraction=0, random_state=7
    ).images

fig, axes = plt.subplots(2, 6, figsize=(8, 2.8), layout="constrained")
for row, kind in zip(axes, kinds, strict=True):
    for ax, image in zip(row, good[kind], strict=False):
        ax.imshow(image)
        ax.set_axis_off()

# %%
# None, one, four
# ---------------
#
# With ``n_shots=k``, `fit` draws k of the images it is given. Patches and windows of
# an image are compared with all of the references', wherever they lie, and the score
# of that, ``s_img``, joins the others. Which k are drawn is luck, so try two draws of
# each. With `memory`, every image goes through CLIP once, and not once for each draw.

memory = TemporaryDirectory()
embedder = CLIPImageEmbedder("tiny", memory=memory.name)
detector = RandomWordCLIPDetector(N_p=500, embedder=embedder)
shots = [1, 4]
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, kind in zip(axes, kinds, strict=True):
    y, images = test[kind].target, test[kind].images
    combined, alone = np.zeros((2, len(shots), 2))
    for i, k in enumerate(shots):
        for seed in range(2):
            detector.set_params(n_shots=k, object_name=kind, random_state=seed)
            scores = detector.fit(good[kind]).score_components(images)
            alone[i, seed] = auroc(y, scores.s_img)
            combined[i, seed] = auroc(y, np.mean([*scores.values()], axis=0))
    zero_shot = auroc(y, scores.s_pr + scores.s_fnn)
    print(f"{kind}: zero-shot AUROC {zero_shot:.3f}")
    ax.axhline(zero_shot, color="0.3", ls="--", label="zero-shot")
    for name, values in {"all scores": combined, "references alone": alone}.items():
        middle, spread = values.mean(axis=1), values.std(axis=1)
        ax.errorbar(shots, middle, spread, marker="o", capsize=3, label=name)
        for k, value, error in zip(shots, middle, spread, strict=True):
            print(f"  {name:16} {k} of them: {value:.3f} +- {error:.3f}")
    ax.set(title=kind, xlabel="good images", xticks=shots)
axes[0].set_ylabel("AUROC")
axes[0].legend()

# %%
# Which ones were drawn stands in `reference_rows_`. Of labelled images, pass the
# labels, and no damaged one becomes a reference:

detector.set_params(n_shots=4, random_state=0).fit(images, y)
print("rows", detector.reference_rows_, "labels", y[detector.reference_rows_])
memory.cleanup()

# %%
# What it costs
# -------------
#
# A detector with references keeps their patches and windows, and looks at every image
# window by window. Embeddings alone will not do any more.

size = sum(features.nbytes for features in detector.references_.values())
print(f"{size / 1000:.0f} kB of references in the detector")
detector

# %%
# Conclusion
# ----------
#
# Read the dashed lines against the others: what lies above is what good images gave,
# what lies below is what they cost. A reference must show the same thing, taken the
# same way: a spot of a good tile is like that of any other, but the next coin has
# another size, place and backdrop, and differs from its references in ways that are no
# damage. Parts of one line under one camera are like the tiles, whatever their shape. A
# handful of images is enough to see whether it pays.
