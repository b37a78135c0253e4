"""
===============
Your own folder
===============

You have a folder of images, sorted or not, and would like a list of suspects by this
evening. This essay makes such a folder first, with a file in it that is no image, and
then does what you would do with yours.
"""

# %%
# A folder
# --------
#
# One folder for each kind, in which the name "good" stands for whole things: that is
# all the layout there is. Yours may have no sub-folders at all; then there are scores
# and no metrics.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import load_folder, make_defect_images
from skclipad.metrics import auroc
from skclipad.report import describe_run, write_report
from skclipad.statistics import bootstrap_interval

place = tempfile.TemporaryDirectory()
root = Path(place.name, "coins")
painted = make_defect_images(60, categories=["coin"], random_state=3)
for i, (image, defect) in enumerate(zip(painted.images, painted.defect, strict=True)):
    kind = "good" if defect == "none" else defect
    path = root / kind / f"{i:03}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
(root / "good" / "999.png").write_text("This is no image.")

# %%
# :func:`~skclipad.datasets.load_folder` lists the files and reads labels off the
# folders' names. It opens no image.

data = load_folder(root)
print(pd.Series(data.defect).value_counts().to_string())

# %%
# Scores
# ------
#
# The images show coins, so say so. ``on_error="nan"`` lets the run go on where a
# file cannot be read; without it, an error names row and path.
#
# For your images leave ``"tiny"`` out: the bundled model knows only painted ones.

embedder = CLIPImageEmbedder("tiny", on_error="nan")
detector = RandomWordCLIPDetector(
    N_p=1000, object_name="coin", embedder=embedder, random_state=0
).fit()

table = pd.DataFrame({"path": data.paths, "kind": data.defect, "y": data.target})
table["score"] = detector.predict_proba(table["path"])[:, 1]
table["path"] = [Path(path).relative_to(root).as_posix() for path in table["path"]]
table.sort_values("score", ascending=False).head(10)

# %%
# What could not be read has no score, and says so:

table[table["score"].isna()]

# %%
# How good is it?
# ---------------
#
# Labels came with the folders' names, so this can be asked. With a few dozen images
# the answer is an interval:

known = table.dropna(subset="score")
interval = bootstrap_interval(known["y"], known["score"], random_state=0)
print(f"AUROC {auroc(known['y'], known['score']):.3f}")
print(f"95 % of it between {interval.low:.3f} and {interval.high:.3f}")

# %%
# Which kinds of defect are found, and which are not? Compare each with the good ones:

good = known[known["y"] == 0]
kinds = {}
for kind, bad in known[known["y"] == 1].groupby("kind"):
    both = pd.concat([good, bad])
    kinds[f"{kind} ({len(bad)})"] = auroc(both["y"], both["score"])
kinds = pd.Series(kinds).sort_values()
fig, ax = plt.subplots(figsize=(7, 0.3 * len(kinds) + 1), layout="constrained")
ax.barh(kinds.index, kinds)
ax.axvline(0.5, color="0.3", ls="--", label="chance")
ax.set(xlabel="AUROC against the good ones", xlim=(0, 1))
ax.legend()
print(f"hardest: {kinds.index[0]}, easiest: {kinds.index[-1]}")

# %%
# A page to look through
# ----------------------
#
# Numbers persuade nobody who has not seen the images. The report is one HTML file
# with all of them, sortable, with heat maps; it can be mailed.

readable = np.flatnonzero(table["score"].notna())
paths = [data.paths[i] for i in readable]
page = root / "report.html"
write_report(
    page,
    paths,
    table["score"].to_numpy()[readable],
    labels=data.target[readable],
    settings=describe_run(detector),
)
print(f"{page.name}: {page.stat().st_size / 1000:.0f} kB")

# %%
# The same from the shell, without a line of Python:
#
# .. code-block:: console
#
#     skclipad score coins/ --object coin -o scores.csv --report report.html

place.cleanup()

# %%
# Conclusion
# ----------
#
# A folder, a name for what is in it, one call: that is a list of suspects. Folders'
# names as labels make it a measurement; look at the interval before you believe it, and
# at the kinds of defect before you believe the mean.
