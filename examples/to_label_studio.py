"""Turn a table of scores into tasks for Label Studio, to be checked by people.

python to_label_studio.py scores.csv tasks.json FOLDER      (or scores.jsonl)

FOLDER is what LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT names, with the images below it;
LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true has them served. Import tasks.json into a
project with this labeling interface; check first what is nearest to the threshold:

    <View>
      <Image name="image" value="$image"/>
      <Choices name="condition" toName="image">
        <Choice value="normal"/><Choice value="anomalous"/>
      </Choices>
    </View>
"""

import csv
import json
import sys
from pathlib import Path
from urllib.parse import quote

if len(sys.argv) != 4:
    sys.exit(__doc__)
table, target, root = map(Path, sys.argv[1:])
with table.open(encoding="utf-8", newline="") as file:
    is_csv = table.suffix == ".csv"
    rows = list(csv.DictReader(file) if is_csv else map(json.loads, file))

tasks = []
for row in rows:
    if not row.get("error"):  # an image without a score has no prediction
        place = Path(row["path"]).absolute().relative_to(root.absolute()).as_posix()
        choice = {"choices": ["anomalous" if int(row["label"]) else "normal"]}
        region = {"from_name": "condition", "to_name": "image", "type": "choices"}
        prediction = {"model_version": "skclipad", "score": float(row["score"])}
        prediction["result"] = [region | {"value": choice}]
        data = {"image": f"/data/local-files/?d={quote(place)}", **row}
        tasks.append({"data": data, "predictions": [prediction]})
target.write_text(json.dumps(tasks, indent=1) + "\n", encoding="utf-8")
print(f"{target}: {len(tasks)} of {len(rows)} images", file=sys.stderr)
