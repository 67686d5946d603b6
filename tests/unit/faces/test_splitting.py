"""Nobody is in two subsets or two folds, and nobody moves because others arrive."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import splitting


def people(count: int, photographs: int = 6) -> dict[str, list[str]]:
    return {f"P{n}": [f"d/P{n}/{k}.jpg" for k in range(photographs)] for n in range(count)}


def test_shares_are_met_on_average_and_differ_by_seed() -> None:
    subsets = [splitting.subset(f"P{n}", 1, 0.15, 0.25) for n in range(10_000)]
    shares = {name: count / 10_000 for name, count in Counter(subsets).items()}
    assert shares == pytest.approx({"train": 0.6, "val": 0.15, "test": 0.25}, abs=0.02)
    assert subsets != [splitting.subset(f"P{n}", 2, 0.15, 0.25) for n in range(10_000)]


def test_a_place_is_for_ever() -> None:
    """Written down: a change would move people between train and test from one release to the next."""
    places = {"Ann": "train", "Bob": "train", "Zoë": "test", "P3": "val"}
    assert {name: splitting.subset(name, 1, 0.15, 0.25) for name in places} == places


def test_more_test_people_take_nobody_out_of_test() -> None:
    for n in range(500):
        if splitting.subset(f"P{n}", 1, 0.15, 0.25) == "test":
            assert splitting.subset(f"P{n}", 1, 0.15, 0.4) == "test"


def test_pairs_are_balanced_distinct_and_right() -> None:
    faces = people(40)
    owner = {key: person for person, keys in faces.items() for key in keys}
    pairs = list(splitting.pairs(faces, 1, 30))
    assert len(pairs) == 10 * 2 * 30
    assert len({(pair.key_a, pair.key_b) for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert pair.key_a < pair.key_b
        assert pair.same == (owner[pair.key_a] == owner[pair.key_b])
    for fold in range(10):
        assert Counter(pair.same for pair in pairs if pair.fold == fold) == {True: 30, False: 30}


def test_folds_share_no_person() -> None:
    faces = people(25)
    owner = {key: person for person, keys in faces.items() for key in keys}
    fold_of: dict[str, int] = {}
    for pair in splitting.pairs(faces, 1, 20):
        for key in (pair.key_a, pair.key_b):
            assert fold_of.setdefault(owner[key], pair.fold) == pair.fold
    assert set(fold_of.values()) == set(range(10))


@pytest.mark.parametrize(("identities", "folds"), [(0, 0), (1, 0), (2, 1), (5, 2), (19, 9), (20, 10), (300, 10)])
def test_few_people_make_fewer_folds(identities: int, folds: int) -> None:
    assert len({pair.fold for pair in splitting.pairs(people(identities), 1, 5)}) == folds


def test_a_fold_gives_what_it_has_and_stays_balanced() -> None:
    faces = {"A": ["a1", "a2"], "B": ["b1", "b2", "b3"], "C": ["c1"], "D": ["d1", "d2"]}
    pairs = list(splitting.pairs(faces, 1, 300))
    counts = Counter((pair.fold, pair.same) for pair in pairs)
    assert all(counts[fold, True] == counts[fold, False] > 0 for fold in (0, 1))


def test_the_order_of_rows_does_not_matter() -> None:
    faces = people(30)
    shuffled = {person: faces[person][::-1] for person in reversed(faces)}
    assert list(splitting.pairs(faces, 1, 20)) == list(splitting.pairs(shuffled, 1, 20))
    assert list(splitting.pairs(faces, 1, 20)) != list(splitting.pairs(faces, 2, 20))


def test_many_photographs_of_one_person_do_not_fill_the_pairs() -> None:
    faces = people(20, 4) | {"Star": [f"d/Star/{k}.jpg" for k in range(500)]}
    same = [pair for pair in splitting.pairs(faces, 1, 10) if pair.same and pair.key_a.startswith("d/Star")]
    assert 0 < len(same) < 10
