"""Face verification in numbers: are two faces the same person, given one score per pair?

Scores are similarities: a pair is accepted when its score is at or above the threshold. FAR (false accept
rate) is the share of different-person pairs accepted, TAR (true accept rate) the share of same-person pairs
accepted. Pairs of equal score are accepted or refused together, everywhere in this file.

Plain numpy: scikit-learn, which the tests compare with, takes four seconds to import.
Confidence intervals of these numbers: facelib/bootstrap.py.

Protocol: Huang et al., "Labeled Faces in the Wild", UMass Amherst TR 07-49, 2007, section 5 (ten folds).
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]

FARS = (0.1, 0.01, 0.001, 0.0001)
"""False accept rates at which TARs are told, as far as the pairs can resolve them."""


def cosine(embeddings: NDArray[np.floating], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores of pairs: the cosine of rows `a` with rows `b` of unit vectors [N, D]."""
    return np.einsum("nd,nd->n", embeddings[a].astype(np.float64), embeddings[b].astype(np.float64))


def roc(scores: Scores, same: Flags) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """FAR, TAR and threshold at every distinct score, from "accept none" (0, 0, inf) to "accept all" (1, 1).

    `scores` and `same` are float and bool vectors of one length. Raises ValueError unless both kinds of pairs
    are there and every score is finite.
    """
    if len(scores) != len(same):
        raise ValueError(f"{len(scores)} scores for {len(same)} pairs")
    if not same.any() or same.all():
        raise ValueError("a ROC needs pairs of the same person and pairs of different people")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a finite number")
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order].astype(np.float64), same[order]
    last_of_equals = np.append(np.diff(falling) != 0, True)
    tar = np.cumsum(hits)[last_of_equals] / hits.sum()
    far = np.cumsum(~hits)[last_of_equals] / (~hits).sum()
    return np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, falling[last_of_equals])


def thinned_roc(scores: Scores, same: Flags, points: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FAR and the highest TAR within it, for a curve over a logarithmic axis: from one false accept to all."""
    far, tar, _ = roc(scores, same)
    grid = np.geomspace(1 / (~same).sum(), 1, points)
    return grid, tar[np.searchsorted(far, grid * (1 + 1e-9), side="right") - 1]


def auc(scores: Scores, same: Flags) -> float:
    """Area under the ROC: the chance that a same pair scores above a different one (ties count half)."""
    far, tar, _ = roc(scores, same)
    return float(np.trapezoid(tar, far))


def eer(scores: Scores, same: Flags) -> float:
    """Equal error rate: where FAR = 1 - TAR on the ROC, straight lines between its points."""
    far, tar, _ = roc(scores, same)
    gap = far + tar - 1  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def tar_at_far(scores: Scores, same: Flags, limit: float) -> float | None:
    """The highest TAR whose FAR is at most `limit`; None where fewer than 1 / limit different pairs are given.

    With fewer pairs one false accept alone is above the limit, and the number would say nothing.
    """
    different = int((~same).sum())
    allowed = int(np.floor(limit * different + 1e-9))  # 0.001 * 1000 must count as 1
    if allowed < 1:
        return None
    far, tar, _ = roc(scores, same)
    return float(tar[np.rint(far * different) <= allowed].max())


def best_threshold(scores: Scores, same: Flags) -> tuple[float, float]:
    """The threshold of highest accuracy and that accuracy; of several, the highest.

    It lies halfway between the lowest score it accepts and the highest it refuses.
    """
    far, tar, thresholds = roc(scores, same)
    right = tar * same.sum() + (1 - far) * (~same).sum()
    best = int(np.argmax(np.rint(right)))
    if best == 0:  # accept none
        return float(np.nextafter(thresholds[1], np.inf)), float(right[0] / len(same))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best]
    return float((thresholds[best] + below) / 2), float(right[best] / len(same))


def right_in_folds(scores: Scores, same: Flags, fold: NDArray[np.integer]) -> Flags:
    """Whether each pair is decided right with the best threshold of all the other folds.

    Raises ValueError with fewer than two folds.
    """
    folds = np.unique(fold)
    if len(folds) < 2:
        raise ValueError(f"cross-validation needs two folds or more, the pairs have {len(folds)}")
    right = np.zeros(len(scores), bool)
    for number in folds:
        held_out = fold == number
        threshold, _ = best_threshold(scores[~held_out], same[~held_out])
        right[held_out] = (scores[held_out] >= threshold) == same[held_out]
    return right


def fold_accuracies(scores: Scores, same: Flags, fold: NDArray[np.integer]) -> NDArray[np.float64]:
    """Accuracy on each fold, in the order of fold number; see `right_in_folds`."""
    right = right_in_folds(scores, same, fold)
    return np.array([right[fold == number].mean() for number in np.unique(fold)])


def unresolved(same: Flags) -> list[float]:
    """The FARS for which there are too few pairs of different people."""
    return [limit for limit in FARS if int((~same).sum()) * limit < 1 - 1e-9]


def summary(scores: Scores, same: Flags, fold: NDArray[np.integer]) -> dict[str, float]:
    """All of the above by name; a TAR@FAR that the number of pairs cannot resolve is left out."""
    accuracies = fold_accuracies(scores, same, fold)
    numbers = {
        "accuracy": float(accuracies.mean()),
        "accuracy_sd": float(accuracies.std(ddof=1)),
        "auc": auc(scores, same),
        "eer": eer(scores, same),
    }
    for limit in FARS:
        tar = tar_at_far(scores, same, limit)
        if tar is not None:
            numbers[f"tar_at_far_{limit:g}"] = tar
    return numbers
