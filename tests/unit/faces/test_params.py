"""params.yaml, the models that check it, and the schema that others read, say the same."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import yaml

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(PIPELINE))

from params import load, schema
from params.detect import Params

STAGES = list(yaml.safe_load((PIPELINE / "params.yaml").read_text()))


def test_schema_file_is_fresh() -> None:
    assert schema.SCHEMA.read_text() == schema.text(), "cd pipelines/faces && python -m params.schema"


@pytest.mark.parametrize("stage", STAGES)
def test_params_yaml_holds_every_parameter_once_at_its_default(stage: str) -> None:
    model = importlib.import_module(f"params.{stage}").Params
    assert yaml.safe_load((PIPELINE / "params.yaml").read_text())[stage] == model().model_dump()


@pytest.mark.parametrize("stage", STAGES)
def test_schema_tells_a_form_all_it_needs(stage: str) -> None:
    for name, field in json.loads(schema.SCHEMA.read_text())["properties"][stage]["properties"].items():
        assert "description" in field and "default" in field and "type" in field, name
        kind = field["type"][0] if isinstance(field["type"], list) else field["type"]  # else: it, or null
        if kind in {"integer", "number"}:
            assert "minimum" in field or "exclusiveMinimum" in field, name
            assert "maximum" in field or "exclusiveMaximum" in field, name
        elif kind == "string":
            assert "enum" in field or "pattern" in field, name


def test_every_line_of_params_yaml_has_a_comment_or_a_neighbour_with_one() -> None:
    lines = [line for line in (PIPELINE / "params.yaml").read_text().splitlines() if line.startswith("  ")]
    assert sum("#" in line for line in lines) > 0.7 * len(lines)


def read(tmp_path: Path, text: str) -> Params:
    (tmp_path / "params.yaml").write_text(text)
    return load(Params, "detect", tmp_path / "params.yaml")


def test_load_reads_one_section_and_knows_numbers_without_a_point(tmp_path: Path) -> None:
    params = read(tmp_path, "detect: {min_face_size: 40, onet_threshold: 8e-1}\ntrain: {nonsense: 1}\n")
    assert (params.min_face_size, params.onet_threshold, params.batch) == (40, 0.8, 8)


def test_load_names_every_fault_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        read(tmp_path, "detect: {batch: 0, device: tpu, bach: 3}")
    message = str(stop.value)
    assert "detect.batch is 0: should be greater than or equal to 1" in message
    assert "detect.device is 'tpu': should be 'auto', 'cpu' or 'cuda'" in message
    assert "detect.bach is unknown; detect has min_face_size" in message
    assert "\n" not in message


def test_load_says_what_to_do_without_file_or_section(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="start the stage in its pipeline's folder"):
        load(Params, "detect", tmp_path / "params.yaml")
    with pytest.raises(SystemExit, match=r"declare `params: \[detect\]`"):
        read(tmp_path, "align: {}")
