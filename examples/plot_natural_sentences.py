"""
=================
Natural sentences
=================

A network trained on random words may come to know random words too well. Does it still
understand plain English, and can plain English tell it when to stop? No picture takes
part in any of this.
"""

# %%
# Sentences
# ---------
#
# The package has sentences about everyday things, whole and damaged, without any random
# word in them:

import matplotlib.pyplot as plt
import numpy as np

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, load_sentences
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc
from skclipad.plotting import EmbeddingDisplay

sentences = load_sentences()
for i in (0, 40, 80):
    print(f"- {sentences['normal'][i]}\n  {sentences['anomaly'][i]}")

# %%
# Does it understand them?
# ------------------------
#
# A detector takes embeddings wherever it takes pictures; those of texts will do. 0.5
# would be a coin toss.

embedder = CLIPImageEmbedder("tiny")
detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0).fit()
texts = sentences["normal"] + sentences["anomaly"]
states = np.repeat([0, 1], [len(sentences[label]) for label in ("normal", "anomaly")])
embeddings = embedder.encode_text(texts)
components = detector.score_components(embeddings)
for name, values in components.items():
    print(f"{name:6} AUROC on {len(texts)} sentences {auroc(states, values):.3f}")

# %%
# The bundled model has 4,096 pieces of words and has read nothing but captions of
# painted pictures, so much of this English is new to it. Sentences lie apart from
# prompts:

display = EmbeddingDisplay.from_estimator(
    detector, texts=texts, text_labels=states, n_pairs=100
)

# %%
# When to stop
# ------------
#
# ``early_stopping=True`` looks at the sentences every five steps of training and keeps
# the network that judged them best. Train long on purpose, to see whether it matters:

long = RandomWordCLIPDetector(
    N_p=1000,
    n_epochs=6,
    lr_decay=1.0,
    early_stopping=True,
    embedder=embedder,
    random_state=0,
).fit()
checks = 5 * np.arange(1, len(long.validation_scores_) + 1)
checks = np.minimum(checks, len(long.loss_curve_))
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
steps = np.arange(1, len(long.loss_curve_) + 1)
ax.plot(steps, long.loss_curve_, lw=1, label="prompts")
ax.plot(checks, -np.array(long.validation_scores_), marker=".", label="sentences")
ax.axvline(long.n_iter_, color="0.3", ls="--", label="kept")
ax.set(xlabel="training step", ylabel="log loss")
ax.legend()
print(f"kept the network of step {long.n_iter_} of {len(long.loss_curve_)}")

# %%
# What it is worth on pictures
# ----------------------------
#
# Sentences chose; pictures judge:

pictures = make_defect_images(200, random_state=10)
X = embedder.transform(pictures.images)
to_the_end = RandomWordCLIPDetector(**long.get_params(deep=False))
to_the_end.set_params(early_stopping=False).fit()
candidates = {"two epochs": detector, "stopped": long, "to the end": to_the_end}
for name, model in candidates.items():
    area = auroc(pictures.target, model.score_components(X).s_fnn)
    print(f"{name:10} {model.n_iter_:3} steps: AUROC of the network {area:.3f}")

# %%
# Sentences of your own, in the words of your trade, are worth more than these: pass
# them as ``validation_sentences={"normal": [...], "anomaly": [...]}``.
#
# Conclusion
# ----------
#
# Compare the dashed line with the end of the curve, and the last three figures with
# each other. If the sentences' loss rises while the prompts' still falls, the network
# has begun to learn random words. Two epochs, the paper's choice, are short enough that
# stopping earlier rarely matters; who trains longer should let sentences watch.
