"""The reference pipeline through everything, on a handful of invented people; and once more without Airflow."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import requests
from conftest import ROOT, Run, Stack
from letters import Letters
from nbclient import NotebookClient

from reprise import git

FACES = "pipelines/faces"
STAGES = [
    *("download", "detect", "align", "clean", "data_gate", "data_report", "split"),
    *("weights", "train", "evaluate", "export", "compare", "report"),
]
TINY = "split.val_share=0.25 split.test_share=0.3 split.min_val_identities=2 split.min_test_identities=2 split.pairs_per_fold=20"


@pytest.fixture(scope="module")
def first(stack: Stack) -> Run:
    """One run on 30 people of three photographs each."""
    inbox = stack.root / "var/inbox/people"
    command = [sys.executable, str(ROOT / FACES / "synthetic"), "--people", "30", "--photos", "3", "--dates", "2"]
    subprocess.run([*command, "--out", str(inbox)], check=True, capture_output=True)
    return stack.run("--params", f"{TINY} train.epochs=2", inbox="people", pipeline=FACES)


def test_every_stage_runs_and_leaves_report_and_model(stack: Stack, first: Run) -> None:
    assert first.verdicts == dict.fromkeys(STAGES, "ran")
    left = stack.root / "var/runs" / first.run_id
    assert (left / "models/model.onnx").stat().st_size > 100_000
    for page in ("report", "data"):
        assert "data:image" in (left / f"results/{page}.html").read_text()
    assert 10 <= first.record["metrics"]["data.identities"] <= 30
    assert first.record["models"] == {"face-embedder": "1"}
    assert first.record["decision"] == {"promote": True, "reason": "there is no champion to compare with"}
    assert _gate(stack, first) == "promoted"
    assert _champion(stack) == "1"
    for name in ("verification_accuracy", "pixels_accuracy", "untrained_accuracy"):
        assert 0 <= first.record["metrics"][name] <= 1


def test_mlflow_holds_curves_pictures_report_and_the_model_with_its_signature(stack: Stack, first: Run) -> None:
    import mlflow

    mlflow.set_tracking_uri(stack.env["REPRISE_MLFLOW"])
    client = mlflow.MlflowClient()
    run = client.get_run(first.record["mlflow"])
    assert "report/report.html" in [f.path for f in client.list_artifacts(run.info.run_id, "report")]
    stage = f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and attributes.run_name = 'train'"
    [train] = client.search_runs([run.info.experiment_id], stage)
    for curve in ("loss", "learning_rate", "gradient_norm"):
        assert len(client.get_metric_history(train.info.run_id, curve)) > 1, curve
    assert "live/batch.png" in [f.path for f in client.list_artifacts(train.info.run_id, "live")]
    signature = mlflow.models.get_model_info("models:/face-embedder/1").signature
    assert [t.shape for t in signature.inputs.inputs] == [(-1, 112, 112, 3)]
    assert client.get_model_version("face-embedder", "1").run_id == run.info.run_id


def test_the_data_of_a_run_are_shown_and_compared(stack: Stack, first: Run) -> None:
    stack.cli("gallery", "data/rejects/detect", "--run", first.run_id)
    (page,) = (stack.root / "var/pages").glob(f"gallery-{first.run_id}-data-rejects-detect=*.html")
    assert page.read_text().count("<figure>") >= 1
    same = stack.cli("datadiff", first.run_id, first.record["commit"][:12]).stdout
    assert "people added: 0\npeople removed: 0\n" in same


def test_a_training_parameter_runs_train_and_what_follows_and_the_rule_refuses_its_model(
    stack: Stack, first: Run, letters: Letters
) -> None:
    params = f"{TINY} train.epochs=2 train.seed=2 compare.min_gain=0.9"  # more than any model gains
    changed = stack.run("--params", params, inbox="people", pipeline=FACES)
    expected = {name: "cached" if name in STAGES[:8] else "ran" for name in STAGES}
    assert changed.verdicts == expected
    assert changed.record["models"] == {"face-embedder": "2"}
    assert changed.record["decision"]["promote"] is False
    assert _gate(stack, changed) == "refused"
    assert _champion(stack) == "1"
    pin = git.git(stack.root, "show", f"{changed.record['commit']}:{FACES}/champion/champion.json")
    assert json.loads(pin)["version"] == "1"
    [mail] = letters.about(f"faces: refused: {changed.run_id}")
    assert "0.9" in mail and changed.run_id in mail


def test_nothing_new_makes_no_model_and_moves_nothing(stack: Stack, first: Run) -> None:
    again = stack.run("--params", f"{TINY} train.epochs=2", inbox="people", pipeline=FACES)
    assert set(again.verdicts.values()) == {"cached"}
    assert again.record["models"] == {"face-embedder": "1"}
    assert _gate(stack, again) == "unchanged"
    assert _champion(stack) == "1"


def test_dvc_repro_at_the_record_gives_the_same_bytes(stack: Stack, first: Run, tmp_path: Path) -> None:
    """Without Airflow, in the stage image, with an empty cache of its own."""
    again = tmp_path / "again"
    git.clone(str(stack.root), again, first.record["commit"])
    command = [str(part) for part in (ROOT / "docker/dvc-repro", stack.root / "var/inbox/people", FACES, again)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in STAGES:
        assert f"Running stage '{FACES}/dvc.yaml:{stage}'" in done.stdout
    assert git.git(again, "diff", "--name-only", "HEAD") == "", "dvc.lock has other hashes than the record's"


def test_the_notebook_opens_the_run(stack: Stack, first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs on the run's own data and model, found by its id."""
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUN", first.run_id)
    notebook = nbformat.read(stack.root / "notebooks/explore.ipynb", as_version=4)
    where = {"metadata": {"path": str(stack.root / "notebooks")}}
    NotebookClient(notebook, timeout=120, resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = " ".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert first.run_id in text
    assert re.search(rf"^auc +{str(first.record['metrics']['auc'])[:6]}", text, re.MULTILINE)
    assert float(re.search(r"farthest from the embeddings that evaluate kept: (\S+)", text).group(1)) < 1e-4  # type: ignore[union-attr]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not list((stack.root / "var/work").glob("notebook-*")), "the files are removed with the kernel"


def _gate(stack: Stack, run: Run) -> str:
    return str(stack.airflow.xcom("faces", run.run_id, "gate")["verdict"])


def _champion(stack: Stack) -> str:
    """The version that MLflow's registry calls champion."""
    url = f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow/registered-models/alias"
    answer = requests.get(url, params={"name": "face-embedder", "alias": "champion"}, timeout=10)
    return str(answer.json()["model_version"]["version"])
