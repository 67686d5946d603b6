"""Count the words of data/texts/DAY.json into data/counts/DAY.json; the longest goes to data/longest/DAY.txt."""

import collections
import json
import re
from pathlib import Path

lower = "lower: true" in Path("params.yaml").read_text()
for folder in ("data/counts", "data/longest"):
    Path(folder).mkdir(parents=True, exist_ok=True)
for day in sorted(Path("data/texts").iterdir()):
    text = "\n".join(json.loads(day.read_text()).values())
    words = collections.Counter(re.findall(r"\w+", text.lower() if lower else text))
    Path(f"data/counts/{day.stem}.json").write_text(json.dumps(words, sort_keys=True))
    Path(f"data/longest/{day.stem}.txt").write_text(max(words, key=lambda word: (len(word), word)))
    print(f"counted {day.stem}", flush=True)
