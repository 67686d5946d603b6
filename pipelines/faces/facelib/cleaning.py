"""Which faces are good enough to learn from: rules over measurements, each decision with its number."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facelib.mislabels import misfits


@dataclass(frozen=True)
class Rule:
    """`reason` applies where the size of `measure` is below (or above) the parameter named `limit`."""

    reason: str
    measure: str
    below: bool
    limit: str


RULES = (
    Rule("not_a_face", "probability", True, "min_probability"),
    Rule("too_small", "face_px", True, "min_face_px"),
    Rule("cut_off", "cut_off", False, "max_cut_off"),
    Rule("dark", "brightness", True, "min_brightness"),
    Rule("bright", "brightness", False, "max_brightness"),
    Rule("flat", "contrast", True, "min_contrast"),
    Rule("blurry", "sharpness", True, "min_sharpness"),
    Rule("extreme_pose", "yaw", False, "max_yaw"),
    Rule("extreme_pose", "pitch", False, "max_pitch"),
)
"""In this order: the first that applies is the reason."""


@dataclass(frozen=True)
class Decision:
    """Why a face is dropped; the numbers are None where the reason has none."""

    reason: str
    measured: float | None = None
    threshold: float | None = None


Face = Mapping[str, Any]
Decisions = dict[int, Decision]
"""Dropped faces by row."""
Misfits = dict[int, float]
"""How badly faces fit their names, by row; those that could be measured."""


def decide(faces: Sequence[Face], limits: Mapping[str, float]) -> tuple[Decisions, Misfits]:
    """All rules over all faces, sorted by key; `limits` holds the parameters of the stage by name.

    First each face alone, then duplicates among what is left, then labels that do not fit (duplicates would vouch for
    each other), then identities with too few faces left.
    """
    dropped = {row: decision for row, face in enumerate(faces) if (decision := judge(face, limits))}
    dropped |= duplicates(faces, _left(faces, dropped), int(limits["max_duplicate_bits"]))
    misfit = measure_misfits(faces, _left(faces, dropped), int(limits["min_faces_to_compare"]))
    most = limits["max_misfit"]
    dropped |= {row: Decision("mislabelled", value, most) for row, value in misfit.items() if value > most}
    return dropped | singles(faces, dropped, int(limits["min_faces"])), misfit


def _left(faces: Sequence[Face], dropped: Decisions) -> list[int]:
    return [row for row in range(len(faces)) if row not in dropped]


def measure_misfits(faces: Sequence[Face], rows: Sequence[int], least: int) -> Misfits:
    """`mislabels.misfits` of the faces in `rows`, of names with at least `least` of them."""
    if not rows:
        return {}
    textures = np.stack([np.frombuffer(faces[row]["texture"], np.uint8) for row in rows])
    values = misfits(textures, [faces[row]["identity"] for row in rows], least)
    return {row: float(value) for row, value in zip(rows, values, strict=True) if not np.isnan(value)}


def judge(face: Face, limits: Mapping[str, float]) -> Decision | None:
    """The first rule that speaks against one face, None where none does."""
    if face["identity"] is None:
        return Decision("unlabelled")
    for rule in RULES:
        measured, threshold = abs(face[rule.measure]), limits[rule.limit]
        if measured < threshold if rule.below else measured > threshold:
            return Decision(rule.reason, measured, threshold)
    return None


def duplicates(faces: Sequence[Face], rows: Sequence[int], most: int) -> Decisions:
    """Faces whose fingerprints differ by at most `most` bits from another's.

    Of one identity's, the first by key stays. Under two identities a label is wrong and nobody knows which:
    all go.
    """
    if not rows:
        return {}
    fingerprints = np.stack([np.frombuffer(faces[row]["fingerprint"], np.uint64) for row in rows])
    owner = np.unique([faces[row]["identity"] for row in rows], return_inverse=True)[1]
    found: Decisions = {}
    own = []  # as arrays: ten thousand copies of one photograph are fifty million pairs
    for pairs in near_pairs(fingerprints, most):
        alike = owner[pairs[:, 0]] == owner[pairs[:, 1]]
        own.append(pairs[alike])
        clashes = pairs[~alike]
        met, first = np.unique(clashes[:, :2], return_index=True)
        for face, pair in zip(met.tolist(), (first // 2).tolist(), strict=True):
            found.setdefault(face, Decision("duplicate_identity", int(clashes[pair, 2]), most))
    pairs = np.concatenate(own)
    for group in np.split(pairs, np.flatnonzero(np.diff(pairs[:, 0])) + 1):
        if len(group) and int(group[0, 0]) not in found:
            for _, copy, bits in group.tolist():
                found.setdefault(copy, Decision("duplicate", bits, most))
    return {rows[face]: decision for face, decision in found.items()}


def near_pairs(fingerprints: NDArray[np.uint64], most: int, at_once: int = 1 << 22) -> Iterator[NDArray[np.int32]]:
    """All a < b whose fingerprints, [N, words], differ by at most `most` bits: rows of a, b and the number of bits.

    Sorted by a and b, in parts. Every pair is compared, `at_once` of them (ten bytes each): seconds for ten thousand
    faces, a minute or two for a hundred thousand.
    """
    block = max(1, at_once // max(1, len(fingerprints)))
    for start in range(0, len(fingerprints), block):
        rows = fingerprints[start : start + block]
        bits = np.zeros((len(rows), len(fingerprints) - start), np.uint16)
        for word in range(fingerprints.shape[1]):
            bits += np.bitwise_count(rows[:, word, None] ^ fingerprints[None, start:, word])
        a, b = np.nonzero(bits <= most)
        a, b = a[a < b], b[a < b]
        yield np.stack([start + a, start + b, bits[a, b]], axis=1).astype(np.int32)


def singles(faces: Sequence[Face], dropped: Decisions, least: int) -> Decisions:
    """The faces left to identities that have fewer than `least` left."""
    left = Counter(face["identity"] for row, face in enumerate(faces) if row not in dropped)
    return {
        row: Decision("single", left[face["identity"]], least)
        for row, face in enumerate(faces)
        if row not in dropped and left[face["identity"]] < least
    }
