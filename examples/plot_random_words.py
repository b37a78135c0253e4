"""
===================
Random words, seen
===================

Why should nonsense such as "x8k2p a q0rty photo" teach anything about damage? The paper
answers with images (its Figures 3 and 5): t-SNE lays embeddings out in the plane, so
that neighbours stay neighbours. Here are the same with the bundled model.
"""

# %%
# What the words do
# -----------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.plotting import EmbeddingDisplay

embedder = CLIPImageEmbedder("tiny")
prompts = [
    "a photo of a object",
    "a photo of a damaged object",
    "x8k2p a q0rty photo wmm4c of ab1zz a hh93s",
    "x8k2p a q0rty photo wmm4c of ab1zz a damaged hh93s",
    "7uuqa a ee1mlo photo 4rtgb of zq8sk a 0pplm",
    "7uuqa a ee1mlo photo 4rtgb of zq8sk a damaged 0pplm",
]
e = embedder.encode_text(prompts)
e /= np.linalg.norm(e, axis=1, keepdims=True)
print("cosines of prompts; rows 0, 2, 4 are normal, 1, 3, 5 damaged")
print((e @ e.T).round(3))

# %%
# Read the table so: how near is a prompt to the one that says the opposite with the
# same words, and how near to one that says the same with other words? Random words move
# an embedding about, and what stays through all of it is the state. How far they move
# it depends on the model: the bundled one has learnt from captions with stray words in
# them, and may have learnt not to heed them.
#
# Prompts in the plane
# --------------------
#
# `fit` draws such prompts by the thousand. :class:`~skclipad.plotting.EmbeddingDisplay`
# draws some anew and lays them out:

detector = RandomWordCLIPDetector(N_p=500, embedder=embedder, random_state=0).fit()
display = EmbeddingDisplay.from_estimator(detector, n_pairs=50)

# %%
# With images
# -----------
#
# Images lie apart from texts, whatever they show: CLIP matches an image with its
# text by comparing, not by putting both in one spot. That the network can judge
# images all the same needs the *direction* from whole to damaged to be alike on both
# sides.

painted = make_defect_images(80, random_state=2)
display = EmbeddingDisplay.from_estimator(
    detector, painted.images, painted.target, n_pairs=50
)

# %%
# What the network makes of them
# ------------------------------
#
# Layer by layer, the network lets go of everything but the state. By its last hidden
# layer, prompts are two clusters, and images are sorted along the way between them:

fig, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
for layer, ax in enumerate(axes, start=1):
    EmbeddingDisplay.from_estimator(
        detector, painted.images, painted.target, n_pairs=50, layer=layer, ax=ax
    )
    ax.set_title(f"hidden layer {layer}")
    ax.get_legend().set_visible(layer == 1)

# %%
# t-SNE shows neighbours, and not how well a line can part them. That can be asked: how
# much of the state is there in the images' embeddings, for one who learns from
# labels, and how much of it does the network find, which learnt from random words?

X = embedder.transform(painted.images)
labelled = cross_val_score(
    LogisticRegression(C=10, max_iter=2000), X, painted.target, scoring="roc_auc", cv=5
)
own = detector.set_params(scores=("fnn",))
own = cross_val_score(own, X, painted.target, scoring="roc_auc", cv=5)
print(f"a line, learnt from labelled images: AUROC {labelled.mean():.3f}")
print(f"the network, from random words:        AUROC {own.mean():.3f}")

# %%
# Conclusion
# ----------
#
# Random words are noise added in the space of texts, where noise is cheap: they give
# the network thousands of examples of one difference. What it learns holds for images
# as far as CLIP tells damage by the same direction in both. The last two numbers say
# how far that is, for this model.
