"""Add the days of data/counts up into results/metrics.json."""

import collections
import json
import re
from pathlib import Path

least = int(re.search(r"least: (\d+)", Path("params.yaml").read_text())[1])  # type: ignore[index]
total: collections.Counter[str] = collections.Counter()
days = sorted(Path("data/counts").iterdir())
for day in days:
    total.update(json.loads(day.read_text()))
Path("results").mkdir(exist_ok=True)
counted = sum(count for count in total.values() if count >= least)
Path("results/metrics.json").write_text(json.dumps({"days": len(days), "words": counted}))
