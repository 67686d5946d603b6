"""A stage's lines become points; what is no point, half a line or a file written anew disturbs nothing."""

import json
import math
import os
import time
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracked import line

from reprise.tracking.names import allowed
from reprise.tracking.points import BATCH, Point, Tail, parse, read_points, write_points
from reprise.untrusted import Refused

KEYS = st.sampled_from(["name", "value", "step", "time"]) | st.text(max_size=3)
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(10**400)


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def test_lines_become_points_with_their_own_time(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(time=1.5) + line(2, "val/accuracy", "0.75") + line(3)[:-2])
    tail = Tail(file)
    before = int(time.time() * 1000)
    [[first, second]] = tail.batches()
    assert first == Point("loss", 0.5, 1, 1500)
    assert second[:3] == ("val/accuracy", 0.75, 2) and before <= second.time <= time.time() * 1000
    with file.open("a") as lines:  # the rest of the third
        lines.write(line(3)[-2:])
    assert [p.step for batch in tail.batches() for p in batch] == [3]
    assert list(tail.batches()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "no json\n",
        "7\n",
        "null\n",
        line(value="much"),
        line(step=None),
        line(step=math.inf),
        line(step=2**63),
        line(name="a//b"),
        line(name="../b"),
        line(name="50 %"),
        line(name=""),
        line(time="noon"),
        '{"step": 1, "name": "loss"}\n',
        "\udcff\n",
        "x" * 200_000 + "\n",
        "[" * 50_000 + "\n",
    ],
)
def test_what_is_no_point_is_passed_over_with_a_warning(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + bad + line(2), errors="surrogateescape")
    assert [p.step for batch in Tail(file).batches() for p in batch] == [1, 2]
    assert "passed over" in caplog.text


def test_nan_and_infinity_are_values(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(value=math.nan) + line(value=-math.inf))
    [points] = Tail(file).batches()
    kept = tmp_path / "points.jsonl"
    write_points(kept, points)
    [([nan, infinite], _)] = read_points(kept)
    assert math.isnan(nan.value) and infinite.value == -math.inf


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) + line(2))
    tail = Tail(file)
    list(tail.batches())
    file.write_text(line(7))
    assert [p.step for batch in tail.batches() for p in batch] == [7]


def test_many_lines_come_in_batches(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(line(i) for i in range(2 * BATCH + 1)))
    assert [len(batch) for batch in Tail(file).batches()] == [BATCH, BATCH, 1]


def test_points_are_read_on_from_any_batch_and_half_a_line_is_left(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    write_points(file, [Point("a", float(i), i, i) for i in range(BATCH + 5)])
    with file.open("a") as lines:
        lines.write('["a", 1')
    batches = list(read_points(file))
    assert [len(points) for points, _ in batches] == [BATCH, 5]
    assert list(read_points(file, batches[0][1])) == batches[1:]
    write_points(file, [Point("b", 0.0, 0, 0), Point("c", 0.0, 0, 0)])  # after a full disk, say
    assert [p.name for points, _ in read_points(file, batches[1][1]) for p in points] == ["c"]


def test_half_a_line_that_is_finished_meanwhile_is_read_whole_the_next_time(tmp_path: Path) -> None:
    """W&B's process reads while the worker writes."""
    file = tmp_path / "points.jsonl"
    file.write_text('["a", 1.0, 0, 0]\n["b", 1')
    reading = read_points(file)
    [first], end = next(reading)
    with file.open("a") as lines:
        lines.write('.0, 1, 1]\n["c", 1.0, 2, 2]\n')
    assert list(reading) == []
    assert first.name == "a"
    assert [p.name for points, _ in read_points(file, end) for p in points] == ["b", "c"]


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path) -> None:
    """A link may lead to what the stage must not read, and a pipe keeps its reader waiting."""
    secret = tmp_path / "credentials"
    secret.write_text(line())
    link, pipe = tmp_path / "link.jsonl", tmp_path / "pipe.jsonl"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    for odd in (link, pipe):
        with pytest.raises(Refused, match=odd.name):
            list(Tail(odd).batches())
    assert list(Tail(secret).batches()) == [[ANY]]


def test_a_long_lines_end_is_no_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("x" * 64 * 1024 + line(1) + line(2))
    tail = Tail(file)
    assert [p.step for batch in tail.batches() for p in batch] == [2]
    assert tail.passed_over == 1


def test_a_file_without_end_is_read_as_far_as_the_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(1) * 3)
    os.truncate(file, 10**12)
    tail = Tail(file, most=10**8)
    for _ in range(2):
        started = time.monotonic()
        list(tail.batches())
        assert time.monotonic() - started < 10
    assert caplog.text.count("only the first 100 MB of metrics.jsonl are read") == 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.binary(max_size=200) | st.recursive(JSON, lambda part: st.lists(part) | st.dictionaries(KEYS, part)).map(dump)
)
def test_any_bytes_are_a_point_or_a_value_error(line: bytes) -> None:
    try:
        point = parse(line, 7)
    except (ValueError, RecursionError):  # both are what Tail passes over
        return
    assert isinstance(point.value, float) and -(2**63) <= point.step < 2**63 and 0 <= point.time < 2**63
    assert allowed(f"stage/{point.name}") == f"stage/{point.name}"  # MLflow takes it in both runs


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_ .:-]{0,60}(/[A-Za-z0-9_-]{1,30}){0,3}", fullmatch=True),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**40),
)
def test_a_point_is_read_as_it_was_written(name: str, value: float, step: int, seconds: int) -> None:
    point = parse(dump({"name": name, "value": value, "step": step, "time": seconds}), 7)
    assert point == Point(name, ANY, step, seconds * 1000)
    assert point.value == value or (math.isnan(point.value) and math.isnan(value))
