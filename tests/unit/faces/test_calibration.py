"""Calibration against scikit-learn and against counting by hand."""

import json

import numpy as np
import pytest
from sklearn import calibration as theirs
from sklearn.linear_model import LogisticRegression

from facelib import calibration, verification
from facelib.calibration import Calibration


def pairs(seed: int, count: int = 400, gap: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of as many same pairs as different ones."""
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    return rng.normal(0.1 + gap * same, 0.15), same


@pytest.mark.parametrize("gap", [0.0, 0.3, 3.0])  # nothing to learn, usual, separable
def test_the_logistic_curve_is_scikit_learns(gap: float) -> None:
    scores, same = pairs(1, gap=gap)
    slope, offset = calibration.fit_logistic(scores, same)
    # Platt's softened targets, as weighted pairs of both labels.
    target = np.where(same, 201 / 202, 1 / 202)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    model.fit(np.tile(scores, 2)[:, None], np.repeat([1, 0], len(scores)), np.concatenate((target, 1 - target)))
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-3, abs=1e-3)
    assert offset == pytest.approx(model.intercept_[0], rel=1e-3, abs=1e-3)


def test_both_kinds_count_alike_however_many_there_are() -> None:
    scores, same = pairs(2)
    more = np.concatenate((scores, np.repeat(scores[~same], 9))), np.concatenate((same, np.zeros(1800, bool)))
    np.testing.assert_allclose(calibration.fit_logistic(*more), calibration.fit_logistic(scores, same), rtol=0.05)


@pytest.mark.parametrize("levels", [None, 10])
def test_a_threshold_keeps_to_its_far_and_is_the_lowest_that_does(levels: int | None) -> None:
    scores, same = pairs(3, 2000)
    if levels:
        scores = np.round(scores * levels) / levels
    for limit in (0.1, 0.01):
        threshold = calibration.threshold_at_far(scores, same, limit)
        accepted = scores >= threshold
        assert accepted[~same].mean() <= limit
        assert accepted[same].mean() == verification.tar_at_far(scores, same, limit)
        next_lower = scores[scores < threshold].max()
        assert (scores[~same] >= next_lower).mean() > limit
    assert calibration.threshold_at_far(scores, same, 0.0001) is None
    assert calibration.threshold_at_far(scores, same, 1.0) == scores.min()


def test_calibrated_probabilities_are_right_on_other_pairs() -> None:
    fitted = Calibration.fit(*pairs(4, 4000))
    scores, same = pairs(5, 40_000)
    probability = fitted.probability(scores)
    assert calibration.error(probability, same) < 0.03
    assert calibration.error(np.clip(scores, 0, 1), same) > 0.1  # a cosine is no probability
    assert np.mean((scores >= fitted.threshold) == same) == pytest.approx(
        verification.best_threshold(scores, same)[1], abs=0.01
    )
    assert fitted.pairs == 4000 and set(fitted.thresholds_at_far) == {"0.1", "0.01", "0.001"}
    assert (scores[~same] >= fitted.thresholds_at_far["0.01"]).mean() == pytest.approx(0.01, abs=0.005)


def test_the_curve_is_scikit_learns() -> None:
    scores, same = pairs(6)
    probability = Calibration.fit(scores, same).probability(scores)
    curve = calibration.curve(probability, same)
    observed, predicted = theirs.calibration_curve(same, probability, n_bins=10)
    np.testing.assert_allclose([b.observed for b in curve], observed)
    np.testing.assert_allclose([b.predicted for b in curve], predicted)
    assert sum(b.pairs for b in curve) == len(same)
    assert calibration.error(same.astype(float), same) == 0


def test_it_comes_back_from_json() -> None:
    fitted = Calibration.fit(*pairs(7))
    assert Calibration.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_one_kind_of_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="same person and pairs of different"):
        calibration.fit_logistic(np.array([1.0, 2.0]), np.array([True, True]))
