"""Numbers and pictures for whoever watches a stage run: lines in a file, no tracking client.

They go to the folder that the environment variable LIVE names (`./live` by default). Nothing in it is an
output: it may be lost at no cost.
"""

import json
import os
import time
from pathlib import Path

from PIL import Image


def _folder() -> Path:
    folder = Path(os.environ.get("LIVE", "live"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log(step: int, **values: float) -> None:
    """Append one line {"step", "name", "value", "time"} per value to metrics.jsonl; time: seconds since 1970."""
    now = time.time()
    lines = [json.dumps({"step": step, "name": n, "value": float(value), "time": now}) for n, value in values.items()]
    with (_folder() / "metrics.jsonl").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def picture(name: str, image: Image.Image) -> None:
    """Write `image` as NAME.png, replacing an older one; whoever reads meanwhile sees the old or the new."""
    path = _folder() / f"{name}.png"
    unfinished = path.with_suffix(".part")
    image.save(unfinished, format="PNG")
    unfinished.replace(path)
