"""Rank the words of data/counts.json into results/top.csv."""

import json
import os
import re
import time
from pathlib import Path

given = Path("params.yaml").read_text()
top, seconds = (int(re.search(rf"{name}: (\d+)", given)[1]) for name in ("top", "seconds"))  # type: ignore[index]
counts = json.loads(Path("data/counts.json").read_text())
ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
live = Path(os.environ.get("LIVE", "live"))
live.mkdir(exist_ok=True)
with (live / "metrics.jsonl").open("a") as lines:
    for rank, (_, count) in enumerate(ranked):
        lines.write(json.dumps({"step": rank, "name": "count", "value": count}) + "\n")
print("ranked", flush=True)
time.sleep(seconds)
Path("results").mkdir(exist_ok=True)
Path("results/top.csv").write_text("rank,word,count\n" + "".join(f"{i},{w},{c}\n" for i, (w, c) in enumerate(ranked)))

# A picture, and a script that must not run where the page is shown.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
items = "".join(f"<li>{word}: {count}</li>" for word, count in ranked)
Path("results/words.html").write_text(
    f'<!DOCTYPE html><title>Words</title><h1>Most frequent words</h1><ol>{items}</ol><img alt="dot" src="data:image/png;base64,{PICTURE}">'
    '<p id="script">no script ran</p><script>document.getElementById("script").textContent = "a script ran"</script>'
)
