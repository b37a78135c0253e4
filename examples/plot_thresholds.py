"""
==============
Where to cut
==============

Scores rank; somebody must say where "anomalous" begins. Three situations, three ways:
you have a folder of good images, you have some labels, or you want probabilities. In
each the threshold is chosen on one half of the images and judged on the other.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score
from sklearn.model_selection import TunedThresholdClassifierCV

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.plotting import ScoreHistogramDisplay

embedder = CLIPImageEmbedder("tiny")
detector = RandomWordCLIPDetector(N_p=1000, embedder=embedder, random_state=0).fit()
painted = make_defect_images(300, random_state=5)
X, y = embedder.transform(painted.images), painted.target
choose, judge = slice(0, 150), slice(150, 300)


def judged(name, labels):
    """Say how a threshold does on the images it was not chosen on."""
    false_alarms = labels[y[judge] == 0].mean()
    found = labels[y[judge] == 1].mean()
    f1 = f1_score(y[judge], labels)
    print(f"{name:22} false alarms {false_alarms:.2f}  found {found:.2f}  F1 {f1:.2f}")


judged("threshold 0.5", detector.predict(X[judge]))

# %%
# A folder of good images
# -----------------------
#
# No defect is needed to say how many false alarms you can bear: 5 in a hundred here.
# The threshold is that quantile of the scores of good images. From the shell this is
# ``skclipad score new/ --fpr 0.05 --normal-dir good/``.

good_scores = detector.predict_proba(X[choose][y[choose] == 0])[:, 1]
threshold = float(np.quantile(good_scores, 0.95))
detector.set_params(threshold=threshold)  # needs no new fit
judged(f"5 % of {len(good_scores)} good ones", detector.predict(X[judge]))
display = ScoreHistogramDisplay.from_estimator(detector, X[judge], y[judge])

# %%
# The share that comes out is not the share that was asked for: so many good images
# say only so much about the next ones. Drawing other good images, again and again,
# shows by how much it may miss:

rng = np.random.default_rng(0)
all_good = detector.predict_proba(X[y == 0])[:, 1]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for n in (20, 50, 100):
    shares = []
    for _ in range(300):
        drawn = rng.permutation(len(all_good))
        cut = np.quantile(all_good[drawn[:n]], 0.95)
        shares.append((all_good[drawn[n:]] > cut).mean())
    low, high = np.quantile(shares, [0.05, 0.95])
    ax.plot([low, high], [str(n)] * 2, lw=6, solid_capstyle="butt")
    print(f"{n:3} good images: false alarms from {low:.2f} to {high:.2f}")
ax.axvline(0.05, color="0.3", ls="--", label="asked for")
ax.set(xlabel="share of false alarms, 90 % of the draws", ylabel="good images")
ax.legend()

# %%
# Some labels
# -----------
#
# scikit-learn finds the threshold that is best for a metric. The detector has seen none
# of the images, hence ``FrozenEstimator`` and ``cv="prefit"``.

tuned = TunedThresholdClassifierCV(
    FrozenEstimator(detector),
    scoring="f1",
    response_method="predict_proba",
    cv="prefit",
    refit=False,
).fit(X[choose], y[choose])
judged(f"best F1, {tuned.best_threshold_:.2f}", tuned.predict(X[judge]))

# %%
# Probabilities
# -------------
#
# A score of 0.8 does not mean that 8 of 10 such images are damaged. Calibration makes
# it so, for images with the same mix of good and bad as those it learnt from:

calibrated = CalibratedClassifierCV(FrozenEstimator(detector)).fit(X[choose], y[choose])
fig, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for name, model in {"score": detector, "calibrated": calibrated}.items():
    CalibrationDisplay.from_estimator(
        model, X[judge], y[judge], n_bins=6, strategy="quantile", name=name, ax=ax
    )
    error = np.mean((model.predict_proba(X[judge])[:, 1] - y[judge]) ** 2)
    print(f"{name:10} Brier score {error:.3f}")

# %%
# Conclusion
# ----------
#
# Decide first what an alarm costs. With good images only, bound the false alarms, and
# collect a hundred of them before you trust the bound. With labels, let scikit-learn
# tune what you really want. And judge every threshold on images that had no say in
# it.
