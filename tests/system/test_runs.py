"""The text pipeline through everything: Airflow, containers, DVC remote, MLflow, git."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from conftest import WORDS, Run, Stack, docker, until
from repository import commit

from reprise import git


def test_first_run_runs_every_stage(stack: Stack, first: Run) -> None:
    assert first.verdicts == {"take": "ran", "count": "ran", "rank": "ran"}
    assert first.record["metrics"] == {"texts": 2.0, "words": 6.0}
    top = (stack.root / "var/runs" / first.run_id / "results/top.csv").read_text()
    assert top.splitlines()[1:3] == ["0,dog,2", "1,the,2"]


def test_nothing_is_left_behind(stack: Stack, first: Run) -> None:
    assert stack.containers() == []
    work = stack.root / "var/work"
    assert [p for p in work.rglob("*") if p.is_file()] == []


def test_record_is_one_commit_on_the_revision_and_leaves_the_branch_alone(stack: Stack, first: Run) -> None:
    head = git.resolve(stack.root, "HEAD")
    commit = first.record["commit"]
    assert git.git(stack.root, "rev-parse", f"{commit}^") == head
    assert git.uncommitted(stack.root) == []
    changed = git.git(stack.root, "diff", "--name-only", head, commit).splitlines()
    assert changed == [f"{WORDS}/{name}" for name in ("dvc.lock", "run.json", "source.json")]
    about = json.loads(git.git(stack.root, "show", f"{commit}:{WORDS}/run.json"))
    assert about["mlflow_run"] == first.record["mlflow"]
    assert about["metrics"] == first.record["metrics"]
    lock = yaml.safe_load(git.git(stack.root, "show", f"{commit}:{WORDS}/dvc.lock"))
    assert set(lock["stages"]) == {"take", "count", "rank"}


def test_dvc_lists_the_run_as_an_experiment(stack: Stack, first: Run) -> None:
    dvc = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    shown = subprocess.run(dvc, cwd=stack.root, env=stack.env, capture_output=True, text=True, check=True).stdout
    [experiment] = [
        e for entry in json.loads(shown) for e in entry.get("experiments") or [] if e["name"] == first.run_id
    ]
    metrics = experiment["revs"][0]["data"]["metrics"]
    assert metrics[f"{WORDS}/results/metrics.json"]["data"] == {"texts": 2, "words": 6}


def test_mlflow_holds_the_run(stack: Stack, first: Run) -> None:
    api = f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow"
    run = requests.get(f"{api}/runs/get", params={"run_id": first.record["mlflow"]}, timeout=10).json()["run"]
    assert run["info"]["status"] == "FINISHED"
    tags = {t["key"]: t["value"] for t in run["data"]["tags"]}
    assert tags["commit"] == first.record["commit"]
    assert {p["key"]: p["value"] for p in run["data"]["params"]}["rank.top"] == "10"
    assert {m["key"]: m["value"] for m in run["data"]["metrics"]}["words"] == 6
    assert "data/texts" in {i["dataset"]["name"] for i in run["inputs"]["dataset_inputs"]}
    body = {
        "experiment_ids": [run["info"]["experiment_id"]],
        "filter": f"tags.`mlflow.parentRunId` = '{run['info']['run_id']}'",
    }
    children = requests.post(f"{api}/runs/search", json=body, timeout=10).json()["runs"]
    assert {c["info"]["run_name"]: c["info"]["status"] for c in children} == dict.fromkeys(
        ("take", "count", "rank"), "FINISHED"
    )
    ranked = next(c for c in children if c["info"]["run_name"] == "rank")
    live = {"run_id": ranked["info"]["run_id"], "metric_key": "count"}
    history = requests.get(f"{api}/metrics/get-history", params=live, timeout=10).json()["metrics"]
    assert [int(m["value"]) for m in sorted(history, key=lambda m: int(m.get("step", 0)))] == [2, 2, 1, 1]


def test_airflow_links_to_mlflow(stack: Stack, first: Run) -> None:
    links = stack.airflow.call("GET", f"dags/words/dagRuns/{first.run_id}/taskInstances/rank/links")["extra_links"]
    assert first.record["mlflow"] not in links["MLflow"]  # the stage's own run, not its parent
    assert links["MLflow"].startswith(stack.env["REPRISE_MLFLOW"])
    page = requests.get(f"{stack.env['REPRISE_AIRFLOW']}/reprise/mlflow/words/{first.run_id}", timeout=10).text
    assert f"/runs/{first.record['mlflow']}" in page


def test_unchanged_run_starts_no_container(stack: Stack, first: Run) -> None:
    since = int(time.time())
    again = stack.run()
    assert again.verdicts == dict.fromkeys(("take", "count", "rank"), "cached")
    assert _started_since(stack, since) == []
    assert again.record["metrics"] == first.record["metrics"]


def test_changed_parameter_runs_only_what_depends_on_it(stack: Stack, first: Run) -> None:
    changed = stack.run("--params", "rank.top=2")
    assert changed.verdicts == {"take": "cached", "count": "cached", "rank": "ran"}


def test_lost_cache_and_workspaces_come_back_from_the_remote(stack: Stack, first: Run) -> None:
    shutil.rmtree(stack.root / "var/work", ignore_errors=True)
    shutil.rmtree(stack.root / "var/cache")
    since = int(time.time())
    again = stack.run()
    assert set(again.verdicts.values()) == {"cached"}
    assert _started_since(stack, since) == []
    assert (stack.root / "var/runs" / again.run_id / "results/top.csv").exists()


def test_as_of_sees_only_what_had_arrived(stack: Stack) -> None:
    earlier = stack.run("--as-of", "2026-11-02")
    assert earlier.record["metrics"]["texts"] == 1.0


def test_killed_container_is_tried_again_and_leaves_nothing(stack: Stack) -> None:
    before = _checkpoints(stack)
    run_id = stack.start("kill", {"rank.seconds": 12})
    container = stack.wait_for_container(run_id)
    until(lambda: any((f / "tries").exists() for f in _checkpoints(stack) - before), 60, "the stage left a checkpoint")
    docker("kill", container)
    until(lambda: _rank(stack, run_id)["state"] != "running", 60, "the try ended")
    # The next one begins in five seconds: as on another node, which has the remote and nothing else.
    shutil.rmtree(stack.root / "var/checkpoints")
    shutil.rmtree(stack.root / "var/cache")
    assert stack.wait_for_end("words", run_id) == "success"
    assert _rank(stack, run_id)["try_number"] == 2
    parent = stack.airflow.xcom("words", run_id, "record")["mlflow"]
    assert _tries(stack, parent, "rank") == {"1": "KILLED", "2": "FINISHED"}
    said = "\n".join(stack.airflow.log("words", run_id, "rank", 2))
    assert "tried before: once" in said
    assert _checkpoints(stack) <= before  # gone with the stage's good end
    test_nothing_is_left_behind(stack, None)  # type: ignore[arg-type]


def test_cleared_task_starts_anew_without_overlap(stack: Stack) -> None:
    run_id = stack.start("clear", {"rank.seconds": 13})
    earlier = stack.wait_for_container(run_id)
    body = {"dry_run": False, "task_ids": ["rank"], "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
    stack.airflow.call("POST", "dags/words/clearTaskInstances", json=body)
    while earlier in stack.containers():
        time.sleep(0.2)
    stack.wait_for_container(run_id)
    assert len(stack.containers()) == 1
    assert stack.wait_for_end("words", run_id) == "success"
    test_nothing_is_left_behind(stack, None)  # type: ignore[arg-type]


def test_a_stage_added_to_dvc_yaml_is_in_the_dag(stack: Stack, first: Run) -> None:
    """No other file changes; the stages before it are not run again."""
    definition = stack.root / WORDS / "dvc.yaml"
    before = definition.read_text()
    definition.write_text(
        before
        + "  shout:\n    cmd: tr a-z A-Z < results/top.csv > loud.csv\n    deps: [results/top.csv]\n    outs: [loud.csv]\n"
    )
    commit(stack.root, "A stage")
    try:
        added = stack.run()
    finally:
        definition.write_text(before)
        commit(stack.root, "Without it")
    assert added.verdicts == {"take": "cached", "count": "cached", "rank": "cached", "shout": "ran"}
    assert added.stages["shout"]["entry"]["deps"][0]["md5"] == added.stages["rank"]["entry"]["outs"][0]["md5"]


def test_failing_stage_says_why_and_ends_its_mlflow_run(stack: Stack) -> None:
    done = stack.cli("run", "--pipeline", WORDS, "--inbox", str(stack.root / "var/inbox/broken"), check=False)
    assert done.returncode == 1
    assert "stage count failed with exit code 1" in " ".join(done.stdout.split())
    assert "UnicodeDecodeError" in done.stdout
    run_id = next(line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("run "))
    mlflow = stack.airflow.xcom("words", run_id, "open")["mlflow"]
    deadline = time.monotonic() + 30
    while (status := _mlflow_status(stack, mlflow)) == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert status == "FAILED"


@pytest.fixture(autouse=True, scope="module")
def _broken_inbox(stack: Stack) -> None:
    folder = stack.root / "var/inbox/broken/a"
    folder.mkdir(parents=True)
    (folder / "text.txt").write_bytes(b"\xff\xfe\xff")


def _rank(stack: Stack, run_id: str) -> dict[str, Any]:
    """The task instance of a run's ``rank`` stage."""
    return next(task for task in stack.airflow.tasks("words", run_id) if task["task_id"] == "rank")


def _tries(stack: Stack, parent: str, stage: str) -> dict[str, str]:
    """Try → how it ended in MLflow."""
    api = f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow"
    run = requests.get(f"{api}/runs/get", params={"run_id": parent}, timeout=10).json()["run"]
    wanted = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.run_name = '{stage}'"
    body = {"experiment_ids": [run["info"]["experiment_id"]], "filter": wanted}
    found = requests.post(f"{api}/runs/search", json=body, timeout=10).json()["runs"]
    tags = [({t["key"]: t["value"] for t in r["data"]["tags"]}, r["info"]["status"]) for r in found]
    return {tag["try"]: status for tag, status in tags}


def _mlflow_status(stack: Stack, run: str) -> str:
    url = f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow/runs/get"
    return str(requests.get(url, params={"run_id": run}, timeout=10).json()["run"]["info"]["status"])


def _started_since(stack: Stack, since: int) -> list[str]:
    label = f"label=reprise.stack={stack.root / 'var'}"
    now = str(int(time.time()) + 1)
    return docker(
        "events", "--since", str(since), "--until", now, "--filter", label, "--filter", "event=start"
    ).splitlines()


def _checkpoints(stack: Stack) -> set[Path]:
    """Folders of checkpoints on the node and in the remote."""
    places = (stack.root / "var/checkpoints", stack.root / "var/remote/checkpoints")
    return {folder for place in places for folder in place.glob("*")}
