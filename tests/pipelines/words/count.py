"""Count the words of data/texts into data/counts.json."""

import collections
import json
import re
from pathlib import Path

# JSON is YAML: without a YAML library, `lower` is found by its line.
lower = "lower: true" in Path("params.yaml").read_text()
texts = sorted(Path("data/texts").rglob("*.txt"))
words: collections.Counter[str] = collections.Counter()
for text in texts:
    content = text.read_text()
    words.update(re.findall(r"\w+", content.lower() if lower else content))
Path("data/counts.json").write_text(json.dumps(dict(sorted(words.items()))))
Path("results").mkdir(exist_ok=True)
Path("results/metrics.json").write_text(json.dumps({"texts": len(texts), "words": sum(words.values())}))
