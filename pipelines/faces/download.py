"""download: take the photographs that source.json names out of the inbox.

in   source.json (listing by arrival date), $INBOX (a folder; only read)
out  data/photos/PARTITION.parquet, data/rejects/download/PARTITION.parquet

A file that is gone, changed, empty or too large since it was listed is a row among the rejects.
"""

import argparse
from pathlib import Path

import pyarrow as pa

from facelib import inbox, partitions
from facelib.progress import Progress
from params import load
from params.download import Params

PHOTOS = pa.schema([("path", pa.string()), ("identity", pa.string()), ("sha256", pa.string()), ("image", pa.binary())])


def download(partition: str, entries: list[inbox.Entry], folder: Path, params: Params, progress: Progress) -> int:
    """Write one partition; returns how many files were rejected."""
    photos, rejects = Path("data/photos"), Path("data/rejects/download")
    rejected = 0
    with (
        partitions.Writer(partitions.file(photos, partition), PHOTOS) as taken,
        partitions.Writer(partitions.file(rejects, partition), partitions.REJECTS) as refused,
    ):
        for entry in entries:
            who = {"path": entry.path, "identity": inbox.identity(entry.path, partition)}
            try:
                image = inbox.take(folder, entry, params.max_bytes)
                taken.add({**who, "sha256": entry.sha256, "image": image})
            except inbox.Missing as missing:
                refused.add({**who, "reason": missing.reason, "detail": missing.detail})
                rejected += 1
            progress.step(partition)
    return rejected


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "download")
    listing = inbox.listing(Path("source.json"))
    folder = inbox.folder()
    total = sum(map(len, listing.values()))
    if not total:
        raise SystemExit("source.json lists no files; put photographs into the inbox and list it again")
    progress = Progress("download", total, "files")
    rejected = sum(download(name, entries, folder, params, progress) for name, entries in listing.items())
    progress.finish(f"{rejected} rejected")
    if rejected > params.max_reject_share * total:
        raise SystemExit(
            f"download: {rejected} of {total} listed files are missing, changed, empty or too large; is"
            f" INBOX={folder} the folder that source.json lists? Else list it again, or raise"
            " download.max_reject_share"
        )


if __name__ == "__main__":
    main()
