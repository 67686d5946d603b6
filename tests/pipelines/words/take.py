"""Copy the texts that source.json names from $INBOX, a folder or a URL, into data/texts."""

import json
import os
from pathlib import Path

inbox = os.environ["INBOX"]
if "://" in inbox:  # the address and the keys stand in fsspec's configuration
    from fsspec.core import url_to_fs

    store, root = url_to_fs(inbox)
    read = lambda path: store.cat_file(f"{root}/{path}")  # noqa: E731
else:
    read = lambda path: Path(inbox, path).read_bytes()  # noqa: E731
for entries in json.loads(Path("source.json").read_text())["partitions"].values():
    for entry in entries:
        target = Path("data/texts") / entry["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(entry["path"]))
        print(f"took {entry['path']}", flush=True)
