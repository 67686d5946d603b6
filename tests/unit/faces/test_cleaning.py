"""What is dropped, for which reason, with which numbers."""

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import sections
from facelib.cleaning import RULES, Decision, Decisions, near_pairs
from facelib.cleaning import decide as decide_and_measure
from facelib.measures import TEXTURE_BYTES
from facelib.mislabels import misfits
from params.clean import Params

LIMITS = Params().model_dump()
GOOD = {
    "probability": 1.0,
    "face_px": 100.0,
    "cut_off": 0.0,
    "brightness": 120.0,
    "contrast": 40.0,
    "sharpness": 0.5,
    "yaw": 0.0,
    "pitch": 0.0,
}


def face(number: int, identity: str | None = "Ann", **measured: Any) -> dict[str, Any]:
    """A good face; its fingerprint is far from all other numbers'."""
    fingerprint = np.random.default_rng(number).bytes(32)
    texture = np.random.default_rng(number).integers(0, 9, TEXTURE_BYTES, np.uint8).tobytes()
    known = {"key": f"{number:03}", "identity": identity, "fingerprint": fingerprint, "texture": texture}
    return known | GOOD | measured


def decide(faces: list[dict[str, Any]], limits: dict[str, float]) -> Decisions:
    return decide_and_measure(faces, limits)[0]


def reasons(*faces: dict[str, Any], **limits: float) -> list[str]:
    dropped = decide(faces, LIMITS | limits)
    return [dropped[row].reason if row in dropped else "" for row in range(len(faces))]


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        ({"probability": 0.5}, "not_a_face"),
        ({"face_px": 10.0}, "too_small"),
        ({"cut_off": 0.6}, "cut_off"),
        ({"brightness": 5.0}, "dark"),
        ({"brightness": 250.0}, "bright"),
        ({"contrast": 1.0}, "flat"),
        ({"sharpness": 0.01}, "blurry"),
        ({"yaw": -80.0}, "extreme_pose"),
        ({"pitch": 80.0}, "extreme_pose"),
        ({"identity": None}, "unlabelled"),
        ({"probability": 0.5, "sharpness": 0.01}, "not_a_face"),  # the first rule that applies
    ],
)
def test_each_rule(measured: dict[str, Any], reason: str) -> None:
    assert reasons(face(1), face(2), face(3, **measured)) == ["", "", reason]


def test_a_decision_has_the_measured_number_and_the_threshold() -> None:
    dropped = decide([face(1), face(2), face(3, yaw=-80.0)], LIMITS)
    assert dropped == {2: Decision("extreme_pose", 80.0, LIMITS["max_yaw"])}


def test_a_face_at_the_threshold_is_kept() -> None:
    assert reasons(face(1), face(2, sharpness=LIMITS["min_sharpness"], yaw=LIMITS["max_yaw"])) == ["", ""]


def test_every_threshold_is_a_parameter_of_the_stage() -> None:
    others = {"max_duplicate_bits", "min_faces", "max_misfit", "min_faces_to_compare"}
    assert {rule.limit for rule in RULES} | others == set(LIMITS)


def flipped(fingerprint: bytes, bits: int) -> bytes:
    mask = np.packbits(np.arange(256) < bits).tobytes()
    return bytes(a ^ b for a, b in zip(fingerprint, mask, strict=True))


def test_of_near_duplicates_the_first_stays() -> None:
    near, far = (face(2, fingerprint=flipped(face(1)["fingerprint"], bits)) for bits in (20, 21))
    assert decide([face(1), near, face(4)], LIMITS) == {1: Decision("duplicate", 20, 20)}
    assert reasons(face(1), far, face(4)) == ["", "", ""]
    assert reasons(face(1), far, face(4), max_duplicate_bits=21) == ["", "duplicate", ""]


def test_one_photograph_under_two_names_drops_both() -> None:
    faces = [
        face(1),
        face(2),
        face(3),
        face(4, "Bob", fingerprint=face(1)["fingerprint"]),
        face(5, "Bob"),
        face(6, "Bob"),
    ]
    assert reasons(*faces) == ["duplicate_identity", "", "", "duplicate_identity", "", ""]


def test_a_bad_copy_does_not_drop_the_good_one() -> None:
    faces = [face(1, sharpness=0.0), face(2, fingerprint=face(1)["fingerprint"]), face(3)]
    assert reasons(*faces) == ["blurry", "", ""]


def test_who_is_left_alone_is_single() -> None:
    faces = [face(1), face(2, fingerprint=face(1)["fingerprint"]), face(3, "Bob"), face(4, "Bob")]
    assert reasons(*faces) == ["single", "duplicate", "", ""]
    assert reasons(*faces, min_faces=1) == ["", "duplicate", "", ""]


def test_no_two_kept_faces_are_near_duplicates_whoever_they_show() -> None:
    """So none can lie in two subsets, however split divides the people."""
    rng = np.random.default_rng(3)
    faces = []
    for number in range(120):
        fingerprint, identity = face(number)["fingerprint"], f"P{rng.integers(12)}"
        if faces and rng.random() < 0.4:  # chains of copies: near the source, perhaps far from the source's source
            source = faces[rng.integers(len(faces))]
            fingerprint = flipped(source["fingerprint"], int(rng.integers(1, 25)))
            identity = source["identity"] if rng.random() < 0.7 else identity
        sharpness = 0.0 if rng.random() < 0.1 else 0.5
        faces.append(face(number, identity, fingerprint=fingerprint, sharpness=sharpness))
    dropped = decide(faces, LIMITS)
    kept = [np.frombuffer(f["fingerprint"], np.uint64) for row, f in enumerate(faces) if row not in dropped]
    assert {"duplicate", "duplicate_identity"} <= {decision.reason for decision in dropped.values()}
    assert len(kept) > 20 and not sum(map(len, near_pairs(np.stack(kept), LIMITS["max_duplicate_bits"])))


def people(count: int, photographs: int) -> tuple[list[dict[str, Any]], np.random.Generator]:
    """Faces whose textures resemble those of the same person, as far as noise lets them."""
    rng = np.random.default_rng(5)
    faces = []
    for person in range(count):
        looks = rng.uniform(0, 6, TEXTURE_BYTES)
        for number in range(photographs):
            texture = (looks + rng.normal(0, 3, TEXTURE_BYTES)).clip(0, 20).astype(np.uint8).tobytes()
            faces.append(face(person * photographs + number, f"P{person}", texture=texture))
    return faces, rng


def test_a_wrong_label_is_found_and_right_ones_are_kept() -> None:
    faces, rng = people(12, 10)
    assert decide(faces, LIMITS) == {}
    wrong = sorted(rng.choice(len(faces), 4, replace=False).tolist())
    for row in wrong:
        faces[row]["identity"] = f"P{(int(faces[row]['identity'][1:]) + 5) % 12}"
    dropped, measured = decide_and_measure(faces, LIMITS)
    assert sorted(dropped) == wrong
    assert {decision.reason for decision in dropped.values()} == {"mislabelled"}
    assert all(dropped[row].measured == measured[row] > LIMITS["max_misfit"] for row in wrong)
    assert set(measured) == set(range(len(faces)))


def test_who_has_few_faces_is_not_compared() -> None:
    faces, _ = people(6, 8)
    for row in range(3):  # P0's, under a name that has no others
        faces[row]["identity"] = "Few"
    dropped, measured = decide_and_measure(faces, LIMITS)
    assert dropped == {} and set(measured) == set(range(3, 48))
    one_name = [{**face, "identity": "P0"} for face in faces]
    assert decide_and_measure(one_name, LIMITS) == ({}, {})


def test_misfits_do_not_depend_on_the_order() -> None:
    faces, rng = people(6, 6)
    textures = np.stack([np.frombuffer(face["texture"], np.uint8) for face in faces])
    names = [face["identity"] for face in faces]
    order = rng.permutation(len(faces))
    shuffled = misfits(textures[order], [names[row] for row in order], 4)
    np.testing.assert_allclose(misfits(textures, names, 4)[order], shuffled, atol=0.02)


def test_equal_faces_everywhere_are_no_reason_to_drop_any() -> None:
    same = [face(number, f"P{number % 3}", texture=bytes(TEXTURE_BYTES)) for number in range(30)]
    assert decide(same, LIMITS) == {}


def test_no_faces_at_all() -> None:
    assert decide([], LIMITS) == {}


def test_near_pairs_are_all_pairs_across_blocks() -> None:
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 2**63, (40, 4), np.uint64)
    prints[[5, 17, 33]] = prints[2]
    prints[17, 0] ^= np.uint64(0b111)
    every = [
        (a, b, sum(int(x ^ y).bit_count() for x, y in zip(prints[a], prints[b], strict=True)))
        for a in range(40)
        for b in range(a + 1, 40)
    ]
    for most in (0, 3, 110):
        found = np.concatenate(list(near_pairs(prints, most, at_once=7 * 40)))
        assert [tuple(pair) for pair in found.tolist()] == [pair for pair in every if pair[2] <= most]


def test_thousands_of_copies_of_one_photograph_take_little_memory() -> None:
    """Two million pairs: as Python's objects they would be half a gigabyte."""
    faces = [{**face(0), "key": str(number)} for number in range(2000)]
    tracemalloc.start()
    dropped = decide(faces, {**LIMITS, "min_faces": 1})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(dropped) == list(range(1, 2000))
    assert {decision.reason for decision in dropped.values()} == {"duplicate"}
    assert peak < 150_000_000


def test_two_photographs_of_one_key_are_named() -> None:
    from clean import refuse_same_keys

    faces = [{**face(n), "key": key, "path": key, "partition": "2026-11-01"} for n, key in enumerate(("a", "b"))]
    refuse_same_keys(faces)
    twice = {**face(3), "key": "2026-11-01/a", "partition": "2026-11-01"}
    with pytest.raises(SystemExit, match=r"2026-11-01/a and a of 2026-11-01 are both called 2026-11-01/a; rename"):
        refuse_same_keys([*faces, {**twice, "path": "2026-11-01/a"}, {**twice, "path": "a"}])


def test_a_number_is_told_apart_from_the_limit_that_it_missed() -> None:
    def told(measured: float, limit: float) -> str:
        return sections.decision({"measured": measured, "threshold": limit})

    assert told(29.97, 30) == "29.97 (limit 30)"
    assert told(230.00012, 230) == "230.0001 (limit 230)"
    assert told(0.0123456, 0.02) == "0.0123 (limit 0.02)"
    assert told(1.0, 1.0) == "1 (limit 1)"
