"""How good the network is on people it does not learn from, once an epoch: what snapshots are chosen by."""

import numpy as np

from facelib import verification
from facelib.calibration import fit_logistic
from facelib.embedder import Embedder, embed
from facelib.faces import Faces, Pairs
from facelib.verification import Flags, Scores


def validate(embedder: Embedder, faces: Faces, pairs: Pairs, batch: int) -> dict[str, float]:
    """Verification of the validation pairs: auc, accuracy (one threshold for all), loss, TAR@FAR where resolvable."""
    scores = verification.cosine(embed(embedder, faces.pixels, batch), pairs.a, pairs.b)
    if not np.isfinite(scores).all():
        raise SystemExit("train: the network gives numbers that are not finite; lower train.learning_rate")
    numbers = {
        "auc": verification.auc(scores, pairs.same),
        "accuracy": verification.best_threshold(scores, pairs.same)[1],
        "loss": logistic_loss(scores, pairs.same),
    }
    for limit in (0.1, 0.01):
        tar = verification.tar_at_far(scores, pairs.same, limit)
        if tar is not None:
            numbers[f"tar_at_far_{limit:g}"] = tar
    return numbers


def logistic_loss(scores: Scores, same: Flags) -> float:
    """Mean cross-entropy (nats) of "same person?", both answers weighing alike, with the likeliest logistic of the score.

    ln 2 where the scores say nothing, near 0 where they say all.
    """
    slope, offset = fit_logistic(scores, same)
    wrong = np.logaddexp(0, np.where(same, -1, 1) * (slope * scores + offset))
    return float((wrong[same].mean() + wrong[~same].mean()) / 2)


def value(checked: dict[str, float], snapshot: str) -> float:
    """What `validate` gave as the number that snapshots are compared by, higher is better.

    :param snapshot: as in train.snapshot, but `last`.
    Raises SystemExit where there are too few pairs for it.
    """
    if snapshot not in checked:
        raise SystemExit(
            f"train: too few validation pairs for snapshot {snapshot!r}; set train.snapshot to auc or add people"
        )
    return -checked[snapshot] if snapshot == "loss" else checked[snapshot]
