"""The tables of an evaluation that `dvc plots` draws: a row is a point, its `series` the curve it belongs to.

`.dvc/plots/` holds the templates: what is on which axis, in dvc.yaml, is all they need to know beside `series`.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facelib import calibration, verification
from facelib.bootstrap import Interval
from facelib.verification import FARS, Flags, Scores

Rows = list[dict[str, str | float | int | None]]
BINS = 40
"""Of the histogram of scores."""


def write(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str] = ()) -> None:
    """A CSV file; six digits, an empty field for None. `columns` are needed only where there may be no rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})


def roc(scores: Mapping[str, Scores], same: Flags) -> Rows:
    """FAR and TAR of each scorer, from one false accept on."""
    curves = {name: verification.thinned_roc(values, same) for name, values in scores.items()}
    return [
        {"far": float(far), "tar": float(tar), "series": name}
        for name, curve in curves.items()
        for far, tar in zip(*curve, strict=True)
    ]


def tar_at_far(numbers: Mapping[str, Mapping[str, float]], limits: Mapping[str, Interval]) -> Rows:
    """The `tar_at_far_*` of each scorer; `limits` are the first one's."""
    first = next(iter(numbers))
    rows: Rows = []
    for series, values in numbers.items():
        for far in FARS:
            name = f"tar_at_far_{far:g}"
            if name in values:
                low, high = limits.get(name, (None, None)) if series == first else (None, None)
                rows.append({"far": far, "tar": values[name], "low": low, "high": high, "series": series})
    return rows


def histogram(scores: Scores, same: Flags) -> Rows:
    """How many pairs of either kind have about which score."""
    edges = np.histogram_bin_edges(scores, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    return [
        {"score": float(middle), "pairs": int(count), "series": series}
        for series, kind in (("same", same), ("different", ~same))
        for middle, count in zip(middles, np.histogram(scores[kind], edges)[0], strict=True)
    ]


def reliability(probability: NDArray[np.float64], same: Flags) -> Rows:
    """The share of same pairs among those of about one probability, and the diagonal it should be."""
    bins = calibration.curve(probability, same)
    found: Rows = [
        {"predicted": b.predicted, "observed": b.observed, "pairs": b.pairs, "series": "model"} for b in bins
    ]
    return found + [{"predicted": end, "observed": end, "pairs": None, "series": "ideal"} for end in (0.0, 1.0)]
