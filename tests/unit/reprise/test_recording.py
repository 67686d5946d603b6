"""A run of odd outputs is recorded as it is: real git and DVC, no MLflow."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from repository import commit

from reprise import git, workspace
from reprise.errors import BadInput
from reprise.messages import Done, Opened, Recorded
from reprise.pipeline import manifest
from reprise.pipeline.stages import Pipeline
from reprise.run import champion, products, records
from reprise.run.numbers import from_json
from reprise.run.opening import Request
from reprise.run.recording import record
from reprise.run.results import fetch
from reprise.settings import Settings
from reprise.tracking.mlflow_server import bare_heading
from reprise.workspace import Workspace

DVC_YAML = """
artifacts:
  net: {path: models/net.bin, type: model}
  nets: {path: models, type: model}
  page: {path: site/index.html, type: report}
  all: {path: results}
  notes: {path: NOTES.md}
stages:
  fit:
    cmd: "true"
    outs: [models]
    metrics: [results/fit.yaml]
    plots: [results/fit/curve.csv]
  rate:
    cmd: "true"
    deps: [models]
    outs: [site]
    metrics: [results/rate.toml]
    plots: [results/rate/curve.csv, results/curves]
  compare:
    cmd: "true"
    deps: [models, champion]
    metrics: [results/compare.json]
    meta: {champion: net}
"""
WRITTEN = {
    "models/net.bin": "weights",
    "models/sizes.txt": "3",
    "results/fit.yaml": f"loss: .nan\nsteps: 1{'0' * 400}\nname: fit\nbest: {{acc: 0.5}}\n",
    "results/fit/curve.csv": "x,y\n1,2\n",
    "results/rate.toml": "loss = inf\nauc = 0.9\n",
    "results/rate/curve.csv": "x,y\n3,4\n",
    "results/curves/a.csv": "x,y\n5,6\n",
    "results/compare.json": '{"promote": true, "reason": "first"}',
    "site/index.html": "<p>",
    "site/data/a.txt": "a",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Request, Pipeline, Recorded]:
    """A recorded run, of a repository that has no folder `champion`."""
    origin = tmp_path / "origin"
    (origin / "p").mkdir(parents=True)
    (origin / "p/dvc.yaml").write_text(DVC_YAML)
    (origin / "p/params.yaml").write_text("rate: 0.1\n")
    (origin / "p/NOTES.md").write_text("notes")
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path}/remote\n")
    commit(origin)
    monkeypatch.setattr(workspace, "ROOT", origin)
    settings = Settings(str(origin), var=tmp_path / "var", mlflow="http://127.0.0.1:9")
    work = Workspace.create(settings, tmp_path / "work", "p", "HEAD")
    pipeline = manifest.read(work.path, "p")
    products.check_artifacts(work.folder, pipeline)
    pinned = champion.Champion(pin={}, version="", why="none yet")
    (work.folder / "champion").mkdir()
    (work.folder / "champion/champion.json").write_bytes(champion.dump(pinned["pin"]))
    for name, text in WRITTEN.items():
        (work.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (work.folder / name).write_text(text)
    done = {}
    for stage in pipeline.stages:
        entry = work.commit(stage.name)
        work.push(stage.name, entry)
        done[stage.name] = Done(verdict="ran", entry=entry, seconds={}, device="cpu")
    opened = Opened(
        revision=git.resolve(origin, "HEAD"),
        pipeline=pipeline.to_dict(),
        params="rate: 0.1\n",
        listing=None,
        inbox=None,
        as_of=None,
        relisted={},
        images={},
        image_id="",
        known={},
        ignore_cache=False,
        mlflow=None,
        champion=pinned,
        heading=bare_heading("p", "p", "run-1"),
    )
    request = Request("p", "p", "run-1")
    return settings, request, pipeline, record(settings, request, pipeline, opened, done)


def strict(constant: str) -> Any:
    raise ValueError(constant)


def test_a_diverged_training_is_recorded(run: tuple[Settings, Request, Pipeline, Recorded]) -> None:
    settings, _, _, recorded = run
    found = records.find(settings.origin, recorded["commit"])
    json.loads(found.text("run.json"), parse_constant=strict)  # JSON has no NaN
    assert found.metrics.keys() == from_json(recorded["metrics"]).keys()
    assert math.isnan(found.metrics.pop("results/fit.yaml:loss"))
    assert found.metrics == {
        "auc": 0.9,
        "best.acc": 0.5,
        "promote": 1.0,
        "results/rate.toml:loss": math.inf,
        "steps": math.inf,
    }
    assert recorded["decision"] == {"promote": True, "reason": "first"}
    assert found.text("champion/champion.json") == "{}"


def test_folders_and_files_inside_outputs_are_brought_and_kept_for_mlflow(
    run: tuple[Settings, Request, Pipeline, Recorded],
) -> None:
    settings, request, pipeline, recorded = run
    places = fetch(settings, request, pipeline, recorded["commit"])
    folder = settings.var / "runs/run-1"
    assert {name: place.relative_to(folder).as_posix() for name, place in places.items()} == {
        "net": "models/net.bin",
        "nets": "models",
        "page": "site/index.html",
        "all": "results",
        "notes": "NOTES.md",
    }
    assert places["page"].read_text() == "<p>" and (places["all"] / "curves/a.csv").exists()
    fetch(settings, request, pipeline, recorded["commit"])  # again, over what is there
    [box] = (settings.var / "unsent/p/run-1").iterdir()
    kept = {file.relative_to(box / "files").as_posix() for file in (box / "files").rglob("*") if file.is_file()}
    assert {"report/index.html", "NOTES.md", "model/models/sizes.txt", "plots/curves/a.csv"} <= kept
    assert {"plots/results/fit/curve.csv", "plots/results/rate/curve.csv"} <= kept  # one name, two files
    assert json.loads((box / "notes.json").read_text())["models"]["net"][0] == hashlib.md5(b"weights").hexdigest()
    assert recorded["refused"] == {"nets": "models is a folder, and MLflow registers ONNX files only"}


def test_an_artifact_that_nothing_makes_is_refused_by_open(
    run: tuple[Settings, Request, Pipeline, Recorded], tmp_path: Path
) -> None:
    _, _, pipeline, _ = run
    (tmp_path / "work/p/NOTES.md").unlink()
    with pytest.raises(BadInput, match=r"artifact notes: NOTES\.md is neither an output of a stage nor a file in git"):
        products.check_artifacts(tmp_path / "work/p", pipeline)
