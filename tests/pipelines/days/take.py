"""Copy the texts that source.json names from $INBOX into data/texts/DAY.json."""

import json
import os
from pathlib import Path

Path("data/texts").mkdir(parents=True, exist_ok=True)
for day, entries in json.loads(Path("source.json").read_text())["partitions"].items():
    texts = {entry["path"]: (Path(os.environ["INBOX"]) / entry["path"]).read_text() for entry in entries}
    Path(f"data/texts/{day}.json").write_text(json.dumps(texts, sort_keys=True))
    print(f"took {day}", flush=True)
