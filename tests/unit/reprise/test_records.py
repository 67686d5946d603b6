"""A record is found by its run's id, its name or its commit, and by nothing else."""

import json
import os
from pathlib import Path

import pytest
from repository import repository

from reprise import git
from reprise.errors import BadInput, RepriseError
from reprise.pipeline.stages import Out, Pipeline, Stage
from reprise.run import records
from reprise.run.recording import read_metrics
from reprise.workspace import Workspace

RUN = "p-20261122-101112"
LOCK = """
schema: '2.0'
stages:
  take:
    cmd: python take.py
    params:
      params.yaml: {lr: 1e-05, say: yes, sizes: {1: .inf}}
    outs:
    - {path: data, md5: 0123.dir, size: 3, nfiles: 1}
"""


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Two records of one pipeline, one of another with the same run id as the first, and an experiment of DVC's own."""
    repository(tmp_path)
    head = git.resolve(tmp_path, "HEAD")
    for pipeline, run in (("pipelines/p", "manual__1+2"), ("pipelines/p", RUN), ("pipelines/q", "manual__1+2")):
        keep(tmp_path, head, pipeline, run)
    other = git.commit_files(tmp_path, head, {"pipelines/p/params.yaml": b"a: 9\n"}, "dvc exp run")
    git.git(tmp_path, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/foggy-cats", other)
    return tmp_path


def keep(repo: Path, revision: str, pipeline: str, run: str) -> str:
    """A record as the run's last task makes it."""
    files = {
        "run.json": json.dumps({"run_id": run, "dag": pipeline[-1], "models": {}}),
        "dvc.lock": LOCK,
        "params.yaml": f"a: {{b: '{run}'}}\n",
        "source.json": '{"partitions": {"2026-11-01": [{"path": "x", "sha256": "0", "size": 1}]}}',
    }
    content = {f"{pipeline}/{name}": text.encode() for name, text in files.items()}
    commit = git.commit_files(repo, revision, content, f"run {run}")
    name = records.ref_name(pipeline, run)
    git.git(repo, "update-ref", f"{records.REFS}/{revision[:2]}/{revision[2:]}/{name}", commit)
    return commit


def test_by_run_id_name_and_commit(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    assert (record.pipeline, record.run_id, record.name) == ("pipelines/p", RUN, RUN)
    assert git.resolve(origin, f"{record.commit}^") == git.resolve(origin, "main")
    for name in (record.name, record.commit, record.commit[:9], record.ref):
        assert records.find(str(origin), name) == record


def test_what_it_holds(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    assert record.params == {"a.b": RUN}
    read = record.lock["take"]["params"]["params.yaml"]
    assert read == {"lr": 0.00001, "say": "yes", "sizes": {"1": "inf"}}, "as DVC reads it, and as JSON holds it"
    assert record.outs["data"]["md5"] == "0123.dir"
    assert record.listing["2026-11-01"][0]["path"] == "x"
    assert record.text("nothing.json") == ""


def test_its_models_are_found_by_their_bytes_where_mlflow_was_away(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    registered = [
        {"name": "net", "version": "1", "md5": "ffff"},
        {"name": "net", "version": "2", "md5": "0123.dir"},
        {"name": "by-hand", "version": "1"},
    ]
    assert record.models(registered) == {"net": "2"}
    record.about["models"] = {"net": "9"}
    assert record.models(registered) == {"net": "9"}


def test_all_of_one_pipeline(origin: Path) -> None:
    assert sorted(r.run_id for r in records.every(str(origin), "pipelines/p")) == ["manual__1+2", RUN]
    assert len(list(records.every(str(origin)))) == 3


def test_one_id_of_two_pipelines_is_not_guessed(origin: Path) -> None:
    with pytest.raises(BadInput, match="names 2 records: p-manual__1-2=22d4c6a4, q-manual__1-2=b2a78592"):
        records.find(str(origin), "manual__1+2")
    assert records.find(str(origin), "q-manual__1-2=b2a78592").pipeline == "pipelines/q"


def test_a_commit_that_only_inherits_a_record_is_none(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    child = git.commit_files(origin, record.commit, {"b": b"1"}, "work on")
    for name, said in (
        (child, "is no record"),
        ("main", "is no record"),
        ("foggy-cats", "no record of"),
        ("x", "no record of"),
    ):
        with pytest.raises(BadInput, match=said):
            records.find(str(origin), name)


def test_a_record_whose_ref_is_gone_is_found_by_its_commit(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    git.git(origin, "update-ref", "-d", record.ref)
    assert records.find(str(origin), record.commit).name == RUN


def test_no_records_yet(tmp_path: Path) -> None:
    git.git(tmp_path, "init", "--quiet")
    assert list(records.every(str(tmp_path))) == []


def test_an_unknown_run_names_the_nearest(origin: Path) -> None:
    with pytest.raises(BadInput, match=f"did you mean {RUN}"):
        records.find(str(origin), "p-20261122-1011")


def test_a_record_that_is_called_by_another_rule_is_found_by_its_run(origin: Path) -> None:
    record = records.find(str(origin), RUN)
    older = f"{records.REFS}/ab/cd/called-so"
    git.git(origin, "update-ref", older, record.commit)
    git.git(origin, "update-ref", "-d", record.ref)
    assert records.find(str(origin), RUN).ref == older


@pytest.mark.parametrize(
    ("size", "content", "said"),
    [
        (10**12, b"", "'m.json' has 1 TB, more than 16.78 MB"),
        (None, b"[" * 100_000, "cannot be read as JSON"),
        (None, b"loss: 1", "cannot be read as JSON"),
    ],
)
def test_metrics_that_no_worker_can_hold_are_named(tmp_path: Path, size: int | None, content: bytes, said: str) -> None:
    """What is in them is a container's."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p/m.json").write_bytes(content)
    if size:
        os.truncate(tmp_path / "p/m.json", size)
    pipeline = Pipeline("p", (Stage("s", ("true",), outs=(Out("m.json", "metric"),)),))
    with pytest.raises(RepriseError, match=f"stage s: its metrics file m.json {said}"):
        read_metrics(Workspace(tmp_path, "p"), pipeline)
