"""W&B, for who asks for it: a process of its own follows the points, and its failure is a warning."""

import json
from pathlib import Path
from typing import Any

import pytest
from tracked import settings as settings  # a fixture

from reprise.settings import Settings
from reprise.tracking import wandb_run
from reprise.tracking.points import Point, write_points


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"WANDB_MODE": "offline"}, True),
        ({"WANDB_API_KEY": "k"}, True),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, False),
    ],
)
def test_wandb_is_asked_for_by_key_or_mode(environment: dict[str, str], expected: bool) -> None:
    assert wandb_run.wanted(environment) is expected


TAGS = {"dag": "words", "run_id": "run-1", "revision": "abc"}


def test_wandb_offline_holds_points_and_config(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = wandb_run.WandbRun(settings, TAGS, "rank", 1, {"rank.top": 10})
    points = tmp_path / "points.jsonl"
    write_points(points, [Point("loss", 0.5, 1, 1), Point("rate", 0.1, 1, 1)])
    run.start(points)
    write_points(points, [Point("loss", 0.25, 2, 2)])
    assert run.finish() == run.id
    [file] = (settings.var / "wandb").rglob("*.wandb")
    assert run.id in file.name
    records = read_wandb(file)
    rows = [
        {item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json) for item in r.history.item}
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]
    shown = [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]
    assert shown == [{"step": 1, "loss": 0.5, "rate": 0.1}, {"step": 2, "loss": 0.25}]
    [started] = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    assert (started.run_id, started.run_group, started.job_type) == (run.id, "run-1", "rank")
    assert {u.key: u.value_json for u in started.config.update}["rank.top"] == "10"


def read_wandb(file: Path) -> list[Any]:
    """The records of an offline run: LevelDB's log format (32 KiB blocks, headers of 7 bytes) behind a header of 7."""
    from wandb.proto import wandb_internal_pb2

    content, records, parts = file.read_bytes(), [], b""
    place = 7
    while place < len(content):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def test_a_failing_wandb_is_a_warning(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    run = wandb_run.WandbRun(settings, TAGS, None, 1, {})
    run.start(tmp_path / "points.jsonl")
    assert run.finish() is None
    assert "the run goes on without it" in caplog.text


def test_each_try_and_stage_is_a_wandb_run_of_its_own(settings: Settings) -> None:
    runs = [wandb_run.WandbRun(settings, TAGS, stage, attempt, {}).id for stage in (None, "rank") for attempt in (1, 2)]
    assert len(set(runs)) == 4
    assert wandb_run.WandbRun(settings, TAGS, "rank", 2, {}).id == runs[3]
