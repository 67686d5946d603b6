"""split: divide the identities into train, validation and test, and draw the verification pairs.

in   data/clean.parquet
out  data/split.parquet (one row per kept face), data/pairs.parquet (pairs of val and test faces, in folds)

No identity is in two subsets, and none moves when others are added.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa

from facelib import partitions, splitting
from params import load
from params.split import Params

CLEAN = Path("data/clean.parquet")
SPLIT = pa.schema(
    [
        ("key", pa.string()),
        ("partition", pa.string()),
        ("path", pa.string()),
        ("identity", pa.string()),
        ("subset", pa.string()),  # train, val or test
    ]
)
PAIRS = pa.schema(
    [
        ("subset", pa.string()),  # val or test
        ("fold", pa.int8()),
        ("key_a", pa.string()),
        ("key_b", pa.string()),
        ("same", pa.bool_()),
    ]
)


def check(identities: Counter[str], params: Params) -> None:
    """Raises SystemExit where a subset has fewer identities than it needs."""
    needed = {
        "train": params.min_train_identities,
        "val": params.min_val_identities,
        "test": params.min_test_identities,
    }
    short = [name for name in splitting.SUBSETS if identities[name] < needed[name]]
    if short:
        there = ", ".join(f"{name} {identities[name]} (needs {needed[name]})" for name in splitting.SUBSETS)
        raise SystemExit(
            f"split: {identities.total()} identities give {there}: too few for {' and '.join(short)};"
            " add photographs of more people, or change split.val_share, split.test_share, split.seed or"
            f" split.min_{short[0]}_identities"
        )


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "split")
    columns = ["key", "partition", "path", "identity", "keep"]
    kept = [row for row in partitions.read(CLEAN, columns, batch=4096) if row["keep"]]
    subsets = {
        identity: splitting.subset(identity, params.seed, params.val_share, params.test_share)
        for identity in sorted({row["identity"] for row in kept})
    }
    check(Counter(subsets.values()), params)
    with partitions.Writer(Path("data/split.parquet"), SPLIT) as writer:
        for row in sorted(kept, key=lambda row: row["key"]):
            writer.add({**{name: row[name] for name in columns[:-1]}, "subset": subsets[row["identity"]]})
    faces: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in splitting.SUBSETS}
    for row in kept:
        faces[subsets[row["identity"]]][row["identity"]].append(row["key"])
    with partitions.Writer(Path("data/pairs.parquet"), PAIRS) as writer:
        for name in ("val", "test"):
            pairs = list(splitting.pairs(faces[name], params.seed, params.pairs_per_fold))
            for pair in pairs:
                writer.add({"subset": name, **vars(pair)})
            print(f"split: {len(pairs)} {name} pairs in {len({pair.fold for pair in pairs})} folds")
    for name in splitting.SUBSETS:
        print(f"split: {name} {len(faces[name])} identities, {sum(map(len, faces[name].values()))} faces")


if __name__ == "__main__":
    main()
