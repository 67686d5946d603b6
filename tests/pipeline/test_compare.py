"""compare for real: two exported models on the same pairs, and a rule that decides."""

import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny_faces
from test_experiment_stages import run, workplace

Params = importlib.import_module("params.compare").Params
onnx = pytest.importorskip("onnx", reason="the stages' environment is needed: docker/stages.lock")
pytest.importorskip("onnxruntime")
stage = importlib.import_module("compare")


def model(file: Path, rows: int, side: int = tiny_faces.SIDE) -> None:
    """An embedder without training: the upper ROWS rows of pixels, each channel without its mean, at unit length."""
    from onnx import TensorProto, helper, numpy_helper

    def ints(name: str, *values: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(values, np.int64), name)

    nodes = [
        helper.make_node("Cast", ["faces"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["x", "zero", "rows", "one"], ["part"]),
        helper.make_node("ReduceMean", ["part", "plane"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["part", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("LpNormalization", ["flat"], ["embeddings"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", side, side, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", rows * side * 3])],
        [ints("zero", 0), ints("rows", rows), ints("one", 1), ints("plane", 1, 2)],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    file.write_bytes(made.SerializeToString(deterministic=True))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code and data."""
    return workplace(tmp_path_factory.mktemp("compare") / "faces")


@pytest.fixture
def folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The discs lie below row 15: a model that sees the upper 15 rows sees background and little else."""
    model(data / "models/model.onnx", rows=tiny_faces.SIDE)
    (data / "champion/champion.json").write_text("{}")
    monkeypatch.chdir(data)
    return data


def crown(folder: Path, rows: int, side: int = tiny_faces.SIDE) -> None:
    """Make a model champion."""
    file = folder / "champion/model.onnx"
    model(file, rows, side)
    pin = {"name": "net", "version": "7", "md5": hashlib.md5(file.read_bytes()).hexdigest()}
    (folder / "champion/champion.json").write_text(json.dumps(pin))


def compare(**rule: object) -> dict:
    return stage.compare(Params(threads=1, **rule))


def test_as_a_stage_that_sees_what_it_declares(folder: Path) -> None:
    crown(folder, rows=15)
    (folder / "params.yaml").write_text(json.dumps({"compare": {"threads": 1}}))
    assert "compare: promote: auc 0." in run(folder, "compare")
    assert json.loads((folder / "results/compare.json").read_text()) == compare()


def test_without_a_champion_the_model_becomes_it(folder: Path) -> None:
    assert compare() == {"promote": True, "reason": "there is no champion to compare with"}


def test_the_better_model_wins_on_the_same_pairs(folder: Path) -> None:
    crown(folder, rows=15)
    won = compare()
    assert won["promote"] is True
    numbers = won["compare"]
    assert numbers["gain"] == round(numbers["candidate"]["auc"] - numbers["champion"]["auc"], 6) > 0.02
    assert f"{numbers['gain']:+.6f}" in won["reason"]
    asked = compare(min_gain=numbers["gain"] + 0.001)
    assert asked["promote"] is False
    assert "of net version 7" in asked["reason"] and "compare.min_gain" in asked["reason"]


def test_the_worse_model_is_refused(folder: Path) -> None:
    crown(folder, rows=tiny_faces.SIDE)
    model(folder / "models/model.onnx", rows=15)
    lost = compare(metric="accuracy")
    assert lost["promote"] is False
    assert lost["compare"]["gain"] < 0
    assert compare(metric="accuracy", min_gain=-1)["promote"] is True


def test_the_champion_itself_and_one_of_another_size(folder: Path) -> None:
    crown(folder, rows=tiny_faces.SIDE)
    same = compare()
    assert (same["promote"], "byte for byte" in same["reason"]) == (False, True)
    crown(folder, rows=15, side=32)
    other = compare()
    assert (other["promote"], "64 px and 32 px" in other["reason"]) == (False, True)


def test_a_gain_must_be_likely_where_that_is_asked(folder: Path) -> None:
    crown(folder, rows=15)
    gain = compare()["compare"]["gain"]
    numbers = compare(min_gain=gain)["compare"]
    assert numbers["gain_low"] < gain < numbers["gain_high"]
    assert 0.2 < numbers["chance"] < 0.8  # the draws lie around what was measured
    asked = compare(min_gain=gain, min_chance=0.99)
    assert (asked["promote"], "compare.min_chance" in asked["reason"]) == (False, True)


def test_too_few_pairs_for_the_metric(folder: Path) -> None:
    crown(folder, rows=15)
    pairs = folder / "data/pairs.parquet"
    rows = pq.read_table(pairs)
    try:
        pq.write_table(rows.take(list(range(0, len(rows), 20))), pairs)
        with pytest.raises(SystemExit, match="compare: too few test pairs for tar_at_far_0.01"):
            compare(metric="tar_at_far_0.01")
    finally:
        pq.write_table(rows, pairs)


def test_an_interval_that_these_people_cannot_give_is_not_made_up(folder: Path) -> None:
    crown(folder, rows=15)
    pairs = folder / "data/pairs.parquet"
    rows = pq.read_table(pairs)
    try:
        pq.write_table(rows.filter(pc.less(rows["fold"], 2)), pairs)  # four people: many a draw has no different two
        assert set(compare()["compare"]) == {"candidate", "champion", "gain", "chance"}
    finally:
        pq.write_table(rows, pairs)
