"""data_gate: is the data as a whole good enough to train on? A crossed limit stops the run, or warns, with the numbers.

in   data/clean.parquet, data/rejects/*/*.parquet
out  results/gates.json (what was measured; without the limits, so that another limit repeats nothing after it)
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from facelib import partitions
from facelib.whole import Measured, measure
from params import load
from params.data_gate import Params

CLEAN, REJECTS = Path("data/clean.parquet"), Path("data/rejects")
GATES = Path("results/gates.json")
LIMITS = {
    "reject_share": "max_reject_share",
    "drop_share": "max_drop_share",
    "duplicate_share": "max_duplicate_share",
    "identities": "min_identities",
    "faces_per_identity": "min_faces_per_identity",
}
"""What is measured → the parameter that limits it, from above or from below as its name says."""


def crossed(measured: Measured, params: Params) -> Iterator[str]:
    """A line for each limit that the data cross: what was measured, and the limit."""
    for name, parameter in LIMITS.items():
        limit = getattr(params, parameter)
        if measured[name] > limit if parameter.startswith("max") else measured[name] < limit:
            yield f"{name} is {measured[name]:.4g} (data_gate.{parameter}: {limit:g})"


def rejected(folder: Path) -> str:
    """How many photographs were rejected for which reason, the most frequent first."""
    tables = (table for stage in partitions.STAGES_THAT_REJECT for table in sorted((folder / stage).glob("*.parquet")))
    reasons = Counter(row["reason"] for table in tables for row in partitions.read(table, ["reason"], batch=4096))
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "data_gate")
    clean = list(partitions.read(CLEAN, ["identity", "keep", "reason"], batch=4096))
    measured = measure(clean, partitions.count_rejects(REJECTS))
    for name, value in measured.items():
        print(f"data_gate: {name} {value:.4g}")
    lines = list(crossed(measured, params))
    if lines and params.crossed == "stop":
        raise SystemExit(
            f"data_gate: rejected: {rejected(REJECTS) or 'none'}; results/data.html shows them (the run's page in Airflow,"
            " tab Reprise)\n"
            f"data_gate: the data cross {len(lines)} limit{'s' * (len(lines) > 1)}: {'; '.join(lines)}\n"
            '  next: mend the data, or go on without limits: make run PARAMS="data_gate.crossed=warn"'
        )
    for line in lines:
        print(f"data_gate: warning: {line}")
    GATES.parent.mkdir(parents=True, exist_ok=True)
    GATES.write_text(json.dumps({"data": measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
