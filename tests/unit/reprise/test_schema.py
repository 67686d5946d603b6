"""params.schema.json as pydantic writes it: nested models are references, and may be null or contain themselves."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from airflow.sdk.exceptions import ParamValidationError
from pydantic import BaseModel, ConfigDict, Field

from reprise.dag.render import _form
from reprise.errors import BadInput
from reprise.pipeline.params import apply, flat
from reprise.pipeline.schema import about, allowed, leaves, load_schema
from reprise.settings import Settings


class Optimizer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = Field(0.1, gt=0, lt=1, description="Step.")
    name: Literal["sgd", "adam"] = "sgd"


class Layer(BaseModel):
    size: int = Field(8, ge=1)
    inner: "Layer | None" = None


class Train(BaseModel):
    model_config = ConfigDict(extra="forbid")
    optimizer: Optimizer = Field(Optimizer(), description="How it learns.")
    second: Optimizer | None = None
    layer: Layer = Layer()
    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] | None = 5
    weights: dict[str, float] = {}
    steps: list[Layer] = []


PARAMS = """\
optimizer: {lr: 0.1, name: sgd}
second: null   # none
layer: {size: 8, inner: null}
epochs: 5
weights: {a: 1.5}
steps: []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "params.schema.json").write_text(json.dumps(Train.model_json_schema()))
    return tmp_path


def test_nested_models_have_leaves_and_one_within_itself_ends() -> None:
    found = {".".join(path): leaf for path, leaf in leaves(Train.model_json_schema()).items()}
    assert list(found) == [
        "optimizer.lr", "optimizer.name", "second.lr", "second.name", "layer.size", "layer.inner", "epochs", "weights",
        "steps",
    ]  # fmt: skip
    said = {name: allowed(leaf) for name, leaf in found.items()}
    assert said["second.lr"] == "number, more than 0 to less than 1"
    assert said["second.name"] == "one of sgd, adam"
    assert said["layer.inner"] == "mapping or null"
    assert said["epochs"] == "integer, at least 1; or one of auto; or null"
    assert about(found["optimizer.lr"]).startswith("Step. Number, more than 0")


@pytest.mark.parametrize(
    "optimizer",
    [
        {"allOf": [{"$ref": "#/$defs/Optimizer"}], "default": {"lr": 0.1}},
        {"anyOf": [{"$ref": "#/$defs/Optimizer"}, {"type": "null"}], "default": None},
        {"$ref": "#/$defs/Optimizer", "description": "beside"},
        {"oneOf": [{"$ref": "#/$defs/Optimizer"}, {"$ref": "#/$defs/Other"}]},
    ],
)
def test_every_way_to_refer(optimizer: dict[str, Any]) -> None:
    lr = {"type": "number", "maximum": 1}
    models = {"Optimizer": {"properties": {"lr": lr}}, "Other": {"properties": {"decay": {"type": "number"}}}}
    found = leaves({"properties": {"optimizer": optimizer}, "$defs": models})
    assert found["optimizer", "lr"] == lr


def test_nested_parameters_are_settable(folder: Path) -> None:
    text = apply(folder, {"second.lr": 0.5, "second.name": "adam", "layer.inner": {"size": 3}, "weights.a": 2.5})
    assert {k: v for k, v in flat(text).items() if flat(PARAMS).get(k) != v} == {
        "second.lr": 0.5,
        "second.name": "adam",
        "layer.inner.size": 3,
        "weights.a": 2.5,
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            {"optimizer.lr": 3},
            "optimizer.lr cannot be 3 (allowed: number, more than 0 to less than 1)\n  next: make run",
        ),
        ({"second.lr": 3}, "second.lr cannot be 3 (allowed: number, more than 0 to less than 1)"),
        ({"second.rate": 3}, "unknown parameter 'second.rate'\n  next: use one of second.name"),
        ({"layer.inner": {"size": 0}}, "layer.inner.size: 0 is less than the minimum of 1"),
        ({"epochs": "many"}, "epochs cannot be many (allowed: integer"),
        ({"steps": [{"size": 0}]}, "steps.0.size: 0 is less than the minimum of 1"),
        ({"weights.a": "x"}, "weights.a: 'x' is not of type 'number'"),
    ],
)
def test_nested_parameters_are_checked(folder: Path, override: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        apply(folder, override, "p")
    assert said in str(refused.value)


def test_nested_parameters_are_in_the_form() -> None:
    form = _form(Train.model_json_schema(), Settings(origin=""), False)
    lr, inner = form["second.lr"], form["layer.inner"]
    assert (lr.resolve(None), lr.resolve(0.5), inner.resolve({"size": 1})) == (None, 0.5, {"size": 1})
    with pytest.raises(ParamValidationError):
        lr.resolve(3)
    assert form["steps"].resolve([{"size": 1}]) == [{"size": 1}]


def test_a_parameter_does_not_take_the_place_of_a_setting_of_the_run() -> None:
    form = _form({"properties": {"revision": {"type": "integer"}}}, Settings(origin="", revision="main"), False)
    assert form["revision"].value == "main"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "params.schema.json is not JSON"),
        ('{"type": "whole number"}', "p/params.schema.json is not a JSON Schema: 'whole number' is not valid"),
        ('{"properties": {"lr": {"$ref": "#/$defs/Gone"}}}', "refers to what it does not hold: /$defs/Gone"),
        ('{"properties": {"lr": {"$ref": "gone.json"}}}', "refers to what it does not hold: gone.json"),
    ],
)
def test_what_is_no_schema_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text("lr: 1\n")
    (tmp_path / "params.schema.json").write_text(text)
    with pytest.raises(BadInput) as refused:
        leaves(load_schema(tmp_path) or {})
        apply(tmp_path, {}, "p")
    assert said in str(refused.value)
