"""A record is found by its run's id, its name or its commit, and by nothing else."""

import json
from pathlib import Path

import pytest
from repository import repository

from reprise import git
from reprise.errors import BadInput
from reprise.run import records

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
    for pipeline, run in (("pipelines/p", "manual__1+2"), ("pipelines/p", "p-2"), ("pipelines/q", "manual__1+2")):
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
    record = records.find(str(origin), "p-2")
    assert (record.pipeline, record.run_id, record.name) == ("pipelines/p", "p-2", "p-2")
    assert git.resolve(origin, f"{record.commit}^") == git.resolve(origin, "main")
    for name in (record.name, record.commit, record.commit[:9], record.ref):
        assert records.find(str(origin), name) == record


def test_what_it_holds(origin: Path) -> None:
    record = records.find(str(origin), "p-2")
    assert record.params == {"a.b": "p-2"}
    read = record.lock["take"]["params"]["params.yaml"]
    assert read == {"lr": 0.00001, "say": "yes", "sizes": {"1": "inf"}}, "as DVC reads it, and as JSON holds it"
    assert record.outs["data"]["md5"] == "0123.dir"
    assert record.listing["2026-11-01"][0]["path"] == "x"
    assert record.text("nothing.json") == ""


def test_its_models_are_found_by_their_bytes_where_mlflow_was_away(origin: Path) -> None:
    record = records.find(str(origin), "p-2")
    registered = [
        {"name": "net", "version": "1", "md5": "ffff"},
        {"name": "net", "version": "2", "md5": "0123.dir"},
        {"name": "by-hand", "version": "1"},
    ]
    assert record.models(registered) == {"net": "2"}
    record.about["models"] = {"net": "9"}
    assert record.models(registered) == {"net": "9"}


def test_all_of_one_pipeline(origin: Path) -> None:
    assert sorted(r.run_id for r in records.every(str(origin), "pipelines/p")) == ["manual__1+2", "p-2"]
    assert len(list(records.every(str(origin)))) == 3


def test_one_id_of_two_pipelines_is_not_guessed(origin: Path) -> None:
    with pytest.raises(BadInput, match="names 2 records: p-manual__1-2, q-manual__1-2"):
        records.find(str(origin), "manual__1+2")
    assert records.find(str(origin), "q-manual__1-2").pipeline == "pipelines/q"


def test_a_commit_that_only_inherits_a_record_is_none(origin: Path) -> None:
    record = records.find(str(origin), "p-2")
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
    record = records.find(str(origin), "p-2")
    git.git(origin, "update-ref", "-d", record.ref)
    assert records.find(str(origin), record.commit).name == "p-2"


def test_no_records_yet(tmp_path: Path) -> None:
    git.git(tmp_path, "init", "--quiet")
    assert list(records.every(str(tmp_path))) == []


def test_an_unknown_run_names_the_nearest(origin: Path) -> None:
    with pytest.raises(BadInput, match="did you mean p-2"):
        records.find(str(origin), "p-22")
