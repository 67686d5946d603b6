"""Runs that start by themselves: a schedule with nothing new, an inbox with something new, and who is told."""

import shutil
from collections.abc import Iterator

import pytest
from conftest import Stack, until
from letters import Letters
from repository import commit

pytestmark = pytest.mark.long

TICKING = '''"""Texts, every minute."""

import os

os.environ["REPRISE_INBOX"] = {inbox!r}
os.environ["REPRISE_SCHEDULE"] = "on"
from reprise.dag.notify import mail
from reprise.dag.render import pipeline_dag

dag = pipeline_dag("pipelines/ticking", schedule="* * * * *", notify=[mail("team@example.org")])
del os.environ["REPRISE_SCHEDULE"]
'''
WATCHED = '''"""Texts, when there are new ones."""

import os

os.environ["REPRISE_INBOX"] = {inbox!r}
from reprise.dag.render import pipeline_dag
from reprise.dag.schedule import when_new_data

dag = pipeline_dag("pipelines/watched", schedule=when_new_data(at_most="daily"))
'''


@pytest.fixture(scope="module")
def running(stack: Stack) -> Iterator[None]:
    """Both DAGs, as a user would add them; Airflow is asked to look at once."""
    for name, text in (("ticking", TICKING), ("watched", WATCHED)):
        shutil.copytree(stack.root / "pipelines/words", stack.root / "pipelines" / name)
        inbox = stack.root / "var/inbox" / name
        _arrive(stack, name, "2026-11-01", f"{name} is new")
        (stack.root / f"dags/{name}.py").write_text(text.format(inbox=str(inbox)))
    commit(stack.root, "Two pipelines that run by themselves")
    stack.cli("airflow", "dags", "reserialize")
    yield
    for name in ("ticking", "watched"):
        stack.airflow.call("PATCH", f"dags/{name}", json={"is_paused": True})
        (stack.root / f"dags/{name}.py").unlink()
    commit(stack.root, "Without them")


def _arrive(stack: Stack, inbox: str, date: str, text: str) -> None:
    folder = stack.root / "var/inbox" / inbox / date / "a"
    folder.mkdir(parents=True)
    (folder / "text.txt").write_text(text)


def _ended(stack: Stack, dag_id: str, kind: str) -> list[dict]:
    wanted = {"run_type": kind, "order_by": "run_after"}
    runs = stack.airflow.call("GET", f"dags/{dag_id}/dagRuns", params=wanted)["dag_runs"]
    return [run for run in runs if run["state"] in ("success", "failed")]


def test_a_scheduled_run_with_nothing_new_ends_in_seconds(stack: Stack, running: None, letters: Letters) -> None:
    until(lambda: len(_ended(stack, "ticking", "scheduled")) >= 3, 300, "three scheduled runs")
    runs = _ended(stack, "ticking", "scheduled")
    assert {run["state"] for run in runs} == {"success"}
    stages = ("take", "count", "rank")
    verdicts = [[stack.airflow.xcom("ticking", r["dag_run_id"], s)["verdict"] for s in stages] for r in runs]
    assert verdicts[0] != ["cached"] * 3 and verdicts[-1] == ["cached"] * 3
    last = runs[-1]
    said = "\n".join(stack.airflow.log("ticking", last["dag_run_id"], "open", 1))
    assert "nothing new: every stage's result is known" in said
    opened = stack.airflow.xcom("ticking", last["dag_run_id"], "open")
    assert opened["as_of"][:16] == last["data_interval_end"][:16]
    assert last["duration"] < runs[0]["duration"]
    for run, verdict in zip(runs, verdicts, strict=True):
        told = letters.about(f"ticking: success: {run['dag_run_id']}")
        assert len(told) == (verdict != ["cached"] * 3), "nothing new is no news"
    assert "ran: take, count, rank" in letters.about(f"ticking: success: {runs[0]['dag_run_id']}")[0]


def test_a_failed_run_is_told_of(stack: Stack, running: None, letters: Letters) -> None:
    stack.airflow.trigger("ticking", "doomed", {"revision": "nowhere"})
    until(lambda: stack.airflow.run("ticking", "doomed")["state"] == "failed", 300, "the failure")
    until(lambda: bool(letters.about("ticking: failure: doomed")), 60, "a mail")
    [text] = letters.about("ticking: failure: doomed")
    assert "/dags/ticking/runs/doomed" in text


def test_new_data_starts_a_run_and_nothing_new_does_not(stack: Stack, running: None) -> None:
    def look(name: str) -> str:
        stack.airflow.trigger("watched-inbox", name, {})
        until(lambda: stack.airflow.run("watched-inbox", name)["state"] == "success", 300, "a look")
        [task] = stack.airflow.tasks("watched-inbox", name)
        return str(task["state"])

    assert look("first") == "success"
    until(lambda: len(_ended(stack, "watched", "asset_triggered")) == 1, 300, "the run of what is new")
    assert look("second") == "skipped"
    _arrive(stack, "watched", "2026-11-08", "and more")
    assert look("third") == "success"
    until(lambda: len(_ended(stack, "watched", "asset_triggered")) == 2, 300, "the run of what is new")
    texts = [
        stack.airflow.xcom("watched", run["dag_run_id"], "record")["metrics"]["texts"]
        for run in _ended(stack, "watched", "asset_triggered")
    ]
    assert texts == [1, 2]
    wanted = {"source_dag_id": "watched-inbox", "source_run_id": "third"}
    [event] = stack.airflow.call("GET", "assets/events", params=wanted)["asset_events"]
    assert event["name"] == "watched/inbox"
    assert event["extra"]["new"] == ["2026-11-08"]
