"""Two records side by side: what differs in code, parameters, data and metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

from reprise import git
from reprise.commands.comparing import ABSENT, compare
from reprise.commands.curves import _columns, draw
from reprise.errors import BadInput
from reprise.run.records import Record


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git.git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path, "train.py", "1")
    return tmp_path


def commit(repo: Path, name: str, text: str) -> str:
    (repo / name).write_text(text)
    git.git(repo, "add", name)
    git.git(repo, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", f"{name} {text}")
    return git.resolve(repo, "HEAD")


def record(repo: Path, run: str, rate: float, md5: str, metrics: dict[str, float], pipeline: str = "p") -> Record:
    """A record of a run at HEAD."""
    about: dict[str, Any] = {"run_id": run, "revision": git.resolve(repo, "HEAD"), "metrics": metrics}
    about |= {"images": {"train": "stages:1"}, "as_of": None, "inbox": "/inbox", "mlflow_run": "m"}
    outs = f"[{{path: model, md5: {md5}, size: 1234}}, {{path: faces, md5: f.dir, size: 9, nfiles: 3}}]"
    files = {
        f"{pipeline}/run.json": json.dumps(about),
        f"{pipeline}/params.yaml": f"train: {{rate: {rate}, epochs: 5}}\n",
        f"{pipeline}/dvc.lock": f"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs: {outs}\n",
    }
    made = git.commit_files(repo, str(about["revision"]), {k: v.encode() for k, v in files.items()}, run)
    return Record(repo, made, f"refs/exps/aa/bb/{run}", pipeline)


def test_only_what_differs_is_shown_and_all_metrics(repo: Path) -> None:
    first = record(repo, "run-1", 0.1, "aaaaaaaaaaaa", {"auc": 0.9, "loss": 1.0})
    second = record(repo, "run-2", 0.2, "bbbbbbbbbbbb", {"auc": 0.95, "loss": 1.0, "eer": 0.1})
    tables = {table.title: table.rows for table in compare([first, second])}
    assert tables["code"] == {}
    assert tables["parameters"] == {"train.rate": ("0.1", "0.2")}
    assert tables["data"] == {"model": ("aaaaaaaa  1,234 bytes", "bbbbbbbb  1,234 bytes")}
    assert tables["metrics"] == {
        "auc": ("0.9", "0.95 (+0.05)"),
        "eer": (ABSENT, "0.1"),
        "loss": ("1", "1"),
    }


def test_code_is_named_by_its_commits_and_changed_files(repo: Path) -> None:
    first = record(repo, "run-1", 0.1, "a", {})
    commit(repo, "train.py", "2")
    rows = {table.title: table.rows for table in compare([first, record(repo, "run-2", 0.1, "a", {})])}["code"]
    assert [said.split(" ", 1)[1] for said in rows["revision"]] == ["train.py 1", "train.py 2"]
    assert rows["files changed since the first"] == (ABSENT, "train.py")


def test_one_run_or_two_pipelines_are_refused(repo: Path) -> None:
    first, other = record(repo, "run-1", 0.1, "a", {}), record(repo, "run-1", 0.1, "a", {}, pipeline="q")
    with pytest.raises(BadInput, match="it takes two runs"):
        compare([first, first])
    with pytest.raises(BadInput, match="runs of 2 pipelines: p, q"):
        compare([first, other])


def test_curves_are_drawn_over_one_another(tmp_path: Path) -> None:
    file = tmp_path / "training.csv"
    file.write_text("epoch,loss\n1,0.5\n2,nan\n3,\n4,0.25\n")
    curve = _columns(file, "epoch", "loss")
    assert curve == ([1.0, 4.0], [0.5, 0.25])
    assert _columns(file, "step", "loss") == ([], [])
    drawn = draw("training.csv: loss by epoch", [("run-1", curve), ("run-2", curve)])
    assert drawn.startswith("<svg") and drawn == draw(
        "training.csv: loss by epoch", [("run-1", curve), ("run-2", curve)]
    )
