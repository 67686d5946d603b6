"""Confidence intervals of verification numbers, by drawing people again and not pairs.

Pairs that share a person are not independent: ten photographs of one man who is easy to recognise make 45 easy
pairs. Intervals over pairs are therefore far too narrow (a test shows it). Here each replicate draws as many
people as there are, with replacement. A person drawn c times counts each of his own pairs c times (the subsets
bootstrap: Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems", CVIU 93, 2004), and a pair
of two people counts as often as the product says (the vertex bootstrap: Snijders and Borgatti, "Non-parametric
standard errors and tests for network statistics", Connections 22, 1999).

Counts are weights of pairs that are sorted once, so a replicate is a cumulative sum. The same seed draws the same
people: two scorers of the same pairs can be subtracted replicate by replicate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facelib import verification
from facelib.verification import FARS, Flags, Scores

Replicates = dict[str, NDArray[np.float64]]
"""One value per replicate by the names of verification.summary; NaN where a replicate has no such number."""
Interval = tuple[float, float]
Counts = NDArray[np.int32]

CELLS = 2_000_000
"""Weights (replicates times pairs) in memory at a time."""


@dataclass(frozen=True)
class Ends:
    """The people of each pair, as numbers from 0."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    people: int
    """How many there are to draw from."""

    @classmethod
    def of(cls, identities: list[str], a: NDArray[np.int64], b: NDArray[np.int64]) -> "Ends":
        """From each face's identity and the faces (rows) of each pair; who is in no pair is not drawn."""
        names, number = np.unique(np.array(identities)[np.concatenate((a, b))], return_inverse=True)
        return cls(number[: len(a)], number[len(a) :], len(names))

    def of_pairs(self, chosen: NDArray[np.int64] | Flags) -> "Ends":
        """Those of the chosen pairs; everybody is still drawn from."""
        return Ends(self.a[chosen], self.b[chosen], self.people)


def replicates(scores: Scores, same: Flags, fold: NDArray[np.integer], ends: Ends, count: int, seed: int) -> Replicates:
    """verification.summary of `count` draws of people: accuracy, auc, eer and each resolvable tar_at_far_*.

    The accuracy's thresholds stay those of all people: a draw holds about five of eight folds' pairs of different
    people, and thresholds chosen on those would say more about the draw than about the scores.
    """
    right = verification.right_in_folds(scores, same, fold)
    limits = [limit for limit in FARS if verification.tar_at_far(scores, same, limit) is not None]
    order = np.argsort(-scores, kind="stable")
    steps, hit, right, fold = _steps(scores[order]), same[order], right[order], fold[order]

    def measure(weights: Counts) -> Replicates:
        tar, far = _roc(weights, steps, hit)
        found = {"accuracy": _accuracy(weights, hit, right, fold), "auc": _auc(tar, far), "eer": _eer(tar, far)}
        return found | {f"tar_at_far_{limit:g}": _tar_at_far(tar, far, limit) for limit in limits}

    parts = [measure(weights) for weights in _draws(ends.of_pairs(order), count, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def auc_replicates(scores: Scores, same: Flags, ends: Ends, count: int, seed: int) -> NDArray[np.float64]:
    """The area under the ROC of `count` draws of people; needs no folds, so any part of the pairs will do."""
    order = np.argsort(-scores, kind="stable")
    steps, hit = _steps(scores[order]), same[order]
    return np.concatenate([_auc(*_roc(weights, steps, hit)) for weights in _draws(ends.of_pairs(order), count, seed)])


def interval(values: NDArray[np.float64], level: float = 0.95) -> Interval | None:
    """The middle `level` of the replicates that have the number; None unless nearly all (95 %) have it."""
    known = values[np.isfinite(values)]
    if len(known) < 0.95 * len(values) or not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(drawn: Mapping[str, NDArray[np.float64]], level: float = 0.95) -> dict[str, Interval]:
    """`interval` by name; names whose interval is None are left out."""
    found = {name: interval(values, level) for name, values in drawn.items()}
    return {name: limits for name, limits in found.items() if limits is not None}


def difference(ours: Replicates, theirs: Replicates) -> Replicates:
    """Ours minus theirs of the same draws (same pairs, ends, count and seed): a paired comparison of two scorers."""
    return {name: ours[name] - theirs[name] for name in ours if name in theirs}


def _draws(ends: Ends, count: int, seed: int) -> Iterator[Counts]:
    """Weights [replicates, pairs], as many replicates at a time as CELLS allows; the draws do not depend on it."""
    rng = np.random.default_rng(seed)
    several = ends.a != ends.b
    step = max(1, CELLS // len(several))
    for start in range(0, count, step):
        drawn = rng.integers(ends.people, size=(min(step, count - start), ends.people))
        times = np.zeros(drawn.shape, np.int32)
        np.add.at(times, (np.arange(len(drawn))[:, None], drawn), 1)
        yield times[:, ends.a] * np.where(several, times[:, ends.b], 1)


def _steps(falling: Scores) -> NDArray[np.int64]:
    """The last of each run of equal scores."""
    return np.flatnonzero(np.append(np.diff(falling) != 0, True))


def _roc(weights: Counts, steps: NDArray[np.int64], same: Flags) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """TAR and FAR [replicates, steps + 1] of pairs by falling score, from "accept none" on; NaN without pairs."""

    def rate(kind: Flags) -> NDArray[np.float64]:
        accepted = np.cumsum(weights * kind, axis=1)[:, steps]
        with np.errstate(invalid="ignore"):  # a replicate may hold no such pair
            share = accepted / accepted[:, -1:]
        return np.concatenate([np.zeros((len(share), 1)), share], axis=1)

    return rate(same), rate(~same)


def _auc(tar: NDArray[np.float64], far: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.trapezoid(tar, far, axis=1))


def _eer(tar: NDArray[np.float64], far: NDArray[np.float64]) -> NDArray[np.float64]:
    gap = far + tar - 1
    after = np.argmax(gap >= 0, axis=1)  # 0 where the gap is NaN
    rows, before = np.arange(len(gap)), np.maximum(after - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
        return far[rows, before] + share * (far[rows, after] - far[rows, before])


def _tar_at_far(tar: NDArray[np.float64], far: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    highest = np.max(tar, axis=1, where=far <= limit + 1e-9, initial=0)
    return np.where(np.isfinite(far[:, -1] + tar[:, -1]), highest, np.nan)


def _accuracy(weights: Counts, same: Flags, right: Flags, fold: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weighted verification.fold_accuracies, where everybody is drawn once exactly their mean.

    A draw holds more of one kind of pairs than of the other; each kind keeps the say that it has without draws.
    """
    _, place, sizes = np.unique(fold, return_inverse=True, return_counts=True)
    of_fold = 1 / sizes[place]
    found = np.zeros(len(weights))
    for kind in (same, ~same):
        say = weights[:, kind] * of_fold[kind]
        with np.errstate(invalid="ignore"):
            found += (say * right[kind]).sum(1) / say.sum(1) * of_fold[kind].sum()
    return found / len(sizes)
