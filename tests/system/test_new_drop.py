"""A new drop of real photographs costs that drop: the data stages of the faces pipeline on LFW's four arrival dates."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Run, Stack
from repository import commit

from reprise import git

pytestmark = pytest.mark.long

LFW = ROOT.parent / "shared/data/lfw-inbox"
DROPS = "pipelines/drops"
PARTITIONED = ["download", "detect", "align"]


def data_stages(definition: dict[str, Any], last: str = "split") -> dict[str, Any]:
    """The dvc.yaml of the pipeline that ends with stage ``last``."""
    kinds = ("outs", "metrics")
    writes = {
        out: name for name, stage in definition["stages"].items() for kind in kinds for out in stage.get(kind, ())
    }
    kept, todo = set(), [last]
    while todo:
        name = todo.pop()
        kept.add(name)
        todo += [writes[dep] for dep in definition["stages"][name]["deps"] if dep in writes]
    stages = {name: stage for name, stage in definition["stages"].items() if name in kept}
    return {"vars": definition["vars"], "stages": stages}


@pytest.fixture(scope="module")
def dates(stack: Stack) -> list[Path]:
    """The arrival dates; the pipeline that reads them is in the stack's repository."""
    if not LFW.is_dir():
        pytest.skip(f"{LFW} is not there: it holds the photographs")
    folder = stack.root / DROPS
    shutil.copytree(ROOT / "pipelines/faces", folder, ignore=shutil.ignore_patterns("data", "__pycache__", "dvc.lock"))
    definition = yaml.safe_load((folder / "dvc.yaml").read_text())
    (folder / "dvc.yaml").write_text(yaml.safe_dump(data_stages(definition), sort_keys=False))
    (stack.root / "dags/drops.py").write_text(
        f'"""Drops."""\n\nfrom reprise.dag.render import pipeline_dag\n\ndag = pipeline_dag("{DROPS}")\n'
    )
    commit(stack.root, "The data stages alone")
    return sorted(LFW.iterdir())


@pytest.fixture(scope="module")
def four(stack: Stack, dates: list[Path]) -> Run:
    """Three drops, then the fourth on a node whose cache is empty; checks what it cost."""
    inbox = stack.root / "var/inbox/drops"
    for date in dates[:3]:
        _arrive(date, inbox)
    three = _run(stack, "three drops")
    assert _partitions(three) == {name: [3, 3] for name in PARTITIONED}
    before = _objects(stack)
    _new_node(stack)
    _arrive(dates[3], inbox)
    run = _run(stack, "and the fourth")
    assert _partitions(run) == {name: [1, 4] for name in PARTITIONED}
    pushed = {name: size for name, size in _objects(stack).items() if name not in before}
    outs = {name: [out["path"] for out in run.stages[name]["entry"]["outs"]] for name in run.stages}
    # A file and a list for each partitioned output, the others whole, the listing; equal files are one object.
    assert len(pushed) <= sum((2 if name in PARTITIONED else 1) * len(paths) for name, paths in outs.items()) + 1
    print(f"  pushed {len(pushed)} objects, {sum(pushed.values()):,} bytes beside {sum(before.values()):,}")
    return run


def _arrive(date: Path, inbox: Path) -> None:
    shutil.copytree(date, inbox / date.name)


def _run(stack: Stack, what: str, *args: str) -> Run:
    start = time.monotonic()
    run = stack.run(*args, inbox="drops", pipeline=DROPS)
    took = {name: round(run.tasks[name]["duration"], 1) for name in run.stages}
    print(f"\n{what}: {time.monotonic() - start:.0f} s; {took}; {run.verdicts}")
    return run


def _partitions(run: Run) -> dict[str, list[int]]:
    return {name: done["partitions"] for name, done in run.stages.items() if "partitions" in done}


def _entries(run: Run) -> dict[str, Any]:
    return {name: done["entry"] for name, done in run.stages.items()}


def _objects(stack: Stack) -> dict[str, int]:
    files = stack.root / "var/remote/files/md5"
    return {path.relative_to(files).as_posix(): path.stat().st_size for path in files.rglob("*") if path.is_file()}


def _new_node(stack: Stack) -> None:
    for folder in ("cache", "work"):
        shutil.rmtree(stack.root / "var" / folder, ignore_errors=True)


def test_another_threshold_of_clean_does_not_detect_again(stack: Stack, four: Run) -> None:
    run = _run(stack, "another clean.min_sharpness", "--params", "clean.min_sharpness=0.45")
    assert {run.verdicts[name] for name in PARTITIONED} == {"cached"}
    assert run.verdicts["clean"] == "ran"


def test_the_same_bytes_from_nothing_without_the_memo(stack: Stack, four: Run) -> None:
    _new_node(stack)
    for notes in ("memo", "runs"):
        shutil.rmtree(stack.root / "var/remote" / notes)
    nothing = _run(stack, "all four from nothing")
    assert _partitions(nothing) == {name: [4, 4] for name in PARTITIONED}
    assert _entries(nothing) == _entries(four)


def test_two_runs_at_once_that_need_the_same_partitions_get_the_same(stack: Stack, four: Run) -> None:
    conf = {
        "align.margin": 0.05,
        "inbox": str(stack.root / "var/inbox/drops"),
        "revision": git.resolve(stack.root, "HEAD"),
    }
    for run_id in ("one", "two"):
        stack.airflow.trigger("drops", run_id, conf)
    deadline = time.monotonic() + 900
    while (states := {stack.airflow.run("drops", run_id)["state"] for run_id in ("one", "two")}) != {"success"}:
        assert "failed" not in states and time.monotonic() < deadline, states
        time.sleep(1)
    one, two = ({n: stack.airflow.xcom("drops", run_id, n)["entry"] for n in four.stages} for run_id in ("one", "two"))
    assert one == two
    assert one["align"] != four.stages["align"]["entry"]
