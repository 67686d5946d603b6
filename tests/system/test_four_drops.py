"""Real photographs that arrived on four dates: each date's run sees what it could have seen then, and no image more."""

import hashlib
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, Stack

from reprise.run import records
from reprise.run.champion import ALIAS
from reprise.tracking.mlflow_server import Tracker

pytestmark = pytest.mark.long

FACES = "pipelines/faces"
INBOX = ROOT.parent / "shared/data/lfw-inbox"
ENDS = ("2026-11-02", "2026-11-09", "2026-11-16", "2026-11-23")
"""Ends of the weeks whose Mondays the backfill names; a drop came on each Sunday before."""
QUICK = "train.epochs=2 split.pairs_per_fold=60"


@pytest.fixture(scope="module")
def drops(stack: Stack) -> str:
    """The four weeks, run; what the command printed."""
    if not INBOX.is_dir():
        pytest.skip(f"the photographs of {INBOX} are not here")
    command = ("backfill", "--inbox", str(INBOX), "--params", QUICK, "--from", "2026-10-26", "--to", "2026-11-16")
    return stack.cli(*command).stdout


def _record(stack: Stack, end: str) -> records.Record:
    return records.find(str(stack.root), records.ref_name("pipelines/faces", f"backfill__{end}T00:00:00+00:00"))


def _rows(stack: Stack, record: records.Record, out: str, column: str) -> set[str]:
    """A column of an output's Parquet files, from the cache, by the hashes in the record."""
    cache = stack.root / "var/cache/files/md5"
    listed = (cache / record.outs[out]["md5"][:2] / record.outs[out]["md5"][2:]).read_bytes()

    found: set[str] = set()
    for file in json.loads(listed):
        content = (cache / file["md5"][:2] / file["md5"][2:]).read_bytes()
        assert hashlib.md5(content).hexdigest() == file["md5"]
        found |= set(pq.read_table(io.BytesIO(content), columns=[column])[column].to_pylist())
    return found


@pytest.mark.parametrize("end", ENDS)
def test_no_image_from_its_future(stack: Stack, drops: str, end: str) -> None:
    arrived = {p.relative_to(INBOX).as_posix() for p in INBOX.glob("*/*/*") if p.parts[-3] < end}
    record = _record(stack, end)
    assert {file["path"] for files in record.listing.values() for file in files} == arrived
    assert _rows(stack, record, "data/photos", "path") == arrived
    for out in ("data/faces", "data/aligned"):
        seen = _rows(stack, record, out, "path")
        assert seen <= arrived and len(seen) > 0.9 * len(arrived)


def test_the_work_on_each_image_is_done_once(stack: Stack, drops: str) -> None:
    for stage in ("detect", "align"):
        worked = [stack.airflow.xcom("faces", _record(stack, end).run_id, stage).get("partitions") for end in ENDS]
        assert sum(one[0] for one in worked if one) == len(ENDS), f"{stage}: {worked}"


def test_backfills_make_no_champion_and_the_curve_is_told(stack: Stack, drops: str) -> None:
    for end in ENDS:
        assert stack.airflow.xcom("faces", _record(stack, end).run_id, "gate")["verdict"] == "kept"
    held = Tracker(stack.env["REPRISE_MLFLOW"]).alias("face-embedder", ALIAS)
    assert held is not None
    backfilled = {_record(stack, end).about["models"]["face-embedder"] for end in ENDS}
    assert held.get("version") not in backfilled
    stack.cli("history", "--metrics", "auc")
    lines = Path(stack.root / "var/history/faces.csv").read_text().splitlines()
    files = {line.split(",")[0]: int(line.split(",")[4]) for line in lines[1:]}
    counts = [files[end] for end in ENDS]
    assert counts == sorted(set(counts)) and counts[-1] == 1399
