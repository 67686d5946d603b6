"""Faces that look more like someone else than like the others of their own name: probably a wrong label.

No network is needed: the textures that align measured are whitened over the whole set, where unlike raw ones they
tell people apart well enough for a mean over several faces. The number that is decided on is robust: how far a
face lies from the middle of the set, in deviations of the set itself, so that one limit serves small sets and large.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 128
"""Of the whitened space, or a quarter of the number of faces where that is less."""
MOST_FACES = 8192
"""From so many at most, evenly chosen, the space is learned."""
BLOCK = 1024
"""Faces compared with all people at a time; bounds memory."""


def misfits(textures: NDArray[np.uint8], identities: Sequence[str], least: int) -> NDArray[np.float64]:
    """How badly each of the faces [N, D] fits its name, rounded to 0.01; nan for names with fewer than `least` faces.

    d = cosine to the nearest other person's mean - cosine to the mean of the name's other faces; the result is
    (d - median) / (1.4826 * median absolute deviation), about a standard deviation where d is normal.
    """
    _, owner, counts = np.unique(identities, return_inverse=True, return_counts=True)
    result = np.full(len(textures), np.nan)
    if (counts >= least).sum() < 2:
        return result
    nearer = _nearer(_whitened(textures), owner, counts >= least)
    judged = (counts >= least)[owner]
    middle = np.median(nearer[judged])
    spread = 1.4826 * np.median(np.abs(nearer[judged] - middle))
    if spread > 1e-6:
        result[judged] = ((nearer[judged] - middle) / spread).round(2)
    return result


def _whitened(textures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The faces in the space of the set's main directions, all made equally strong; rows of unit length.

    Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, algorithm 4.4, with a fixed start.
    """
    sample = _scaled(textures[:: -(-len(textures) // MOST_FACES)])
    mean = sample.mean(0)
    sample -= mean
    size = max(1, min(COMPONENTS, len(textures) // 4))
    basis = np.random.default_rng(0).standard_normal((sample.shape[1], size + 16), np.float32)
    for _ in range(4):
        basis, _ = np.linalg.qr(sample.T @ (sample @ basis))
    _, strength, directions = np.linalg.svd(sample @ basis, full_matrices=False)
    strength = np.maximum(strength[:size], 1e-6 * max(float(strength[0]), 1e-6))
    to_space = (basis @ directions[:size].T) / strength
    faces = [(_scaled(textures[at : at + BLOCK]) - mean) @ to_space for at in range(0, len(textures), BLOCK)]
    return _unit(np.concatenate(faces))


def _scaled(textures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Root of the counts: makes their distance Hellinger's."""
    return np.sqrt(textures.astype(np.float32))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)


def _nearer(faces: NDArray[np.float32], owner: NDArray[np.int64], counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cosine of each face to the nearest other person that `counts`, less that to the others of its own name."""
    sums = np.zeros((len(counts), faces.shape[1]), np.float32)
    np.add.at(sums, owner, faces)
    people = np.where(counts[:, None], _unit(sums), 0)
    own = (faces * _unit(sums[owner] - faces)).sum(1)
    best = np.empty(len(faces))
    for at in range(0, len(faces), BLOCK):
        likeness = faces[at : at + BLOCK] @ people.T
        likeness[:, ~counts] = -1
        likeness[np.arange(len(likeness)), owner[at : at + BLOCK]] = -1
        best[at : at + BLOCK] = likeness.max(1)
    return best - own
