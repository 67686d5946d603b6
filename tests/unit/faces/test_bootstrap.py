"""Intervals over people: weights against drawing by hand, scikit-learn, and a population whose truth is known."""

import warnings

import numpy as np
import pytest
from sklearn import metrics

from facelib import bootstrap, verification
from facelib.bootstrap import Ends

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, Ends]


def people(seed: int, count: int = 12, levels: int | None = None) -> Pairs:
    """Scores, truth, fold and ends: in each of `count` / 4 folds four people, who differ in how easy they are."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0, 0.7, count)
    a, b = [], []
    for first in range(0, count, 4):
        for i in range(first, first + 4):
            a += [i] * 6
            b += [i] * 6
            others = [j for j in range(first, first + 4) if j != i]
            a += [i] * 6
            b += rng.choice(others, 6).tolist()
    ends = Ends(np.array(a), np.array(b), count)
    same = ends.a == ends.b
    scores = same * 1.5 + ease[ends.a] + ease[ends.b] * same + rng.normal(0, 0.6, len(same))
    if levels:
        scores = np.round(scores * levels) / levels
    return scores, same, ends.a // 4, ends


def by_hand(pairs: Pairs, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a replicate, each repeated as often as the draw says."""
    scores, same, _, ends = pairs
    times = [
        int((drawn == i).sum()) * (1 if i == j else int((drawn == j).sum()))
        for i, j in zip(ends.a, ends.b, strict=True)
    ]
    return np.repeat(scores, times), np.repeat(same, times)


@pytest.mark.parametrize("levels", [None, 2])
def test_weights_say_the_same_as_repeated_pairs(levels: int | None) -> None:
    pairs = people(1, levels=levels)
    ours = bootstrap.replicates(*pairs[:3], pairs[3], 20, seed=3)
    drawn = np.random.default_rng(3).integers(12, size=(20, 12))
    for row, people_drawn in enumerate(drawn):
        scores, same = by_hand(pairs, people_drawn)
        assert ours["auc"][row] == pytest.approx(metrics.roc_auc_score(same, scores))
        assert ours["eer"][row] == pytest.approx(verification.eer(scores, same))
        far, tar, _ = metrics.roc_curve(same, scores, drop_intermediate=False)
        assert ours["tar_at_far_0.1"][row] == pytest.approx(tar[far <= 0.1].max())
    assert set(ours) == {"accuracy", "auc", "eer", "tar_at_far_0.1"}  # 72 different pairs resolve no lower FAR


@pytest.mark.parametrize("levels", [None, 2])
def test_everybody_drawn_once_is_the_number_itself(levels: int | None) -> None:
    scores, same, fold, ends = people(2, levels=levels)
    fold[:7] = 1  # folds of different size
    once = np.ones((1, len(scores)), np.int32)
    order = np.argsort(-scores, kind="stable")
    tar, far = bootstrap._roc(once, bootstrap._steps(scores[order]), same[order])
    summary = verification.summary(scores, same, fold)
    right = verification.right_in_folds(scores, same, fold)
    assert bootstrap._accuracy(once, same, right, fold)[0] == pytest.approx(summary["accuracy"])
    assert bootstrap._auc(tar, far)[0] == pytest.approx(summary["auc"])
    assert bootstrap._eer(tar, far)[0] == pytest.approx(summary["eer"])
    assert bootstrap._tar_at_far(tar, far, 0.1)[0] == pytest.approx(summary["tar_at_far_0.1"])
    whole = bootstrap.auc_replicates(scores, same, ends, 50, 1)
    np.testing.assert_array_equal(whole, bootstrap.replicates(scores, same, fold, ends, 50, 1)["auc"])


def test_memory_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, same, fold, ends = people(3)
    whole = bootstrap.replicates(scores, same, fold, ends, 30, 1)
    monkeypatch.setattr(bootstrap, "CELLS", 7 * len(scores))
    parts = bootstrap.replicates(scores, same, fold, ends, 30, 1)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_intervals_hold_the_truth_over_people_and_not_over_pairs() -> None:
    """Of many samples from one population, how many 95 % intervals hold the number of the whole population?"""
    whole = [verification.summary(*people(seed, 400)[:3]) for seed in range(1000, 1010)]
    names = ("accuracy", "auc", "eer", "tar_at_far_0.1")
    truth = {name: np.mean([numbers[name] for numbers in whole]) for name in names}
    over_people, over_pairs = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    samples = 120
    for seed in range(samples):
        scores, same, fold, ends = people(seed, 24)
        single = np.arange(len(same))  # every pair a person of its own
        for hits, of in ((over_people, ends), (over_pairs, Ends(single, single, len(same)))):
            limits = bootstrap.intervals(bootstrap.replicates(scores, same, fold, of, 200, seed))
            for name in names:
                hits[name] += limits[name][0] <= truth[name] <= limits[name][1]
    assert min(over_people.values()) / samples >= 0.88, over_people
    assert over_pairs["auc"] / samples < 0.85 and over_pairs["accuracy"] / samples < 0.85, over_pairs


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    scores, same, fold, ends = people(5, 40)
    better = scores + 0.15 * same
    ours, theirs = (bootstrap.replicates(s, same, fold, ends, 500, 1) for s in (better, scores))
    low, high = bootstrap.intervals(bootstrap.difference(ours, theirs))["auc"]
    assert 0 < low < verification.auc(better, same) - verification.auc(scores, same) < high
    assert high - low < 0.5 * np.subtract(*bootstrap.intervals(ours)["auc"][::-1])
    assert bootstrap.intervals(bootstrap.difference(ours, ours))["auc"] == (0, 0)


def test_too_few_people_have_no_interval() -> None:
    # Two people: half of the draws are one person twice, with no pair of different people.
    ends = Ends(np.array([0, 1, 0]), np.array([0, 1, 1]), 2)
    values = bootstrap.auc_replicates(np.array([3.0, 2.0, 1.0]), ends.a == ends.b, ends, 200, 1)
    assert np.isnan(values).mean() == pytest.approx(0.5, abs=0.1)
    assert bootstrap.intervals({"auc": values}) == {}
    assert bootstrap.interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


def test_a_draw_without_one_kind_of_pairs_has_no_numbers_and_no_warnings() -> None:
    ends = Ends(np.array([0, 1, 0, 0, 2, 3, 2, 2]), np.array([0, 1, 1, 1, 2, 3, 3, 3]), 4)
    scores = np.array([0.9, 0.7, 0.2, 0.8, 0.6, 0.9, 0.5, 0.1])
    with warnings.catch_warnings(action="error"):
        drawn = bootstrap.replicates(scores, ends.a == ends.b, np.repeat([0, 1], 4), ends, 300, 1)
    nothing = np.isnan(drawn["auc"])
    assert nothing.mean() == pytest.approx(60 / 256, abs=0.07)  # nobody of (0, 1) and (2, 3) beside the other
    for name, found in drawn.items():
        np.testing.assert_array_equal(np.isnan(found), nothing, err_msg=name)


def test_ends_are_numbered_by_identity_and_who_is_in_no_pair_is_not_drawn() -> None:
    ends = Ends.of(["Bo", "Al", "Bo", "Cy", "Ed"], np.array([0, 0, 1]), np.array([2, 1, 4]))
    assert (ends.a.tolist(), ends.b.tolist(), ends.people) == ([1, 1, 0], [1, 0, 2], 3)
    some = ends.of_pairs(np.array([True, False, False]))
    assert (some.b.tolist(), some.people) == ([1], 3)
