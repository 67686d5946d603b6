"""How much verification hangs on the photographs: test pairs in thirds of what was measured on their faces.

A pair is as good as the worse of its two faces.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from facelib import bootstrap, verification
from facelib.bootstrap import Ends
from facelib.faces import Pairs
from facelib.verification import Flags, Scores

MEASURES = {"sharpness": np.minimum, "face_px": np.minimum, "brightness": np.minimum, "yaw": np.maximum}
"""Columns of data/aligned, and which of the two faces' sizes is the worse."""


@dataclass(frozen=True)
class Third:
    """Verification of a third of the pairs; None where its pairs cannot say."""

    measure: str
    third: str
    """lowest, middle or highest"""
    least: float
    most: float
    pairs: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    tar: float | None
    """At the calibrated threshold."""
    far: float | None
    """At the calibrated threshold."""


def load(aligned: Path, keys: list[str]) -> dict[str, NDArray[np.float64]]:
    """MEASURES of faces in the order of `keys`: the size of each number, so that left and right turns are alike."""
    files = sorted(aligned.glob("*.parquet"))
    rows = pa.concat_tables([pq.read_table(path, columns=["key", *MEASURES]) for path in files])
    place = {key: row for row, key in enumerate(rows["key"].to_pylist())}
    order = np.array([place[key] for key in keys])
    return {name: np.abs(rows[name].to_numpy().astype(np.float64))[order] for name in MEASURES}


def thirds(
    measures: dict[str, NDArray[np.float64]],
    scores: Scores,
    pairs: Pairs,
    ends: Ends,
    threshold: float,
    draws: int,
    seed: int,
) -> list[Third]:
    """Three rows for each measure: the pairs by the measure of their worse face, from small to large.

    A measure that has one value throughout is left out.
    """
    found = []
    for name, worse in MEASURES.items():
        values = worse(measures[name][pairs.a], measures[name][pairs.b])
        if values.min() == values.max():
            continue
        part = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values, side="left")
        for number, third in enumerate(("lowest", "middle", "highest")):
            chosen = part == number
            if chosen.any():
                auc, low, high = _auc(scores[chosen], pairs.same[chosen], ends.of_pairs(chosen), draws, seed)
                accepted = scores[chosen] >= threshold
                tar, far = (_share(accepted, pairs.same[chosen] == kind) for kind in (True, False))
                least, most = float(values[chosen].min()), float(values[chosen].max())
                found.append(Third(name, third, least, most, int(chosen.sum()), auc, low, high, tar, far))
    return found


def _auc(
    scores: Scores, same: Flags, ends: Ends, draws: int, seed: int
) -> tuple[float | None, float | None, float | None]:
    """AUC and its interval, as far as the pairs can say."""
    if not same.any() or same.all():
        return None, None, None
    low, high = bootstrap.interval(bootstrap.auc_replicates(scores, same, ends, draws, seed)) or (None, None)
    return verification.auc(scores, same), low, high


def _share(accepted: Flags, kind: Flags) -> float | None:
    return float(accepted[kind].mean()) if kind.any() else None
