"""
===================
A few good pictures
===================

Zero-shot needs no picture at all. But often a few pictures of good parts are at hand:
how much do they help, and how many does it take?
"""

# %%
# One kind of thing
# -----------------
#
# References only help on what they show, so take one kind of thing. Pictures to judge
# are painted with another seed than those to learn from.

import matplotlib.pyplot as plt
import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc

category = "coin"
test = make_defect_images(40, categories=[category], random_state=6)
good = make_defect_images(
    30, categories=[category], anomaly_fraction=0, random_state=7
).images

# %%
# Zero pictures
# -------------

embedder = CLIPImageEmbedder("tiny")
detector = RandomWordCLIPDetector(
    N_p=500, object_name=category, embedder=embedder, random_state=0
)
scores = detector.fit().predict_proba(test.images)[:, 1]
zero_shot = auroc(test.target, scores)
print(f"no picture: AUROC {zero_shot:.3f}")

# %%
# One, two, four
# --------------
#
# With ``n_shots=k``, `fit` draws k of the pictures it is given. Patches and windows of
# a picture are compared with all of the references', and the score of that, ``s_img``,
# joins the others. Which k are drawn is luck, so try two draws of each.

shots = [1, 2, 4]
combined, alone = np.zeros((2, len(shots), 2))
for i, k in enumerate(shots):
    for seed in range(2):
        detector.set_params(n_shots=k, random_state=seed).fit(good)
        components = detector.score_components(test.images)
        alone[i, seed] = auroc(test.target, components.s_img)
        combined[i, seed] = auroc(test.target, np.mean([*components.values()], axis=0))

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, values in {"all scores": combined, "references alone": alone}.items():
    middle, spread = values.mean(axis=1), values.std(axis=1)
    ax.errorbar(shots, middle, spread, marker="o", capsize=3, label=name)
    for k, row in zip(shots, values, strict=True):
        print(f"{name:17} {k} shots: AUROC {row.mean():.3f} +- {row.std():.3f}")
ax.axhline(zero_shot, color="0.3", ls="--", label="zero-shot")
ax.set(xlabel="good pictures", ylabel="AUROC", xticks=shots)
ax.legend()

# %%
# Which ones were drawn stands in `reference_rows_`. Of labelled pictures, pass the
# labels, and no damaged one becomes a reference:

detector.set_params(n_shots=4, random_state=0).fit(test.images, test.target)
print("rows", detector.reference_rows_, "labels", test.target[detector.reference_rows_])

# %%
# What it costs
# -------------
#
# A detector with references keeps their patches and windows, and looks at every picture
# window by window. Embeddings alone will not do any more.

size = sum(features.nbytes for features in detector.references_.values())
print(f"{size / 1000:.0f} kB of references in the detector")
detector

# %%
# Conclusion
# ----------
#
# Read the dashed line against the others: what lies above it is what good pictures
# gave, what lies below is what they cost. Try it, a handful is enough to see whether it
# pays, and mind the bars: with one reference, which one it is matters. A reference must
# show the same thing, taken the same way. These painted coins differ in metal, size,
# place and light, which is hard on references; parts of one line under one camera do
# not. In the paper, on such parts, references help.
