"""A run's parameters: overrides, the schema's refusals, what a stage's sandbox sees."""

import json
import re
from pathlib import Path

import pytest
import yaml

from reprise.errors import BadInput
from reprise.pipeline.params import apply, flat, parse_overrides, shown

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
        ("a=[1", "the value of 'a=.1' is not YAML"),
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


def test_flat_names() -> None:
    assert flat(PARAMS) == {"train.epochs": 5, "train.device": "auto", "seed": 1}


def test_values_are_read_as_dvc_reads_params_yaml() -> None:
    assert parse_overrides("a=1e-3 b=yes c=on d=012 e=2026-11-22 f=12:30") == {
        "a": 0.001,
        "b": "yes",
        "c": "on",
        "d": 12,
        "e": "2026-11-22",
        "f": "12:30",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=.inf", "the value of 'a=.inf' cannot be sent to a run"),
        ("a={1: b}", "the value of 'a={1:' is not YAML"),
        ("'a={1: b}'", "the value of 'a={1: b}' cannot be sent to a run"),
        (
            "inbox=here",
            "inbox cannot be overridden by name: a run has a setting that is called so\n  next: write it into",
        ),
    ],
)
def test_values_and_names_that_a_run_cannot_be_given(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        parse_overrides(text)


ODD = """\
a.b: 1
a: {b: 2}
c.d: 3
7: seven
on: 1
true: 2
null: 3
"": 4
none: {}
seeds: {1: one, x: two}
"""


def test_keys_that_are_no_plain_names(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(ODD)
    values = flat(ODD)
    assert values == {
        '"a.b"': 1, '"a"."b"': 2, "c.d": 3, "7": "seven", "on": 1, "true": 2, "null": 3, "": 4,
        "none": {}, "seeds.1": "one", "seeds.x": "two",
    }  # fmt: skip
    assert all(shown(value) for value in values.values())
    for name in set(values) - {'"a.b"', '"a"."b"'}:
        assert flat(apply(tmp_path, {name: "new"})) == {**values, name: "new"}
    with pytest.raises(
        BadInput, match="'a.b' stands for several parameters, so none can be overridden by it\n  next: rename"
    ):
        apply(tmp_path, {"a.b": 5})


def test_what_is_not_overridden_is_written_as_before(tmp_path: Path) -> None:
    """ruamel would write this number with a digit less, and the lists with other indents."""
    text = (
        "tiny: 6.674127070813431e-307\nold: 012\nfolded: >\n  one\n\n  two\nbase: &b {lr: &r 1e-3}\nlr: *r\ncopy: *b\n"
    )
    (tmp_path / "params.yaml").write_text(text + "new: 1\n")
    assert apply(tmp_path, {"new": 2e-5}) == text + "new: 2.0e-05\n", "PyYAML takes 2e-05 for text"
    assert apply(tmp_path, {"new": "yes"}) == text + 'new: "yes"\n', "PyYAML takes yes for true"


def test_an_anchor_reaches_its_aliases_and_an_alias_only_itself(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("base: &b {lr: 1, opt: {x: 1}}\nsame: *b\nmore: {<<: *b, depth: 2}\n")
    at_anchor = flat(apply(tmp_path, {"base.lr": 5}))
    assert (at_anchor["base.lr"], at_anchor["same.lr"], at_anchor["more.lr"]) == (5, 5, 5)
    at_alias = flat(apply(tmp_path, {"same.lr": 5, "more.opt.x": 6}))
    assert (at_alias["base.lr"], at_alias["same.lr"], at_alias["more.lr"]) == (1, 5, 1)
    assert (at_alias["base.opt.x"], at_alias["same.opt.x"], at_alias["more.opt.x"]) == (1, 1, 6)


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", "a: 1\na: 2\n", "!foo 1\n"])
def test_what_is_no_params_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(BadInput, match="p/params.yaml .*\n  next: correct p/params.yaml and commit it"):
        apply(tmp_path, {"a": 1}, "p")


def test_a_value_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: 3\nother: null\n")
    nested = {"type": "object", "properties": {"lr": {"type": "number"}}}
    schema = {"properties": {"train": nested, "other": nested}}
    (tmp_path / "params.schema.json").write_text(json.dumps(schema))
    with pytest.raises(BadInput, match="train.lr cannot be set: train is 3, not a mapping"):
        apply(tmp_path, {"train.lr": 1})
