"""Rank the words of data/counts.json into results/top.csv."""

import base64
import json
import os
import re
import time
from pathlib import Path

# A red pixel as PNG, for whoever watches.
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"

given = Path("params.yaml").read_text()
top, seconds = (int(re.search(rf"{name}: (\d+)", given)[1]) for name in ("top", "seconds"))  # type: ignore[index]
counts = json.loads(Path("data/counts.json").read_text())
ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
live = Path(os.environ.get("LIVE", "live"))
live.mkdir(exist_ok=True)
(live / "dot.png").write_bytes(base64.b64decode(DOT))
print("ranked", flush=True)
if folder := os.environ.get("CHECKPOINTS"):
    tries = Path(folder) / "tries"
    print(f"tried before: {tries.read_text() if tries.exists() else 'never'}", flush=True)
    (Path(folder) / "tries.tmp").write_text("once")
    (Path(folder) / "tries.tmp").rename(tries)
for rank, (_, count) in enumerate(ranked):
    with (live / "metrics.jsonl").open("a") as lines:
        lines.write(json.dumps({"step": rank, "name": "count", "value": count, "time": time.time()}) + "\n")
    time.sleep(seconds / len(ranked))
Path("results").mkdir(exist_ok=True)
Path("results/top.csv").write_text("rank,word,count\n" + "".join(f"{i},{w},{c}\n" for i, (w, c) in enumerate(ranked)))

# A picture, and a script that must not run where the page is shown.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
items = "".join(f"<li>{word}: {count}</li>" for word, count in ranked)
Path("results/words.html").write_text(
    f'<!DOCTYPE html><title>Words</title><h1>Most frequent words</h1><ol>{items}</ol><img alt="dot" src="data:image/png;base64,{PICTURE}">'
    '<p id="script">no script ran</p><script>document.getElementById("script").textContent = "a script ran"</script>'
)
