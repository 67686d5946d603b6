"""Copy the texts that source.json names from $INBOX into data/texts."""

import json
import os
import shutil
from pathlib import Path

for entries in json.loads(Path("source.json").read_text())["partitions"].values():
    for entry in entries:
        target = Path("data/texts") / entry["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(os.environ["INBOX"]) / entry["path"], target)
        print(f"took {entry['path']}", flush=True)
