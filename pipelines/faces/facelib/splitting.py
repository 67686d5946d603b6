"""Who is trained on and who is tested with, and which pairs of faces are verified."""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

SUBSETS = ("train", "val", "test")
FOLDS = 10

Faces = Mapping[str, Sequence[str]]
"""The keys of each identity's faces."""


def number(seed: int, identity: str) -> float:
    """0 <= number < 1, the same for ever for the same seed and name."""
    digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def subset(identity: str, seed: int, val_share: float, test_share: float) -> str:
    """The subset of an identity. It depends on nobody else, so nobody moves when people are added."""
    place = number(seed, identity)
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


@dataclass(frozen=True)
class Pair:
    """Two faces to compare; key_a < key_b."""

    fold: int
    key_a: str
    key_b: str
    same: bool


def pairs(faces: Faces, seed: int, per_fold: int) -> Iterator[Pair]:
    """Verification pairs, people drawn first (Huang et al., "Labeled Faces in the Wild", 2007, section 4).

    Each fold gets `per_fold` pairs of one person and as many of two, or as many of either as it has.
    Identities are dealt to ten folds, so that no person is in two; a fold needs two people, so fewer than
    twenty people make fewer folds: half as many as people.
    """
    identities = sorted(faces, key=lambda identity: (number(seed, identity), identity))
    folds = min(FOLDS, len(identities) // 2)
    for fold in range(folds):
        members = {identity: sorted(faces[identity]) for identity in identities[fold::folds]}
        rng = random.Random(f"{seed}/{fold}")
        same, different = _same(members, rng, per_fold), _different(members, rng, per_fold)
        count = min(len(same), len(different))
        for flag, drawn in ((True, same), (False, different)):
            yield from (Pair(fold, a, b, flag) for a, b in sorted(drawn[:count]))


def _same(members: Faces, rng: random.Random, count: int) -> list[tuple[str, str]]:
    several = [identity for identity, keys in members.items() if len(keys) > 1]
    total = sum(comb(len(members[identity]), 2) for identity in several)
    if total <= count:
        everything = [pair for identity in several for pair in combinations(members[identity], 2)]
        return rng.sample(everything, total)
    return _draw(lambda: rng.sample(members[rng.choice(several)], 2), count)


def _different(members: Faces, rng: random.Random, count: int) -> list[tuple[str, str]]:
    people = list(members)
    two = list(combinations(people, 2)) if len(people) < 50 else []
    total = sum(len(members[p]) * len(members[q]) for p, q in two) if two else count + 1
    if total <= count:
        return rng.sample([(a, b) for p, q in two for a in members[p] for b in members[q]], total)
    return _draw(lambda: [rng.choice(members[identity]) for identity in rng.sample(people, 2)], count)


def _draw(propose: Callable[[], Sequence[str]], count: int) -> list[tuple[str, str]]:
    """`count` distinct pairs, in the order of drawing; a few less where the last ones hardly ever come up."""
    drawn: dict[tuple[str, str], None] = {}
    for _ in range(100 * count):
        a, b = sorted(propose())
        drawn[a, b] = None
        if len(drawn) == count:
            break
    return list(drawn)
