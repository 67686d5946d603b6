"""Metrics files as stages write them: any format that DVC reads, any number, and names that several files use."""

import json
import logging
import math
from pathlib import Path

import pytest
from dvc.fs import LocalFileSystem
from dvc.repo.metrics.show import _read_metric
from hypothesis import given, settings
from hypothesis import strategies as st

from reprise.errors import RepriseError
from reprise.pipeline.stages import Meta, Out, Pipeline, Stage
from reprise.run import metrics, numbers

NESTED = {"loss": 0.5, "val": {"acc": 0.75, "n": 3}}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("m.json", '{"loss": 0.5, "val": {"acc": 0.75, "n": 3}}'),
        ("m.yaml", "loss: 0.5\nval: {acc: 75.0e-2, n: 3}\n"),
        ("m.yml", "loss: 0.5\nval: {acc: 0.75, n: 3}\n"),
        ("m.txt", "loss: 0.5\nval: {acc: 0.75, n: 3}\n"),
        ("m.toml", "loss = 0.5\n[val]\nacc = 0.75\nn = 3\n"),
        ("m.py", "loss = 0.5\nval = {'acc': 0.75, 'n': 3}\n"),
    ],
)
def test_a_file_is_read_as_dvc_reads_it(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert _read_metric(LocalFileSystem(), str(tmp_path / file)) == NESTED
    assert metrics.numbers(metrics.parse(file, text.encode())) == {"loss": 0.5, "val.acc": 0.75, "val.n": 3.0}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400, "-1" + "0" * 400, "true"])
def test_every_number_is_recorded_and_survives_strict_json(text: str) -> None:
    [value] = metrics.numbers(metrics.parse("m.json", f'{{"loss": {text}}}'.encode())).values()
    written = json.dumps(numbers.to_json({"loss": value}), allow_nan=False)
    assert str(numbers.from_json(json.loads(written))["loss"]) == str(value)
    assert math.isfinite(value) is (text == "true")


def test_what_is_not_a_number_disturbs_nothing() -> None:
    text = b'{"a": "x", "b": [1, 2], "c": null, "d": {}, "e": true, "f": {"g": 1}}'
    assert metrics.numbers(metrics.parse("m.json", text)) == {"e": 1.0, "f.g": 1.0}
    assert metrics.numbers(metrics.parse("m.yaml", b"2026-11-22: 1\n1: 2\nnull: 3\n")) == {
        "2026-11-22": 1,
        "1": 2,
        "None": 3,
    }
    assert metrics.numbers(metrics.parse("results/auc.txt", b"0.9\n")) == {"auc": 0.9}
    assert metrics.numbers(metrics.parse("m.json", b"[1, 2]")) == {}
    assert metrics.numbers(metrics.parse("m.json", b"{}")) == {}


BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{{', '.join(f'k{i}: *{before}' for i in range(9))}}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("m.json", b'{"loss": ', "cannot be read as JSON: Expecting value"),
        ("m.json", b"", "as JSON"),
        ("m.json", b"\xff", "as JSON"),
        ("m.json", b'{"loss": ' + b"1" * 5000 + b"}", "as JSON: Exceeds the limit"),
        ("m.json", b"[" * 100_000, "as JSON"),
        ("m.toml", b"loss = ", "as TOML"),
        ("m.yaml", b"a: [", "as YAML"),
        ("m.yaml", b"a: &a {b: *a}\n", "as YAML"),
        ("m.yaml", BOMB.encode(), "more than 100,000 values"),
        ("m.yaml", b"#" * (16 * 1024**2 + 1), "more than 16.78 MB"),
    ],
)
def test_a_file_that_cannot_be_read_names_stage_file_and_reason(
    tmp_path: Path, file: str, content: bytes, said: str
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(RepriseError, match=said) as caught:
        metrics.check(tmp_path, Stage("fit", ("true",), outs=(Out(file, "metric"),)))
    assert caught.value.problem.startswith(f"stage fit: its metrics file {file} ")
    assert "make run" in caught.value.fix


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["m.json", "m.yaml", "m.toml", "m.py", "m"]))
def test_any_bytes_are_numbers_or_a_value_error(content: bytes, file: str) -> None:
    try:
        found = metrics.numbers(metrics.parse(file, content))
    except ValueError:
        return
    assert all(isinstance(value, float) for value in found.values())


def test_a_folder_of_metrics_files(tmp_path: Path) -> None:
    for name, text in (("b/y.yaml", "n: 2"), ("x.json", '{"n": 1}')):
        (tmp_path / "scores" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scores" / name).write_text(text)
    found = metrics.of_stage(tmp_path, Stage("fit", ("true",), outs=(Out("scores", "metric"),)))
    assert found == {"scores/b/y.yaml": {"n": 2}, "scores/x.json": {"n": 1}}


def test_what_becomes_infinite_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"n": 10**400, "loss": math.inf, "ok": 10**300}))
    with caplog.at_level(logging.WARNING):
        metrics.check(tmp_path, Stage("fit", ("true",), outs=(Out("m.json", "metric"),)))
    assert [record.message for record in caplog.records] == [
        "m.json: n is too large for a float, it is recorded as inf"
    ]


FILES = {"a.json": {"loss": 1.0, "n": 1.0}, "b.json": {"loss": 2.0, "auc": 0.5}}


def test_a_name_that_two_files_use_is_recorded_once_per_file() -> None:
    assert metrics.join(FILES) == {"a.json:loss": 1.0, "auc": 0.5, "b.json:loss": 2.0, "n": 1.0}
    assert metrics.join({"a.json": FILES["a.json"]}) == FILES["a.json"]


def test_a_stages_headline_finds_its_own_number() -> None:
    stages = tuple(
        Stage(name, ("true",), outs=(Out(f"{name}.json", "metric"),), meta=Meta(headline=("loss",))) for name in "ab"
    )
    known = metrics.join(FILES)
    assert numbers.headline(Pipeline("p", stages), known) == ["a.json:loss", "b.json:loss"]
    assert numbers.headline(Pipeline("p", stages[:1]), known) == ["a.json:loss"]
