"""Verification maths against counting by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from facelib import verification


def random_pairs(seed: int, count: int = 200, levels: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and fold; with `levels`, scores are rounded so that many are equal."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    scores = rng.normal(same * 1.0, 1.0)
    if levels:
        scores = np.round(scores * levels) / levels
    return scores, same, np.arange(count) % 10


def accept_rates(scores: np.ndarray, same: np.ndarray, threshold: float) -> tuple[float, float]:
    """FAR and TAR at a threshold, by counting."""
    accepted = [score >= threshold for score in scores]
    false = sum(a and not s for a, s in zip(accepted, same, strict=True))
    true = sum(a and s for a, s in zip(accepted, same, strict=True))
    return false / (~same).sum(), true / same.sum()


@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("seed", range(5))
def test_roc_equals_counting_and_scikit_learn(seed: int, levels: int | None) -> None:
    scores, same, _ = random_pairs(seed, levels=levels)
    far, tar, thresholds = verification.roc(scores, same)
    for point in zip(far, tar, thresholds, strict=True):
        assert point[:2] == pytest.approx(accept_rates(scores, same, point[2]))
    for ours, theirs in zip(
        (far, tar, thresholds), metrics.roc_curve(same, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(ours, theirs)
    assert verification.auc(scores, same) == pytest.approx(metrics.roc_auc_score(same, scores))


@pytest.mark.parametrize("levels", [None, 2])
def test_auc_is_the_chance_that_a_same_pair_scores_higher(levels: int | None) -> None:
    scores, same, _ = random_pairs(3, levels=levels)
    wins = [(a > b) + 0.5 * (a == b) for a in scores[same] for b in scores[~same]]
    assert verification.auc(scores, same) == pytest.approx(np.mean(wins))


def test_eer_lies_on_the_roc_where_both_errors_are_equal() -> None:
    scores, same, _ = random_pairs(4, 2000)
    rate = verification.eer(scores, same)
    far, tar, _ = verification.roc(scores, same)
    assert np.interp(rate, far, tar) == pytest.approx(1 - rate, abs=2e-3)
    # One of two different pairs beats one of two same pairs: the errors meet at one half.
    assert verification.eer(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "same", "auc", "eer", "accuracy"),
    [
        ([3.0, 4.0, 1.0, 2.0], [True, True, False, False], 1.0, 0.0, 1.0),  # perfect
        ([1.0, 2.0, 3.0, 4.0], [True, True, False, False], 0.0, 1.0, 0.5),  # upside down
        ([1.0, 1.0, 1.0, 1.0], [True, True, False, False], 0.5, 0.5, 0.5),  # says nothing
    ],
)
def test_extremes(scores: list[float], same: list[bool], auc: float, eer: float, accuracy: float) -> None:
    pairs = np.array(scores), np.array(same)
    assert verification.auc(*pairs) == auc
    assert verification.eer(*pairs) == eer
    assert verification.best_threshold(*pairs)[1] == accuracy


@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_the_best_of_all(seed: int, levels: int | None) -> None:
    scores, same, _ = random_pairs(seed, 60, levels)
    threshold, accuracy = verification.best_threshold(scores, same)
    assert np.mean((scores >= threshold) == same) == accuracy
    everywhere = [*scores, scores.max() + 1]
    assert accuracy == max(np.mean((scores >= candidate) == same) for candidate in everywhere)


def test_best_threshold_lies_between_the_scores_it_divides() -> None:
    threshold, _ = verification.best_threshold(np.array([0.2, 0.4, 0.8, 0.9]), np.array([False, False, True, True]))
    assert threshold == pytest.approx(0.6)


def test_fold_accuracy_never_looks_at_its_own_fold() -> None:
    scores, same, fold = random_pairs(1)
    accuracies = verification.fold_accuracies(scores, same, fold)
    expected = []
    for number in range(10):
        rest = fold != number
        best = max(sorted(set(scores[rest]), reverse=True), key=lambda t: np.sum((scores[rest] >= t) == same[rest]))
        lower = max(score for score in scores[rest] if score < best)
        held_out = ~rest
        expected.append(np.mean((scores[held_out] >= (best + lower) / 2) == same[held_out]))
    np.testing.assert_allclose(accuracies, expected)
    # A fold whose scores are all shifted cannot move its own threshold: it is measured with the others'.
    shifted = np.where(fold == 0, scores + 100, scores)
    assert verification.fold_accuracies(shifted, same, fold)[0] == pytest.approx(same[fold == 0].mean())


@pytest.mark.parametrize("levels", [None, 4])
def test_tar_at_far_is_the_best_within_the_limit(levels: int | None) -> None:
    scores, same, _ = random_pairs(2, 1000, levels)
    for limit in (0.1, 0.01):
        rates = [accept_rates(scores, same, threshold) for threshold in [*set(scores), np.inf]]
        expected = max(tar for far, tar in rates if far <= limit)
        assert verification.tar_at_far(scores, same, limit) == pytest.approx(expected)


def test_a_far_that_the_pairs_cannot_resolve_has_no_tar() -> None:
    rng = np.random.default_rng(0)
    same = np.arange(2000) < 1000
    scores = rng.normal(same * 3.0, 1.0)
    assert verification.tar_at_far(scores, same, 0.001) is not None  # 1000 different pairs: one may be accepted
    assert verification.tar_at_far(scores[1:-1], same[1:-1], 0.001) is None
    summary = verification.summary(scores, same, np.arange(2000) % 10)
    assert "tar_at_far_0.001" in summary
    assert "tar_at_far_0.0001" not in summary


def test_unusable_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="same person and pairs of different"):
        verification.roc(np.array([1.0, 2.0]), np.array([True, True]))
    with pytest.raises(ValueError, match="2 scores for 3 pairs"):
        verification.roc(np.array([1.0, 2.0]), np.array([True, True, False]))
    with pytest.raises(ValueError, match="not a finite"):
        verification.roc(np.array([1.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="two folds or more, the pairs have 1"):
        verification.fold_accuracies(np.array([1.0, 2.0]), np.array([True, False]), np.array([3, 3]))
