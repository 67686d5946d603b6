"""One user's week with a pipeline, in order, in a real browser where there is one thing to click.

Form → run → links → clear → cancel → backfill of four dates → a schedule with nothing new. Each step has tests of its
own beside this one; here they meet in one DAG, each finding what the one before left.
"""

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from browser import open_form, without_chromium
from conftest import Stack, until
from playwright.sync_api import Page, expect
from repository import commit

from reprise import git
from reprise.run import records

pytestmark = [pytest.mark.long, without_chromium]

DATES = ("2026-11-01", "2026-11-08", "2026-11-15", "2026-11-22")
"""Sundays on which something arrived; each week's run, named after the Monday that ends it, sees one more."""
ENDS = ("2026-11-02", "2026-11-09", "2026-11-16", "2026-11-23")
DAG = '''"""Texts, weekly."""

import os

from reprise.dag.render import pipeline_dag

{before}dag = pipeline_dag("pipelines/journey", schedule="{cron}")
'''
BY_ITSELF = 'os.environ.update(REPRISE_SCHEDULE="on", REPRISE_INBOX={inbox!r})\n'


@pytest.fixture(scope="module")
def journey(stack: Stack) -> Iterator[Stack]:
    """The stack with a pipeline of its own for this journey, and an inbox of four dates."""
    shutil.copytree(stack.root / "pipelines/words", stack.root / "pipelines/journey")
    for number, date in enumerate(DATES):
        folder = stack.root / "var/inbox/journey" / date / "a"
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text(f"one week more, number {number}")
    _write_dag(stack, "0 0 * * 1", "")
    yield stack
    stack.airflow.call("PATCH", "dags/journey", json={"is_paused": True})
    (stack.root / "dags/journey.py").unlink()
    commit(stack.root, "The journey is over")


def _write_dag(stack: Stack, cron: str, before: str) -> None:
    (stack.root / "dags/journey.py").write_text(DAG.format(cron=cron, before=before))
    commit(stack.root, f"The journey runs by {cron}")
    stack.cli("airflow", "dags", "reserialize")


def test_a_week_with_a_pipeline(journey: Stack, page: Page) -> None:
    run_id = _fill_in_the_form(journey, page)
    _follow_the_links(journey, page, run_id)
    _clear(journey, page, run_id)
    _cancel(journey, page)
    _backfill(journey)
    _schedule(journey)


def _fill_in_the_form(stack: Stack, page: Page) -> str:
    open_form(stack.env["REPRISE_AIRFLOW"], page, "journey")
    page.locator("#element_inbox").fill(str(stack.root / "var/inbox/journey"))
    page.get_by_role("button", name="rank", exact=True).click()
    page.locator("[name='element_rank.top']").fill("3")
    page.get_by_role("dialog").get_by_role("button", name="Trigger").press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    [run] = stack.airflow.call("GET", "dags/journey/dagRuns")["dag_runs"]
    assert stack.wait_for_end("journey", run["dag_run_id"]) == "success"
    recorded = stack.airflow.xcom("journey", run["dag_run_id"], "record")["commit"]
    assert list(records.find(str(stack.root), recorded).listing) == list(DATES)
    return str(run["dag_run_id"])


def _follow_the_links(stack: Stack, page: Page, run_id: str) -> None:
    """From the run to our page with its report, and from a task to its MLflow run and record."""
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/journey/runs/{run_id}")
    page.get_by_role("link", name="Reprise").first.click()
    ours = page.frame_locator("iframe[title=Reprise]")
    expect(ours.get_by_role("heading", name=run_id)).to_be_visible()
    report = ours.frame_locator("iframe[title=report]")
    expect(report.get_by_role("heading", name="Most frequent words")).to_be_visible()
    links = stack.airflow.call("GET", f"dags/journey/dagRuns/{run_id}/taskInstances/rank/links")["extra_links"]
    assert {"MLflow", "Data", "Record", "Report"} <= set(links)
    for name, url in links.items():
        assert page.request.get(url).ok, f"{name}: {url}"
    page.goto(links["MLflow"])  # its page is made in the browser: what the server answers says nothing
    expect(page.get_by_text("rank", exact=True).first).to_be_visible()


def _clear(stack: Stack, page: Page, run_id: str) -> None:
    """One stage cleared in the UI: it is looked at again, what came before is not, the record stays the same."""
    before = stack.airflow.xcom("journey", run_id, "record")["commit"]
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/journey/runs/{run_id}/tasks/rank")
    page.get_by_role("button", name="Press shift+c to clear").click()
    page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    until(lambda: _tries(stack, run_id)["rank"] == 2, 60, "a second try of rank")
    assert stack.wait_for_end("journey", run_id) == "success"
    assert _tries(stack, run_id) == {"open": 1, "take": 1, "count": 1, "rank": 2, "record": 2}
    assert stack.airflow.xcom("journey", run_id, "record")["commit"] == before


def _cancel(stack: Stack, page: Page) -> None:
    """A run marked failed in the UI in the middle of a stage: its container goes, and our page says how far it came."""
    conf = {"rank.seconds": 90, "inbox": str(stack.root / "var/inbox/journey"), "revision": "HEAD"}
    stack.airflow.trigger("journey", "cancelled", conf)
    stack.wait_for_container("cancelled")
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/journey/runs/cancelled")
    page.get_by_role("button", name=re.compile("Mark .*Run as")).click()
    page.get_by_role("menuitem", name="Failed").click()
    page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    until(lambda: not stack.containers(), 60, "the container is gone")
    assert stack.wait_for_end("journey", "cancelled") == "failed"
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/reprise/runs/journey/cancelled")
    for stage, verdict in (("count", "cached"), ("rank", "failed")):
        row = page.locator("tr", has=page.get_by_role("link", name=stage, exact=True)).first
        expect(row).to_contain_text(verdict)


def _backfill(stack: Stack) -> None:
    """Airflow's own command for the four weeks: each sees what had arrived by its end."""
    dates = ("--from-date", "2026-10-26", "--to-date", "2026-11-16")
    conf = json.dumps({"inbox": str(stack.root / "var/inbox/journey"), "revision": git.resolve(stack.root, "HEAD")})
    stack.cli("airflow", "backfill", "create", "--dag-id", "journey", *dates, "--dag-run-conf", conf)
    for number, end in enumerate(ENDS, start=1):
        assert stack.wait_for_end("journey", f"backfill__{end}T00:00:00+00:00") == "success"
        record = records.find(str(stack.root), records.ref_name("pipelines/journey", f"backfill__{end}T00:00:00+00:00"))
        assert list(record.listing) == list(DATES[:number])


def _schedule(stack: Stack) -> None:
    """The same DAG every minute, by itself: all is known, no stage runs, no new record's data."""
    known = stack.airflow.xcom("journey", f"backfill__{ENDS[-1]}T00:00:00+00:00", "rank")["entry"]["outs"]
    _write_dag(stack, "* * * * *", BY_ITSELF.format(inbox=str(stack.root / "var/inbox/journey")))
    until(lambda: len(_scheduled(stack)) > 0, 180, "a scheduled run")
    run = _scheduled(stack)[0]
    assert run["state"] == "success"
    verdicts = {s: stack.airflow.xcom("journey", run["dag_run_id"], s)["verdict"] for s in ("take", "count", "rank")}
    assert verdicts == {"take": "cached", "count": "cached", "rank": "cached"}
    assert stack.airflow.xcom("journey", run["dag_run_id"], "rank")["entry"]["outs"] == known
    assert "nothing new" in "\n".join(stack.airflow.log("journey", run["dag_run_id"], "open", 1))
    assert run["duration"] < 60


def _scheduled(stack: Stack) -> list[dict[str, Any]]:
    wanted = {"run_type": "scheduled", "order_by": "run_after"}
    runs = stack.airflow.call("GET", "dags/journey/dagRuns", params=wanted)["dag_runs"]
    return [run for run in runs if run["state"] in ("success", "failed")]


def _tries(stack: Stack, run_id: str) -> dict[str, int]:
    return {task["task_id"]: task["try_number"] for task in stack.airflow.tasks("journey", run_id)}
