"""download: take the photographs that source.json names out of the inbox, or fetch those that it names by URL.

in   source.json (listing by arrival date), $INBOX (a folder or URL; only read)
     $SCRATCH (a folder; optional): keeps what was fetched from the web, for the next try of the same run
out  data/photos/PARTITION.parquet, data/rejects/download/PARTITION.parquet

A file that is gone, changed, empty or too large since it was listed is a row among the rejects, and so is one that
the web does not give, or that a list names for two people.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa

from facelib import inbox, partitions
from facelib.fetch import Fetcher, in_order
from facelib.progress import Progress
from params import load
from params.download import Params

PHOTOS = pa.schema([("path", pa.string()), ("identity", pa.string()), ("sha256", pa.string()), ("image", pa.binary())])

Take = Callable[[inbox.Entry], tuple[bytes, str]]
"""A file's bytes and their SHA-256. Raises inbox.Missing."""


def taker(params: Params) -> Take:
    """How a file is taken: from the inbox, which is opened when it is first needed, or from the web."""
    scratch = os.environ.get("SCRATCH")
    fetcher = Fetcher(
        params.max_bytes,
        params.timeout,
        params.max_seconds,
        params.retries,
        params.backoff,
        params.rate,
        params.allow_private,
        Path(scratch) if scratch else None,
    )
    opened = cache(inbox.open_inbox)

    def take(entry: inbox.Entry) -> tuple[bytes, str]:
        if not entry.url:
            return inbox.take(opened(), entry, params.max_bytes)
        return fetcher.fetch(entry.url, entry.sha256)

    return take


def download(
    partition: str, entries: list[inbox.Entry], take: Take, params: Params, progress: Progress
) -> Counter[str]:
    """Write one partition; returns how many files were rejected, by reason."""
    photos, rejects = Path("data/photos"), Path("data/rejects/download")
    named = Counter(entry.path for entry in entries)
    reasons: Counter[str] = Counter()

    def try_take(entry: inbox.Entry) -> tuple[bytes, str] | inbox.Missing:
        try:
            if named[entry.path] > 1:
                raise inbox.Missing("named_twice", "the list says different things of it")
            return take(entry)
        except inbox.Missing as missing:
            return missing

    with (
        partitions.Writer(partitions.file(photos, partition), PHOTOS) as taken,
        partitions.Writer(partitions.file(rejects, partition), partitions.REJECTS) as refused,
    ):
        for entry, result in zip(entries, in_order(try_take, entries, params.workers), strict=True):
            who = {"path": entry.path, "identity": inbox.identity(entry, partition)}
            if isinstance(result, inbox.Missing):
                refused.add({**who, "reason": result.reason, "detail": result.detail})
                if not reasons[result.reason]:
                    print(f"download {partition}: {entry.path}: {result.reason}: {result.detail}", flush=True)
                reasons[result.reason] += 1
            else:
                taken.add({**who, "image": result[0], "sha256": result[1]})
            progress.step(partition)
    return reasons


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "download")
    listing = inbox.listing(Path("source.json"))
    total = sum(map(len, listing.values()))
    if not total:
        raise SystemExit("source.json lists no files; put photographs into the inbox and list it again")
    progress = Progress("download", total, "files")
    take = taker(params)
    reasons: Counter[str] = Counter()
    for name, entries in listing.items():
        reasons += download(name, entries, take, params, progress)
    rejected = reasons.total()
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    progress.finish(f"{rejected} rejected" + (f" ({counts})" if counts else ""))
    if rejected > params.max_reject_share * total:
        raise SystemExit(
            f"download: {rejected} of {total} listed files were rejected ({counts}); is INBOX={os.environ.get('INBOX')}"
            " what source.json lists? Else list it again\n"
            '  next: look at the inbox, or let more be rejected: make run PARAMS="download.max_reject_share=1"'
        )


if __name__ == "__main__":
    main()
