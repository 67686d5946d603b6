"""split: divide the identities into train, validation and test, and draw the verification pairs.

in   data/clean.parquet, results/gates.json (not read: nothing is split before the gate has let the data pass),
     protocol/pairs.txt (with `split.protocol: lfw`)
out  data/split.parquet (one row per kept face), data/pairs.parquet (pairs of val and test faces, in folds),
     data/missing_pairs.csv (pairs of protocol/pairs.txt that cannot be verified, and why)

No identity is in two subsets, and none moves when others are added. With LFW's protocol everybody in it is tested
and nobody else.
"""

import argparse
import csv
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa

from facelib import partitions, protocol, splitting
from params import load
from params.split import Params

CLEAN, PROTOCOL = Path("data/clean.parquet"), Path("protocol/pairs.txt")
ALL_OF_LFW = "of LFW take everybody, make lfw MIN_PHOTOS=1, and keep them, clean.min_faces=1"
"""For its protocol: most of the people in it have one photograph, and so have most of those it leaves for training."""
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
        by_protocol = params.protocol == "lfw"  # it says who is tested, whatever test_share is
        raise SystemExit(
            f"split: {identities.total()} identities give {there}: too few for {' and '.join(short)};"
            f" add photographs of more people{f' ({ALL_OF_LFW})' if by_protocol else ''}, or change split.val_share,"
            f"{'' if by_protocol else ' split.test_share,'} split.seed or split.min_{short[0]}_identities"
        )


def usable(lines: list[protocol.Line], faces: list[partitions.Row], least: float) -> list[splitting.Pair]:
    """The protocol's pairs of kept faces; writes data/missing_pairs.csv.

    Raises SystemExit where they are less than the share `least`.
    """
    kept: dict[protocol.Photograph, str] = {}
    reasons: dict[protocol.Photograph, str] = {}
    for photograph, row in protocol.photographs(faces):
        if row["keep"]:
            kept.setdefault(photograph, row["key"])
        else:
            reasons.setdefault(photograph, row["reason"])
    missing = [(line, why) for line in lines if (why := protocol.missing(line, kept, reasons))]
    with Path("data/missing_pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fold", "same", "a", "b", "reason"])
        writer.writerows((line.fold, line.same, line.a, line.b, why) for line, why in missing)
    if not lines:
        return []
    found = len(lines) - len(missing)
    counts = Counter(part.rpartition(": ")[2] for _, why in missing for part in why.split("; "))
    told = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    print(f"split: {found} of the {len(lines)} pairs in {PROTOCOL} can be verified" + (f" ({told})" if told else ""))
    if found < least * len(lines):
        absent = f" ({ALL_OF_LFW})" if counts.keys() & {protocol.ABSENT, "single"} else ""
        raise SystemExit(
            f"split: only {found} of the {len(lines)} pairs in {PROTOCOL} can be verified ({told}); data/missing_pairs.csv"
            f" lists them: add the photographs{absent}, relax clean.*, or lower split.protocol_min_share"
        )
    return [
        splitting.Pair(line.fold, *sorted((kept[line.a], kept[line.b])), line.same)
        for line in lines
        if line.a in kept and line.b in kept
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "split")
    columns = ["key", "partition", "path", "identity", "keep", "reason"]
    judged = sorted(partitions.read(CLEAN, columns, batch=4096), key=lambda row: row["key"])
    kept = [row for row in judged if row["keep"]]
    lines = protocol.read(PROTOCOL) if params.protocol == "lfw" else []
    tested, test_share = protocol.people(lines), 0.0 if lines else params.test_share
    subsets = {
        identity: "test"
        if identity in tested
        else splitting.subset(identity, params.seed, params.val_share, test_share)
        for identity in sorted({row["identity"] for row in kept})
    }
    check(Counter(subsets.values()), params)
    with partitions.Writer(Path("data/split.parquet"), SPLIT) as writer:
        for row in kept:
            writer.add({**{name: row[name] for name in columns[:4]}, "subset": subsets[row["identity"]]})
    faces: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in splitting.SUBSETS}
    for row in kept:
        faces[subsets[row["identity"]]][row["identity"]].append(row["key"])
    given = usable(lines, judged, params.protocol_min_share)
    drawn = {name: list(splitting.pairs(faces[name], params.seed, params.pairs_per_fold)) for name in ("val", "test")}
    with partitions.Writer(Path("data/pairs.parquet"), PAIRS) as writer:
        for name, pairs in {"val": drawn["val"], "test": given or drawn["test"]}.items():
            for pair in pairs:
                writer.add({"subset": name, **vars(pair)})
            print(f"split: {len(pairs)} {name} pairs in {len({pair.fold for pair in pairs})} folds")
    for name in splitting.SUBSETS:
        print(f"split: {name} {len(faces[name])} identities, {sum(map(len, faces[name].values()))} faces")


if __name__ == "__main__":
    main()
