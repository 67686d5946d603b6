"""Who is it? Closed-set identification: a probe against a gallery that holds one photograph of each person.

Protocol: people with two photographs or more. In round r the gallery is everybody's r-th photograph (again from
the first where somebody has fewer) and all their others are probes, so that no number hangs on which photograph
was enrolled. A probe's rank is the place of its own person's photograph by falling similarity, the last place
among equals. The rank-k rate is the share of probes whose rank is k or less: one point of the cumulative match
characteristic (Grother and Phillips, "Models of large population recognition performance", CVPR 2004).
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
"""Most rounds: more change the rate little."""
BLOCK = 4096
"""Probes compared at a time."""


def ranks(embeddings: NDArray[np.floating], identities: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rank (from 1) and person (number from 0, by name) of every probe of every round, and the gallery's size.

    `embeddings` [N, D] are of unit length, in the order of `identities`. Without two people who have two
    photographs there is nothing to identify: no probes.
    """
    names, person = np.unique(np.array(identities), return_inverse=True)
    rows = [np.flatnonzero(person == number) for number in range(len(names))]
    members = [number for number in range(len(names)) if len(rows[number]) > 1]
    if len(members) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), len(members)
    vectors = embeddings.astype(np.float64)
    everybody = np.concatenate([rows[number] for number in members])
    column = {number: index for index, number in enumerate(members)}
    found, who = [], []
    for turn in range(min(ROUNDS, max(len(rows[number]) for number in members))):
        gallery = np.array([rows[number][turn % len(rows[number])] for number in members])
        probes = np.setdiff1d(everybody, gallery)
        for start in range(0, len(probes), BLOCK):
            block = probes[start : start + BLOCK]
            # Rounded, so that equals stay equal whatever order a matrix product adds in.
            similar = np.round(vectors[block] @ vectors[gallery].T, 9)
            own = similar[np.arange(len(block)), [column[number] for number in person[block]]]
            found.append((similar >= own[:, None]).sum(1))
            who.append(person[block])
    return np.concatenate(found), np.concatenate(who), len(members)


def rate(rank: NDArray[np.int64], k: int) -> float:
    """The share of probes found among the first `k`."""
    return float(np.mean(rank <= k))


def rate_replicates(
    rank: NDArray[np.int64], person: NDArray[np.int64], k: int, count: int, seed: int
) -> NDArray[np.float64]:
    """`rate` of `count` draws of people with replacement, the gallery as it is: for bootstrap.interval."""
    numbers, place = np.unique(person, return_inverse=True)
    hits, probes = np.bincount(place, rank <= k), np.bincount(place)
    drawn = np.random.default_rng(seed).integers(len(numbers), size=(count, len(numbers)))
    return hits[drawn].sum(1) / probes[drawn].sum(1)
