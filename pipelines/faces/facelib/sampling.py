"""Which faces form which batch: a pure function of seed and epoch, so that a resumed training meets the same ones."""

import math

import torch
from torch import Tensor


def generator(*numbers: int) -> torch.Generator:
    """A generator on the CPU that depends on these numbers (0 or more, below 2**32) and nothing else."""
    mixed = 0
    for number in numbers:
        # Knuth's 64-bit linear congruential step: neighbouring steps and seeds give unlike states.
        mixed = ((mixed ^ number) * 6364136223846793005 + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)


def batches(labels: Tensor, batch: int, faces_per_person: int, seed: int, epoch: int) -> list[Tensor]:
    """The rows of each batch of an epoch; about as many faces in all as there are.

    :param labels: int64 [N], the person of each face, 0 to P - 1.
    :param faces_per_person: 0: each face once, in random order; else batches of people with so many faces each.
    """
    count = math.ceil(len(labels) / batch)
    random = generator(seed, epoch)
    if not faces_per_person:
        # Equal parts: no small rest, whose BatchNorm would say little.
        return list(torch.randperm(len(labels), generator=random).tensor_split(count))
    return _balanced(labels, batch, faces_per_person, count, random)


def _balanced(labels: Tensor, batch: int, faces: int, count: int, random: torch.Generator) -> list[Tensor]:
    """`count` batches: every person as often as every other, and in turn all faces of each.

    With too few people for a batch each of them gives more faces; who has fewer gives some twice. A batch has two
    people at least, however small it is: one alone is unlike nobody.
    """
    owned = [rows.tolist() for rows in torch.argsort(labels, stable=True).split(torch.bincount(labels).tolist())]
    people = min(max(2, batch // faces), len(owned))
    faces = batch // people
    waiting: list[int] = []
    hands: list[list[int]] = [[] for _ in owned]
    result = []
    for _ in range(count):
        drawn, waiting = _deal(waiting, list(range(len(owned))), people, random)
        rows: list[int] = []
        for person in drawn:
            given, hands[person] = _deal(hands[person], owned[person], faces, random)
            rows += given
        result.append(torch.tensor(rows))
    return result


def _deal(deck: list[int], cards: list[int], count: int, random: torch.Generator) -> tuple[list[int], list[int]]:
    """`count` cards off the deck, and the rest; shuffled cards go below it where it is short.

    Those still in the deck come last among them, so that nothing is dealt twice at once while `cards` last.
    """
    while len(deck) < count:
        shuffled = [cards[i] for i in torch.randperm(len(cards), generator=random).tolist()]
        deck = deck + sorted(shuffled, key=set(deck).__contains__)
    return deck[:count], deck[count:]
