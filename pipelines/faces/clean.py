"""clean: decide which faces are good enough to learn from. Nothing is deleted: every decision is a row.

in   data/aligned/*.parquet (measurements; pictures are not read)
out  data/clean.parquet (keep or not, reason, measured number, threshold)
"""

import argparse
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's sums depend on the number of threads

import pyarrow as pa

from facelib import partitions
from facelib.cleaning import RULES, Decision, decide
from params import load
from params.clean import Params

ALIGNED = Path("data/aligned")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("partition", pa.string()),
        ("path", pa.string()),
        ("identity", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),  # "" where kept
        ("measured", pa.float32()),  # null where kept, and where the reason has no number
        ("threshold", pa.float32()),
        ("misfit", pa.float32()),  # mislabels.misfits; null where it was not measured
    ]
)
COLUMNS = ["key", "path", "identity", "fingerprint", "texture", *dict.fromkeys(rule.measure for rule in RULES)]


def refuse_same_keys(faces: list[partitions.Row]) -> None:
    """DATE/a.jpg and, in a list, a.jpg of that date have one key: from here on nobody could tell them apart."""
    for one, other in pairwise(faces):
        if one["key"] == other["key"]:
            raise SystemExit(
                f"clean: {one['path']} and {other['path']} of {one['partition']} are both called {one['key']};"
                " rename one of them in the inbox"
            )


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "clean")
    faces = [
        {**row, "partition": name}
        for name in partitions.names(ALIGNED)
        for row in partitions.read(partitions.file(ALIGNED, name), COLUMNS, batch=4096)
    ]
    faces.sort(key=lambda face: face["key"])
    refuse_same_keys(faces)
    dropped, misfit = decide(faces, params.model_dump())
    kept = Decision("")
    with partitions.Writer(Path("data/clean.parquet"), SCHEMA) as writer:
        for row, face in enumerate(faces):
            decision = dropped.get(row, kept)
            columns = {name: face[name] for name in ("key", "partition", "path", "identity")}
            writer.add({**columns, "keep": row not in dropped, **vars(decision), "misfit": misfit.get(row)})
    for reason, count in Counter(decision.reason for decision in dropped.values()).most_common():
        print(f"clean: {count} {reason}")
    identities = {face["identity"] for row, face in enumerate(faces) if row not in dropped}
    print(f"clean: {len(faces) - len(dropped)} of {len(faces)} faces kept, {len(identities)} identities")


if __name__ == "__main__":
    main()
