"""Turn a table of scores into labels that FiftyOne imports: nothing but Python needed.

python to_fiftyone.py scores.csv labels.json      (or scores.jsonl)

Then, in FiftyOne:

    import fiftyone as fo
    kind = fo.types.FiftyOneImageClassificationDataset
    dataset = fo.Dataset.from_dir(dataset_type=kind, labels_path="labels.json")
    fo.launch_app(dataset)      # sort or filter by the confidence
"""

import csv
import json
import sys
from pathlib import Path

if len(sys.argv) != 3:
    sys.exit(__doc__)
table, target = map(Path, sys.argv[1:])
with table.open(encoding="utf-8", newline="") as file:
    is_csv = table.suffix == ".csv"
    rows = list(csv.DictReader(file) if is_csv else map(json.loads, file))

labels = {}
for row in rows:
    if not row.get("error"):  # an image without a score has no label
        name = "anomalous" if int(row["label"]) else "normal"
        score = {"label": name, "confidence": float(row["score"])}
        labels[str(Path(row["path"]).absolute())] = score
text = json.dumps({"classes": None, "labels": labels}, indent=1)
target.write_text(text + "\n", encoding="utf-8")
print(f"{target}: {len(labels)} of {len(rows)} images", file=sys.stderr)
