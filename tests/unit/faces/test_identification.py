"""Identification against counting by hand."""

import numpy as np
import pytest

from facelib import bootstrap, identification


def faces(seed: int, photos: tuple[int, ...], noise: float) -> tuple[np.ndarray, list[str]]:
    """Unit vectors of people with so many photographs each, in mixed order."""
    rng = np.random.default_rng(seed)
    names = [f"p{i:02}" for i, count in enumerate(photos) for _ in range(count)]
    centres = {name: rng.normal(size=8) for name in sorted(set(names))}
    rng.shuffle(names)
    vectors = np.stack([centres[name] + noise * rng.normal(size=8) for name in names])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), names


def test_ranks_equal_sorting_by_hand() -> None:
    vectors, names = faces(1, (3, 2, 5, 1, 4), 1.0)
    rank, person, gallery = identification.ranks(vectors, names)
    assert gallery == 4  # who has one photograph cannot be both enrolled and sought
    expected = []
    several = [name for name in sorted(set(names)) if names.count(name) > 1]
    for turn in range(5):
        enrolled = {}
        for name in several:
            photographs = [i for i, owner in enumerate(names) if owner == name]
            enrolled[name] = photographs[turn % len(photographs)]
        for i, name in enumerate(names):
            if name in several and i not in enrolled.values():
                by_similarity = sorted(several, key=lambda other: -float(vectors[i] @ vectors[enrolled[other]]))
                expected.append((name, by_similarity.index(name) + 1))
    assert sorted(zip([f"p{i:02}" for i in person], rank.tolist(), strict=True)) == sorted(expected)
    assert identification.rate(rank, 4) == 1
    assert identification.rate(rank, 1) == pytest.approx(np.mean([r == 1 for _, r in expected]))


def test_equals_are_no_hit() -> None:
    rank, _, gallery = identification.ranks(np.ones((6, 2)) / np.sqrt(2), ["a", "a", "b", "b", "c", "c"])
    assert gallery == 3
    assert set(rank.tolist()) == {3}


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, names = faces(2, (6, 6, 6, 6), 1.0)
    whole, _, _ = identification.ranks(vectors, names)
    monkeypatch.setattr(identification, "BLOCK", 3)
    np.testing.assert_array_equal(identification.ranks(vectors, names)[0], whole)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "a", "b"]])
def test_nobody_to_identify(names: list[str]) -> None:
    rank, person, _ = identification.ranks(np.eye(3), names)
    assert len(rank) == len(person) == 0


def test_the_interval_draws_people() -> None:
    rank = np.array([1] * 90 + [9] * 10)
    person = np.array([0] * 50 + [1] * 40 + [2] * 10)  # one person is never found
    drawn = identification.rate_replicates(rank, person, 1, 2000, 1)
    assert np.mean(drawn == 0) == pytest.approx(1 / 27, abs=0.02)  # drawn three times over
    assert bootstrap.interval(drawn)[1] == 1  # type: ignore[index]
