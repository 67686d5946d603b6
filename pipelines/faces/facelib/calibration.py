"""From a score to a decision and a probability, learned on the validation pairs and kept with the model.

A threshold that was chosen on the test pairs would flatter the model; one that is not saved is chosen again by
everybody who uses it. Probabilities: Platt, "Probabilistic outputs for support vector machines", 1999, with its
softened targets, which keep the fit finite where the pairs are separable; Newton's method as in Lin, Lin and
Weng, "A note on Platt's probabilistic outputs", 2007.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facelib import verification
from facelib.verification import FARS, Flags, Scores

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How to read a score of this model. Same and different pairs are taken to be equally frequent."""

    threshold: float
    """A pair at or above it is one person: the threshold of highest accuracy on the validation pairs."""
    thresholds_at_far: dict[str, float]
    """By FAR ("0.01"): the lowest threshold that keeps to it there; those that the pairs can resolve."""
    slope: float
    offset: float
    """P(same person) = 1 / (1 + exp(-(slope * score + offset)))."""
    pairs: int
    """Validation pairs it was learned from."""

    @classmethod
    def fit(cls, scores: Scores, same: Flags) -> "Calibration":
        """Learn from validation pairs; never from pairs that the model is reported on.

        Raises ValueError unless there are pairs of both kinds.
        """
        found = {f"{limit:g}": threshold_at_far(scores, same, limit) for limit in FARS}
        slope, offset = fit_logistic(scores, same)
        return cls(
            threshold=_round(verification.best_threshold(scores, same)[0]),
            thresholds_at_far={limit: _round(value) for limit, value in found.items() if value is not None},
            slope=_round(slope),
            offset=_round(offset),
            pairs=len(same),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """The inverse of `to_dict`."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def probability(self, scores: Scores) -> NDArray[np.float64]:
        """Chance that each pair is one person, 0..1."""
        return _sigmoid(self.slope * scores.astype(np.float64) + self.offset)


def _round(value: float) -> float:
    """Eight digits: more than a float32 score has, and the same text on every machine class."""
    return float(f"{value:.8g}")


def threshold_at_far(scores: Scores, same: Flags, limit: float) -> float | None:
    """The lowest threshold whose FAR is at most `limit`, just above the next different pair's score.

    None where fewer than 1 / limit different pairs are given, as in verification.tar_at_far.
    """
    others = np.sort(scores[~same].astype(np.float64))[::-1]
    allowed = int(np.floor(limit * len(others) + 1e-9))
    if allowed < 1:
        return None
    if allowed >= len(others):
        return float(min(scores.min(), others[-1]))
    refused = others[allowed]
    above = scores[scores > refused]
    return float((refused + above.min()) / 2) if len(above) else float(np.nextafter(refused, np.inf))


def fit_logistic(scores: Scores, same: Flags) -> tuple[float, float]:
    """Slope and offset of the likeliest logistic curve, with Platt's targets; both kinds of pairs count alike."""
    if not same.any() or same.all():
        raise ValueError("a calibration needs pairs of the same person and pairs of different people")
    ours, theirs = int(same.sum()), int((~same).sum())
    target = np.where(same, (ours + 1) / (ours + 2), 1 / (theirs + 2))
    weight = np.where(same, 0.5 / ours, 0.5 / theirs)
    x = np.column_stack((scores.astype(np.float64), np.ones(len(scores))))
    best = np.zeros(2)
    for _ in range(100):
        p = _sigmoid(x @ best)
        gradient = x.T @ (weight * (p - target))
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
        move = np.linalg.solve(curvature, gradient)
        step = 1.0
        while _loss(x @ (best - step * move), target, weight) > _loss(x @ best, target, weight) and step > 1e-6:
            step /= 2
        best = best - step * move
        if np.abs(step * move).max() < 1e-10:
            break
    return float(best[0]), float(best[1])


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * z))


def _loss(z: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    return float(np.sum(weight * (np.logaddexp(0, z) - target * z)))


@dataclass(frozen=True)
class Bin:
    """Pairs of about one probability."""

    predicted: float
    """Their mean probability."""
    observed: float
    """The share of them that is one person."""
    pairs: int


def curve(probability: NDArray[np.float64], same: Flags) -> list[Bin]:
    """The reliability diagram: ten equal parts of 0..1, empty ones left out."""
    part = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        Bin(float(probability[part == i].mean()), float(same[part == i].mean()), int((part == i).sum()))
        for i in range(BINS)
        if (part == i).any()
    ]


def error(probability: NDArray[np.float64], same: Flags) -> float:
    """Expected calibration error: mean distance of `curve` from the diagonal, by pairs (Naeini et al., 2015)."""
    return sum(b.pairs * abs(b.predicted - b.observed) for b in curve(probability, same)) / len(same)
