"""A run's parameters: overrides, the schema's refusals, what a stage's sandbox sees."""

import json
from pathlib import Path

import pytest
import yaml

from reprise.errors import BadInput
from reprise.pipeline.params import apply, declared_only, flat, parse_overrides

PARAMS = "train:\n  epochs: 5   # how long\n  device: auto\nseed: 1\n"
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "seed": {"type": "integer"},
        "train": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "epochs": {"type": "integer", "minimum": 1, "maximum": 100},
                "device": {"type": "string", "enum": ["auto", "cpu"]},
            },
        },
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "params.schema.json").write_text(json.dumps(SCHEMA))
    return tmp_path


def test_values_are_read_as_yaml() -> None:
    assert parse_overrides("a.b=5 c=0.1 d=true e='two words' f=[1,2]") == {
        "a.b": 5,
        "c": 0.1,
        "d": True,
        "e": "two words",
        "f": [1, 2],
    }
    for text, said in (
        ("epochs", "'epochs' is not NAME=VALUE"),
        ("a='b", "cannot be read: No closing quotation"),
        ("a=[1", "the value of 'a=.1' is no YAML"),
        ("a.b=null", "a.b cannot be made empty for one run"),
        ("a.b=", "next: leave a.b out; or write it as null into params.yaml"),
    ):
        with pytest.raises(BadInput, match=said):
            parse_overrides(text)


def test_override_keeps_the_rest_and_its_comments(folder: Path) -> None:
    text = apply(folder, {"train.epochs": 7})
    assert "epochs: 7   # how long" in text
    assert yaml.safe_load(text) == {"train": {"epochs": 7, "device": "auto"}, "seed": 1}


def test_nothing_overridden_leaves_the_bytes_alone(folder: Path) -> None:
    assert apply(folder, {}) == PARAMS


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"train.epoch": 3}, "unknown parameter 'train.epoch'\n  next: use one of train.epochs"),
        ({"train": 3}, "unknown parameter 'train'"),
        ({"train.epoch": 3}, r"\(see pipelines/faces/params.yaml\)"),
        ({"train.epochs": 0}, r"train.epochs cannot be 0 \(allowed: integer, 1 to 100\)\n"),
        ({"train.epochs": "many"}, r"train.epochs cannot be many \(allowed: integer, 1 to 100\)\n"),
        ({"train.device": "tpu"}, r"train.device cannot be tpu \(allowed: one of auto, cpu\)\n"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(folder: Path, override: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        apply(folder, override, "pipelines/faces")


@pytest.mark.parametrize(
    ("override", "command"),
    [
        ({"train.epochs": 101, "seed": 3}, 'make run PARAMS="seed=3 train.epochs=100"'),
        ({"train.epochs": 0}, 'make run PARAMS="train.epochs=1"'),
        ({"train.epochs": "many"}, 'make run PARAMS="train.epochs=5"'),
        ({"train.device": "tpu"}, 'make run PARAMS="train.device=auto"'),
    ],
)
def test_a_wrong_value_comes_with_a_command_that_works(folder: Path, override: dict[str, object], command: str) -> None:
    with pytest.raises(BadInput) as refused:
        apply(folder, override, "pipelines/faces")
    assert refused.value.fix == f"{command}   (all of them: pipelines/faces/params.schema.json)"
    apply(folder, parse_overrides(command.split('"')[1]))


def test_a_wrong_value_in_the_file_itself_is_mended_there(folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS.replace("epochs: 5", "epochs: 500"))
    with pytest.raises(BadInput, match=r"train.epochs cannot be 500 .*\n  next: correct pipelines/faces/params.yaml"):
        apply(folder, {"seed": 2}, "pipelines/faces")


def test_all_errors_at_once(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"train.device.*train.epochs"):
        apply(folder, {"train.epochs": 0, "train.device": "tpu"})


def test_a_stage_sees_what_it_declares() -> None:
    assert yaml.safe_load(declared_only(PARAMS, ("train.epochs",))) == {"train": {"epochs": 5}}
    assert yaml.safe_load(declared_only(PARAMS, ("train",))) == {"train": {"epochs": 5, "device": "auto"}}


def test_flat_names() -> None:
    assert flat(PARAMS) == {"train.epochs": 5, "train.device": "auto", "seed": 1}
