"""
================================
Reading the results of benchmark
================================

A benchmark gives thousands of numbers; which of them mean something? This essay
measures the paper's methods on painted images with the small bundled model, which
takes seconds, and reads the outcome step by step: single numbers, their scatter over
seeds, over images and over categories. **The numbers say nothing about real
images**; what is to be learnt is how to read them.
"""

# %%
# Measure
# -------
#
# Four categories of painted parts, with a few normal images of each as references.
# :func:`skclipad.paper.run_benchmark` shows every image to CLIP once and trains
# one network for each seed; with ``output="somewhere"`` it could be stopped and go on.

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc
from skclipad.paper import figure4, make_table, run_benchmark, table_text
from skclipad.statistics import bootstrap_interval, compare_methods

categories = ["bottle", "coin", "leather", "wood"]
photos = make_defect_images(96, categories=categories, random_state=2_000_000_001)
normal = make_defect_images(
    32, categories=categories, anomaly_fraction=0, random_state=2_000_000_002
)
detector = RandomWordCLIPDetector(N_p=300, embedder=CLIPImageEmbedder("tiny"))
results = run_benchmark(
    photos,
    references=normal,
    detector=detector,
    seeds=3,
    crops=["multi"],
    shots=[0, 2],
    pairs=[30, 100],
)
print(f"{len(results)} rows")
results.head()

# %%
# One row is one number
# ---------------------
#
# Every row says what it is about: category, set-up, method, shots, seed and metric.
# pandas does the rest. "CLIP" has no random words, hence no seed.

main = results.query("metric == 'auroc' and shots == 0 and setup == 'unknown'")
main = main[main.N_p.isin([300]) | main.N_p.isna()]
main.pivot_table(index="category", columns="method", values="value").round(3)

# %%
# The same as in the paper: means over categories, and the standard deviation of that
# mean over seeds. On MVTec-AD the paper's own values would stand in brackets.

print(table_text(make_table(results, 1)))

# %%
# Scatter over seeds
# ------------------
#
# The ± of the table is what another draw of random words and of initial weights would
# change, on the same images. It shrinks as prompts are added, up to a point:

figure = figure4(results)

# %%
# Scatter over images
# -------------------
#
# A small ± over seeds does not make a number certain: other images of the same parts
# would have given another one. The bootstrap draws images again and again:

images = photos.images[photos.category == "coin"]
target = photos.target[photos.category == "coin"]
fitted = detector.set_params(random_state=0, embedder__crops="multi").fit()
scores = fitted.predict_proba(images)[:, 1]
interval = bootstrap_interval(target, scores, random_state=0)
print(f"AUROC of {len(target)} coins: {auroc(target, scores):.3f}")
print(f"95 % interval over images: {interval.low:.3f} to {interval.high:.3f}")

# %%
# With a few dozen images the interval is wide. Two methods that differ by a hundredth
# on one category are not told apart by it.
#
# Scatter over categories
# -----------------------
#
# Does "CLIP + ours" beat "CLIP"? What one wants to know is whether it would on other
# parts too, so categories are the sample, and the same images under both methods are
# a pair:

comparable = main.query("method in ['CLIP', 'CLIP + ours']")
test = compare_methods(comparable, "CLIP", "CLIP + ours", random_state=0)
print(f"difference {test.difference:+.3f}, from {test.low:+.3f} to {test.high:+.3f}")
print(f"p = {test.p_value:.2f} over {test.n_categories} categories")

# %%
# Four categories cannot give a p-value below 1/8, however clear the difference: with so
# few the test can only fail to tell. The paper's 15 can.
#
# Conclusion
# ----------
#
# Read a table in this order: how many categories and images is a cell made of, how
# far do seeds move it, how far would other images, and does a difference hold across
# categories. Only the last one speaks for the next part that comes along the belt.
