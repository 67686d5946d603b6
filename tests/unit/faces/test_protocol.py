"""LFW's pairs.txt as protocol: read, refused with the line that is wrong, and through the split stage."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facelib import protocol
from facelib.protocol import Line, Photograph

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
PAIRS = """2 2
Abdullah_Gul\t1\t3
Adrien_Brody\t2\t4
Abdullah_Gul\t2\tAdrien_Brody\t1
Adrien_Brody\t3\tAbdullah_Gul\t4
Andy_Roddick\t1\t2
Bill_Clinton\t3\t1
Andy_Roddick\t3\tBill_Clinton\t2
Bill_Clinton\t1\tAndy_Roddick\t1
"""
TESTED = ("Abdullah_Gul", "Adrien_Brody", "Andy_Roddick", "Bill_Clinton")


def test_the_file_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("# a remark\n" + PAIRS)
    lines = protocol.read(tmp_path / "pairs.txt")
    assert lines[0] == Line(0, Photograph("Abdullah_Gul", 1), Photograph("Abdullah_Gul", 3))
    assert lines[6] == Line(1, Photograph("Andy_Roddick", 3), Photograph("Bill_Clinton", 2))
    assert [(line.fold, line.same) for line in lines] == [(f, s) for f in (0, 1) for s in (True, True, False, False)]
    assert protocol.people(lines) == set(TESTED)
    assert str(lines[0].a) == "Abdullah_Gul_0001"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# nothing yet\n", "holds no pairs; put LFW's pairs.txt there, or set split.protocol to drawn"),
        ("ten 300\n", "line 1: the first line must be FOLDS PAIRS such as 10 300"),
        (PAIRS[: PAIRS.index("Andy")], "has 4 pairs, its first line says 2 folds of twice 2"),
        (PAIRS.replace("Adrien_Brody\t2\t4", "Adrien_Brody\t2"), "line 3 is 'Adrien_Brody 2', a pair NAME n1 n2"),
        (PAIRS.replace("Bill_Clinton\t2", "Andy_Roddick\t2"), "line 8 is .*, a pair NAME1 n1 NAME2 n2 was expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(SystemExit, match=said):
        protocol.read(tmp_path / "pairs.txt")


def split(folder: Path, arrived: bool = False, **params: object) -> subprocess.CompletedProcess[str]:
    """Run split.py in FOLDER on faces named as LFW's: of each person four, below two dates."""
    rows = []
    for number, person in enumerate((*TESTED, *(f"Other_{n}" for n in range(30)))):
        for photograph in range(1, 5):
            date = f"2026-11-0{1 + number % 2}"
            path = f"{date}/{person}/{person}_{photograph:04}.jpg"
            # Of Adrien Brody the fourth is blurry, of Bill Clinton the third has `arrived` or not.
            blurry = path.endswith("Adrien_Brody_0004.jpg")
            if arrived or not path.endswith("Bill_Clinton_0003.jpg"):
                rows.append(
                    {"key": path, "partition": date, "path": path, "identity": person,
                     "keep": not blurry, "reason": "blurry" if blurry else ""}
                )  # fmt: skip
    (folder / "data").mkdir(parents=True)
    (folder / "protocol").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "clean.parquet")
    (folder / "protocol" / "pairs.txt").write_text(PAIRS)
    (folder / "params.yaml").write_text(json.dumps({"split": {"pairs_per_fold": 4, **params}}))
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE)}
    command = [sys.executable, str(PIPELINE / "split.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_its_people_are_tested_and_never_trained_on(tmp_path: Path) -> None:
    done = split(tmp_path, protocol="lfw", protocol_min_share=0.7)
    assert done.returncode == 0, done.stderr
    assert "6 of the 8 pairs in protocol/pairs.txt can be verified (1 blurry, 1 no aligned face)" in done.stdout
    subsets = pq.read_table(tmp_path / "data/split.parquet").to_pylist()
    assert {row["identity"] for row in subsets if row["subset"] == "test"} == set(TESTED)
    assert len({row["identity"] for row in subsets if row["subset"] == "train"}) > 15
    pairs = pq.read_table(tmp_path / "data/pairs.parquet", filters=[("subset", "=", "test")]).to_pylist()
    assert [(pair["fold"], pair["same"]) for pair in pairs] == [(0, True), (0, False), (0, False), (1, True), (1, False), (1, False)]  # fmt: skip
    assert (pairs[0]["key_a"], pairs[0]["key_b"]) == (
        "2026-11-01/Abdullah_Gul/Abdullah_Gul_0001.jpg",
        "2026-11-01/Abdullah_Gul/Abdullah_Gul_0003.jpg",
    )
    assert all(pair["key_a"] < pair["key_b"] for pair in pairs)
    with (tmp_path / "data/missing_pairs.csv").open() as file:
        missing = list(csv.DictReader(file))
    assert [(row["fold"], row["a"], row["b"], row["reason"]) for row in missing] == [
        ("0", "Adrien_Brody_0002", "Adrien_Brody_0004", "Adrien_Brody_0004: blurry"),
        ("1", "Bill_Clinton_0003", "Bill_Clinton_0001", "Bill_Clinton_0003: no aligned face"),
    ]


def test_too_few_of_its_pairs_are_refused(tmp_path: Path) -> None:
    done = split(tmp_path, protocol="lfw")
    assert done.returncode == 1
    assert "only 6 of the 8 pairs in protocol/pairs.txt can be verified (1 blurry, 1 no aligned face)" in done.stderr
    assert "add the photographs (of LFW take everybody, make lfw MIN_PHOTOS=1, and keep them, clean.min_faces=1)" in done.stderr  # fmt: skip
    assert "lower split.protocol_min_share" in done.stderr
    assert not (tmp_path / "data/pairs.parquet").exists()


def test_drawn_pairs_do_not_read_it(tmp_path: Path) -> None:
    done = split(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/missing_pairs.csv").read_text() == "fold,same,a,b,reason\n"
    subsets = pq.read_table(tmp_path / "data/split.parquet").to_pylist()
    assert {row["identity"] for row in subsets if row["subset"] == "test"} != set(TESTED)


@pytest.mark.parametrize("named", ["drawn", "lfw"])
def test_too_few_people_are_told_of_all_of_lfw_only_where_its_protocol_is_asked_for(tmp_path: Path, named: str) -> None:
    done = split(tmp_path, protocol=named, min_train_identities=100)
    assert done.returncode == 1
    assert "(needs 100), val" in done.stderr and "too few for train; add photographs of more people" in done.stderr
    assert ("make lfw MIN_PHOTOS=1" in done.stderr) == (named == "lfw")
    assert ("split.test_share" in done.stderr) == (named == "drawn")  # the protocol alone says who is tested
    assert "split.min_train_identities" in done.stderr


def test_photographs_that_are_there_but_blurry_are_not_fetched_again(tmp_path: Path) -> None:
    done = split(tmp_path, protocol="lfw", arrived=True, protocol_min_share=1)
    assert done.returncode == 1
    assert "only 7 of the 8 pairs in protocol/pairs.txt can be verified (1 blurry)" in done.stderr
    assert "add the photographs, relax clean.*" in done.stderr
