"""What a person or an accident does to a run: it ends as expected, leaves nothing, and keeps what was finished."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, WORDS, Run, Stack, docker, until
from repository import commit

from reprise.machine.image import image_name


def tasks(stack: Stack, run_id: str) -> dict[str, tuple[str, int]]:
    """Task → its state and try."""
    return {t["task_id"]: (t["state"], t["try_number"]) for t in stack.airflow.tasks("words", run_id)}


def cancel(stack: Stack, run_id: str) -> None:
    """Mark a run failed, as a person would: once more where the scheduler, which cannot lock SQLite's rows, undid it."""

    def failed() -> bool:
        stack.airflow.call("PATCH", f"dags/words/dagRuns/{run_id}", json={"state": "failed"})
        time.sleep(1)
        return bool(stack.airflow.run("words", run_id)["state"] == "failed")

    until(failed, 10, "the run is marked failed")


def test_marked_and_cancelled_runs_leave_no_container_and_go_on_from_what_is_finished(stack: Stack, first: Run) -> None:
    """Two runs at once: in one the task is marked failed, the other is cancelled as a whole; then both are cleared."""
    marked = stack.start("marked", {"rank.seconds": 15})
    cancelled = stack.start("cancelled", {"rank.seconds": 16})
    for run_id in (marked, cancelled):
        stack.wait_for_container(run_id)
    path = f"dags/words/dagRuns/{marked}/taskInstances/rank"
    stack.airflow.call("PATCH", path, json={"new_state": "failed"})
    cancel(stack, cancelled)
    until(lambda: not stack.containers(), 30, "containers are gone")
    for run_id in (marked, cancelled):
        assert stack.wait_for_end("words", run_id) == "failed"
        found = tasks(stack, run_id)
        assert [found[name] for name in ("open", "take", "count")] == [("success", 1)] * 3
        assert found["rank"][0] == "failed"
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
        stack.airflow.call("POST", "dags/words/clearTaskInstances", json=body)
    for run_id in (marked, cancelled):
        assert stack.wait_for_end("words", run_id) == "success"
        found = tasks(stack, run_id)
        assert [found[name] for name in ("open", "take", "count")] == [("success", 1)] * 3
        assert found["rank"] == ("success", 2)
    assert stack.containers() == []


def test_orphans_are_found_by_their_labels_and_others_left_alone(stack: Stack, first: Run) -> None:
    mine, other = str(stack.root / "var"), "/somebody/elses/var"
    made = {}
    for stack_label in (mine, other):
        labels = {"stack": stack_label, "dag": "words", "run": first.run_id, "task": "rank", "try": "1"}
        given = [part for key, value in labels.items() for part in ("--label", f"reprise.{key}={value}")]
        made[stack_label] = docker("create", *given, image_name(ROOT), "true").strip()
    try:
        said = stack.cli("clean").stdout
        assert f"words {first.run_id}: try 1 of rank" in said
        left = docker("ps", "--all", "--quiet", "--no-trunc").split()
        assert made[mine] not in left
        assert made[other] in left
        assert "removed" not in stack.cli("clean").stdout
    finally:
        docker("rm", "--force", made[other])


@pytest.mark.long
def test_a_remote_that_is_away_for_a_moment_is_asked_again(stack: Stack, first: Run) -> None:
    """A file in its place: nobody, root included, can write below it. The push fails, the next try finishes."""
    run_id = stack.start("away", {"rank.seconds": 9})
    stack.wait_for_container(run_id)
    remote, kept = stack.root / "var/remote", stack.root / "var/remote.kept"
    remote.rename(kept)
    remote.touch()
    try:
        until(lambda: tasks(stack, run_id)["rank"][0] in ("up_for_retry", "failed"), 120, "the push is refused")
    finally:
        remote.unlink()
        kept.rename(remote)
    assert stack.wait_for_end("words", run_id) == "success"
    state, attempts = tasks(stack, run_id)["rank"]
    assert state == "success"
    assert attempts > 1
    assert "stage rank: dvc push" in "\n".join(stack.airflow.log("words", run_id, "rank", 1))


@pytest.mark.long
def test_a_killed_worker_is_noticed_within_a_minute_and_its_container_removed(stack: Stack, first: Run) -> None:
    run_id = stack.start("kill9", {"rank.seconds": 20})
    orphan = stack.wait_for_container(run_id)
    log = str(stack.root / f"var/logs/airflow/dag_id=words/run_id={run_id}/task_id=rank/attempt=1.log")
    for process in _writing(stack, log):
        process.kill()
    assert orphan in stack.containers()
    took = until(lambda: tasks(stack, run_id)["rank"] != ("running", 1), 75, "the loss is noticed")
    assert took < 60
    second = ""

    def retried() -> bool:
        nonlocal second
        second = next(iter(stack.containers()), "")
        return second not in ("", orphan)

    until(retried, 90, "the retry's container runs")
    assert orphan not in stack.containers()
    assert stack.wait_for_end("words", run_id) == "success"
    assert tasks(stack, run_id)["rank"] == ("success", 2)
    assert tasks(stack, run_id)["count"] == ("success", 1)
    assert stack.containers() == []


@pytest.mark.long
def test_a_million_lines_do_not_fill_the_workers_memory(stack: Stack, first: Run) -> None:
    definition = stack.root / WORDS / "dvc.yaml"
    before = definition.read_text()
    spam = "  spam:\n    cmd: seq 1000000 && echo done > spam.txt\n    deps: [results/top.csv]\n    outs: [spam.txt]\n"
    definition.write_text(before + spam)
    commit(stack.root, "A stage that talks")
    peaks: dict[int, int] = {}
    try:
        with ThreadPoolExecutor() as pool:
            talking = pool.submit(stack.run)
            while not talking.done():
                _watch(stack, peaks)
                time.sleep(1)
        done = talking.result()
    finally:
        definition.write_text(before)
        commit(stack.root, "Without it")
    lines = stack.root / f"var/logs/airflow/dag_id=words/run_id={done.run_id}/task_id=spam/attempt=1.log"
    with lines.open() as log:
        assert sum('"event":"1' in line for line in log) > 100_000
    assert peaks
    assert max(peaks.values()) < 600 * 1024**2


def _watch(stack: Stack, peaks: dict[int, int]) -> None:
    """Note the largest resident size, in bytes, of each process of the ``spam`` task."""
    found = list((stack.root / "var/logs/airflow/dag_id=words").glob("*/task_id=spam/attempt=1.log"))
    try:
        for process in _writing(stack, str(found[-1])) if found else ():
            peaks[process.pid] = max(peaks.get(process.pid, 0), process.memory_info().rss)
    except (AssertionError, psutil.Error):  # not yet, or over
        pass


def _writing(stack: Stack, log: str) -> list[psutil.Process]:
    """The process that writes a task's log, and those below it: the task's whole tree."""
    for process in psutil.process_iter():
        try:
            if any(Path(file.path) == Path(log) for file in process.open_files()):
                return [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    raise AssertionError(f"nobody writes {log}")
