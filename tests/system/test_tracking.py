"""What MLflow, TensorBoard and the command line know of a run, also where MLflow was away in its middle."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import WORDS, Run, Stack

from reprise import git
from reprise.machine import services
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker, bare_heading
from reprise.tracking.points import Point


def mlflow(stack: Stack, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request to the stack's MLflow."""
    given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
    answer = requests.request(method, f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow/{path}", timeout=30, **given)
    answer.raise_for_status()
    return answer.json()


def run_info(stack: Stack, run: str) -> dict[str, Any]:
    return mlflow(stack, "GET", "runs/get", {"run_id": run})["run"]


def history(stack: Stack, run: str, name: str) -> list[dict[str, Any]]:
    """Every point of a metric, by step."""
    found = mlflow(stack, "GET", "metrics/get-history", {"run_id": run, "metric_key": name}).get("metrics", [])
    return sorted(found, key=lambda m: int(m.get("step", 0)))


def child(stack: Stack, parent: str, stage: str) -> dict[str, Any]:
    """The newest run of a stage."""
    body = {
        "experiment_ids": [run_info(stack, parent)["info"]["experiment_id"]],
        "filter": f"tags.`mlflow.parentRunId` = '{parent}' and attributes.run_name = '{stage}'",
    }
    return mlflow(stack, "POST", "runs/search", body)["runs"][0]


@pytest.fixture(scope="module")
def survivor(stack: Stack) -> tuple[Run, dict[str, Path]]:
    """A run in whose middle MLflow was stopped, and started again after its end; with what was left unsent then."""
    run_id = "words-survivor"
    stack.start(run_id, {"rank.seconds": 8})
    parent = wait(lambda: (stack.airflow.xcom("words", run_id, "open") or {}).get("mlflow"))
    wait(lambda: history(stack, parent, "rank/count"))  # live, and not all of it yet
    with mlflow_stopped(stack):
        assert stack.wait_for_end("words", run_id) == "success"
        left = {folder.name.split("-", 1)[1]: folder for folder in (stack.root / "var/unsent/words" / run_id).iterdir()}
    stack.cli("up")
    return stack.read("words", f"run {run_id}:"), left


@contextmanager
def mlflow_stopped(stack: Stack) -> Iterator[None]:
    """Without MLflow's server; afterwards it is starting."""
    settings = Settings(var=stack.root / "var", mlflow=stack.env["REPRISE_MLFLOW"])
    services._control(settings, "stop", "mlflow")
    try:
        yield
    finally:
        services._control(settings, "start", "mlflow")


def wait(question: Any, seconds: float = 120) -> Any:
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.3)
    raise AssertionError(f"nothing after {seconds} s")


def test_what_mlflow_missed_is_sent_once_with_its_own_time(stack: Stack, survivor: tuple[Run, dict[str, Path]]) -> None:
    run, left = survivor
    assert set(left) == {"rank", "run"}
    assert not list((stack.root / "var/unsent").glob("*"))
    parent = run.record["mlflow"]
    rank = child(stack, parent, "rank")
    for points in (history(stack, parent, "rank/count"), history(stack, rank["info"]["run_id"], "count")):
        assert [(int(p.get("step", 0)), p["value"]) for p in points] == [(0, 2), (1, 2), (2, 1), (3, 1)]
        times = [int(p["timestamp"]) for p in points]
        assert all(1990 < later - earlier < 5000 for earlier, later in zip(times, times[1:], strict=False)), times


def test_a_run_that_ended_while_mlflow_was_away_ends_there_too(
    stack: Stack, survivor: tuple[Run, dict[str, Path]]
) -> None:
    run, _ = survivor
    found = run_info(stack, run.record["mlflow"])
    assert found["info"]["status"] == "FINISHED"
    tags = {t["key"]: t["value"] for t in found["data"]["tags"]}
    assert tags["commit"] == run.record["commit"]
    assert {m["key"]: m["value"] for m in found["data"]["metrics"]}["words"] == 6
    rank = child(stack, run.record["mlflow"], "rank")
    assert rank["info"]["status"] == "FINISHED"
    assert int(rank["info"]["end_time"]) < int(found["info"]["end_time"])


def test_mlflow_knows_what_the_run_was_made_of(stack: Stack, survivor: tuple[Run, dict[str, Path]]) -> None:
    run, _ = survivor
    found = run_info(stack, run.record["mlflow"])
    tags = {t["key"]: t["value"] for t in found["data"]["tags"]}
    opened = stack.airflow.xcom("words", run.run_id, "open")
    assert (tags["dag"], tags["run_id"], tags["revision"]) == ("words", run.run_id, opened["revision"])
    assert tags["image"].endswith(opened["image_id"]) and opened["image_id"]
    assert tags["run_type"] == "manual" and "logical_date" not in tags
    data = {i["dataset"]["name"]: json.loads(i["dataset"]["source"])["md5"] for i in found["inputs"]["dataset_inputs"]}
    assert data["results/top.csv"] == run.stages["rank"]["entry"]["outs"][0]["md5"]
    assert artifacts(stack, run.record["mlflow"], "plots") == ["plots/top.csv"]


def artifacts(stack: Stack, run: str, path: str) -> list[str]:
    body = {"run_id": run, "path": path}
    return [f["path"] for f in mlflow(stack, "GET", "artifacts/list", body).get("files", [])]


def test_the_containers_load_and_pictures_are_there(stack: Stack, survivor: tuple[Run, dict[str, Path]]) -> None:
    rank = child(stack, survivor[0].record["mlflow"], "rank")["info"]["run_id"]
    memory = [m["value"] for m in history(stack, rank, "system/memory_mib")]
    assert memory and 1 < max(memory) < 500
    assert history(stack, rank, "system/cpu_percent")
    assert artifacts(stack, rank, "live") == ["live/dot.png"]


def test_a_running_stages_picture_is_on_the_runs_page(stack: Stack) -> None:
    stack.start("words-pictures", {"rank.seconds": 9})
    page = f"{stack.env['REPRISE_AIRFLOW']}/reprise/runs/words/words-pictures/live"
    wait(lambda: "/live/rank/dot.png" in requests.get(page, timeout=30).text)
    assert requests.get(f"{page}/rank/dot.png", timeout=30).content.startswith(b"\x89PNG")
    assert stack.wait_for_end("words", "words-pictures") == "success"
    assert "no stage runs" in requests.get(page, timeout=30).text
    assert requests.get(f"{page}/rank/dot.png", timeout=30).status_code == 404


def test_tensorboard_shows_the_same_points(stack: Stack, survivor: tuple[Run, dict[str, Path]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = survivor
    rank = child(stack, run.record["mlflow"], "rank")["info"]["run_id"]
    points = history(stack, rank, "count")
    folder = stack.root / "var/tensorboard/words" / run.run_id / "rank"
    shown = EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value, round(e.wall_time * 1000)) for e in shown.Scalars("count")] == [
        (int(p.get("step", 0)), p["value"], int(p["timestamp"])) for p in points
    ]
    assert [p.split("/")[-1] for p in artifacts(stack, rank, "tensorboard/rank")] == [
        file.name for file in folder.iterdir()
    ]


def test_make_tensorboard_serves_the_runs_until_ctrl_c(stack: Stack, survivor: tuple[Run, dict[str, Path]]) -> None:
    url = stack.env["REPRISE_TENSORBOARD"]
    command = [sys.executable, "-m", "reprise", "tensorboard"]
    with subprocess.Popen(
        command,
        cwd=stack.root,
        env=stack.env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    ) as process:
        try:
            tags = wait(lambda: scalar_tags(url))
        finally:
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
    assert tags[f"words/{survivor[0].run_id}/rank"].keys() == {"count"}
    assert f"TensorBoard: {url}" in said and "stopped" in said
    assert process.returncode == 0


def scalar_tags(url: str) -> Any:
    """Run → curves, as TensorBoard shows them; None until it answers."""
    try:
        return requests.get(f"{url}/data/plugin/scalars/tags", timeout=5).json()
    except (requests.RequestException, ValueError):
        return None


@pytest.fixture(scope="module")
def other(stack: Stack) -> Run:
    """A run with less data and another parameter than the survivor."""
    return stack.run("--as-of", "2026-11-02")


def test_dvc_compares_two_records(stack: Stack, survivor: tuple[Run, dict[str, Path]], other: Run) -> None:
    run, _ = survivor
    dvc = [sys.executable, "-m", "dvc"]
    revisions = [run.record["commit"], other.record["commit"]]

    def said(*args: str) -> str:
        return subprocess.run(
            [*dvc, *args], cwd=stack.root, env=stack.env, capture_output=True, text=True, check=True
        ).stdout

    differ = json.loads(said("metrics", "diff", "--json", *revisions))
    assert differ[f"{WORDS}/results/metrics.json"] == {
        "texts": {"old": 2, "new": 1, "diff": -1},
        "words": {"old": 6, "new": 4, "diff": -2},
    }
    plots = json.loads(said("plots", "diff", "--json", "--split", *revisions))
    drawn = json.dumps(plots)
    assert "top.csv" in drawn and all(revision[:7] in drawn for revision in revisions)


def test_compare_shows_what_differs(stack: Stack, survivor: tuple[Run, dict[str, Path]], other: Run) -> None:
    run, _ = survivor
    said = stack.cli("compare", f"{run.run_id} {other.run_id}").stdout
    assert "rank.seconds" in said and "rank.top" not in said
    assert "results/top.csv" in said and "1 dates, 1 files" in said and "4 (-2)" in said
    page = (stack.root / said.split()[-1]).read_text()
    assert "<svg" in page and run.run_id in page and "no plots of" not in page
    refused = stack.cli("compare", run.run_id, "words-survivors", check=False)
    assert refused.returncode == 1
    assert "did you mean words-survivor" in refused.stdout and "make status" in refused.stdout


@pytest.mark.long
def test_mlflow_away_from_the_start_and_wandb_offline(stack: Stack) -> None:
    """The services start again with W&B asked for; then MLflow goes before the run is opened and comes after its end."""
    stack.cli("down")
    asking = Stack(stack.root, {**stack.env, "WANDB_MODE": "offline"})
    asking.cli("up")
    try:
        with mlflow_stopped(stack):
            stack.start("words-unopened", {"rank.top": 4})
            assert stack.wait_for_end("words", "words-unopened") == "success"
        run = stack.read("words", "run words-unopened:")
        assert run.record["mlflow"] is None
    finally:
        stack.cli("down")
        stack.cli("up")
    page = requests.get(f"{stack.env['REPRISE_AIRFLOW']}/reprise/mlflow/words/{run.run_id}", timeout=10).text
    found = run_info(stack, page.split("/runs/")[1].split('"')[0])
    tags = {t["key"]: t["value"] for t in found["data"]["tags"]}
    assert (found["info"]["status"], tags["commit"]) == ("FINISHED", run.record["commit"])
    assert {p["key"]: p["value"] for p in found["data"]["params"]}["rank.top"] == "4"
    assert len(history(stack, found["info"]["run_id"], "rank/count")) == 4
    about = json.loads(git.git(stack.root, "show", f"{run.record['commit']}:{WORDS}/run.json"))
    assert tags["wandb"] == about["wandb"]["run"] == run.record["wandb"]
    assert about["wandb"]["stages"].keys() == {"rank"}
    files = {file.name for file in (stack.root / "var/wandb").rglob("*.wandb")}
    assert files == {f"run-{run}.wandb" for run in (about["wandb"]["run"], about["wandb"]["stages"]["rank"])}


def test_mlflow_keeps_one_of_equal_points_and_takes_what_is_no_number(stack: Stack) -> None:
    """What sending again relies on."""
    tracker = Tracker(stack.env["REPRISE_MLFLOW"])
    run = tracker.dag_run(bare_heading("scratch", "scratch", "points"))
    points = [Point("loss", value, step, 1000 + step) for step, value in enumerate([0.5, nan, inf, -inf, 0.5])]
    tracker.metrics(run, points)
    tracker.metrics(run, points[2:])
    kept = [m["value"] for m in history(stack, run, "loss")]
    assert len(kept) == 5
    assert (kept[0], kept[1], kept[4]) == (0.5, "NaN", 0.5) and kept[2] > 1e300 and kept[3] < -1e300
    assert tracker.dag_run(bare_heading("scratch", "scratch", "points")) == run
