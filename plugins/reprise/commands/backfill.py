"""Runs of past dates: Airflow makes, limits and cancels them; this asks for them, follows and tells.

A date's run sees what had arrived by the end of its data interval and runs the revision that was pinned here.
"""

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reprise.airflow_api import Airflow
from reprise.commands.follow import waits
from reprise.errors import BadInput, RepriseError

_POLL_SECONDS = 1.0
_POLLS_TO_PAUSED = 10
"""How many polls lie between two questions whether the DAG was paused meanwhile."""
_ENDED = ("success", "failed")
AGAIN = {"": "none", "failed": "failed", "all": "completed"}
"""What is done with a date that has been run: nothing, run it again where it failed, run it again."""


@dataclass(frozen=True)
class Dates:
    """What a backfill asks for."""

    dag_id: str
    first: dt.datetime
    """The first date, that is: the earliest start of a data interval."""
    last: dt.datetime
    conf: Mapping[str, Any] = field(default_factory=dict)
    """As of any run: revision, inbox, parameters."""
    again: str = ""
    parallel: int = 2
    backward: bool = False

    def body(self) -> dict[str, Any]:
        """As Airflow's REST API takes it."""
        if self.again not in AGAIN:
            raise BadInput(
                f"dates cannot be run again {self.again!r}", f"AGAIN={' or AGAIN='.join(filter(None, AGAIN))}"
            )
        return {
            "dag_id": self.dag_id,
            "from_date": self.first.isoformat(),
            "to_date": self.last.isoformat(),
            "dag_run_conf": dict(self.conf),
            "reprocess_behavior": AGAIN[self.again],
            "max_active_runs": self.parallel,
            "run_backwards": self.backward,
        }


def dry_run(airflow: Airflow, dates: Dates) -> list[str]:
    """The dates that would be run, in their order."""
    answer = _ask(airflow, "backfills/dry_run", dates)
    return [run["logical_date"] for run in answer["backfills"]]


def nothing(airflow: Airflow, dates: Dates) -> str:
    """Why a dry run names no date, and the next command."""
    span = f"FROM={dates.first.date()} TO={dates.last.date()}"
    there = dry_run(airflow, replace(dates, again="all"))
    if there:
        left = ", and none is left that failed" if dates.again == "failed" else ""
        return (
            f"all {len(there)} of {dates.dag_id} in {span} have been run{left}\n  next: make backfill {span} AGAIN=all"
        )
    cron = airflow.call("GET", f"dags/{quote(dates.dag_id)}")["timetable_summary"]
    wider = f"FROM={(dates.first - dt.timedelta(days=31)).date()} TO={dates.last.date()}"
    why = f"the schedule of {dates.dag_id} ({cron}) has none in {span} whose data interval has ended"
    return f"{why}\n  next: make backfill {wider} DRY=1"


def start(airflow: Airflow, dates: Dates) -> int:
    """Make the backfill, whose runs are there then; returns its number.

    :raises BadInput: where Airflow refuses: no periodic schedule, dates in the future, another backfill runs.
    """
    _settle(airflow, dates.dag_id)
    return int(_ask(airflow, "backfills", dates)["id"])


def _settle(airflow: Airflow, dag_id: str, seconds: float = 60) -> None:
    """Wait for Airflow to notice, up to half a minute late, that an earlier backfill has ended: it refuses another."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        backfills = airflow.every("backfills", "backfills", {"dag_id": dag_id})
        busy = {"run_type": "backfill", "state": ["queued", "running"], "limit": 1}
        if (
            all(b["completed_at"] for b in backfills)
            or airflow.call("GET", f"dags/{quote(dag_id)}/dagRuns", params=busy)["dag_runs"]
        ):
            return
        time.sleep(_POLL_SECONDS)


def _ask(airflow: Airflow, path: str, dates: Dates) -> Any:
    try:
        return airflow.call("POST", path, json=dates.body())
    except RepriseError as error:
        said = error.problem.split(": ", 1)[-1]
        if "periodic" in said:
            raise BadInput(f"{dates.dag_id} has no dates", f"give dags/{dates.dag_id}.py a schedule: a cron") from error
        if "running backfill" in said or "another backfill" in said.lower():
            fix = f"wait for it, or cancel it: {airflow.url}/dags/{dates.dag_id}/backfills"
            raise BadInput(f"a backfill of {dates.dag_id} is running, there can be one", fix) from error
        raise BadInput(f"backfill of {dates.dag_id}: {said}", "make backfill FROM=DATE TO=DATE DRY=1") from error


def runs(airflow: Airflow, dates: Dates) -> list[dict[str, Any]]:
    """The runs of these dates, however they were started, in the order of their dates."""
    wanted = {
        "logical_date_gte": dates.first.isoformat(),
        "logical_date_lte": dates.last.isoformat(),
        "order_by": "logical_date",
    }
    return airflow.every(f"dags/{quote(dates.dag_id)}/dagRuns", "dag_runs", wanted)


def follow(airflow: Airflow, dates: Dates, console: Console) -> list[dict[str, Any]]:
    """Print a line as each run starts and ends, until all have ended; returns the dates' runs."""
    shown: dict[str, str] = {}
    polls, paused = 0, False
    while True:
        found = runs(airflow, dates)
        for run in found:
            state = run["state"]
            if shown.get(run["dag_run_id"]) != state and (run["dag_run_id"] in shown or state not in _ENDED):
                took = f" in {run['duration']:.0f} s" if state in _ENDED and run["duration"] else ""
                console.print(f"  {run['logical_date'][:10]}  {state}{took}")
            shown[run["dag_run_id"]] = state
        if all(run["state"] in _ENDED for run in found):
            return found
        polls += 1
        if not paused and polls % _POLLS_TO_PAUSED == 0 and airflow.paused(dates.dag_id):
            console.print(f"  {waits(dates.dag_id)}")
            paused = True
        time.sleep(_POLL_SECONDS)


def table(airflow: Airflow, found: list[dict[str, Any]]) -> Table:
    """Each date, what it saw and how it ended."""
    shown = Table(
        box=SIMPLE_HEAD, padding=0, caption="before: it sees what had arrived by then", caption_justify="left"
    )
    for column in ("date", "before", "run", "state", "ran", "cached"):  # an id of 36 letters fits into 80 columns
        shown.add_column(column, overflow="fold", justify="right" if column in ("ran", "cached") else "left")
    for run in found:
        dag_id, run_id = run["dag_id"], run["dag_run_id"]
        done = [airflow.xcom(dag_id, run_id, task["task_id"]) for task in airflow.tasks(dag_id, run_id)]
        verdicts = [one["verdict"] for one in done if isinstance(one, dict) and "entry" in one]
        shown.add_row(
            run["logical_date"][:10],
            run["data_interval_end"][:16].replace("T", " ").removesuffix(" 00:00"),
            run_id,
            run["state"],
            str(verdicts.count("ran")),
            str(verdicts.count("cached")),
        )
    return shown


def failed(dates: Dates, found: list[dict[str, Any]]) -> RepriseError | None:
    """The error that names the dates that failed, where some did."""
    wrong = [run["logical_date"][:10] for run in found if run["state"] == "failed"]
    if not wrong:
        return None
    again = f"make backfill FROM={dates.first.date()} TO={dates.last.date()} AGAIN=failed"
    return RepriseError(f"{len(wrong)} of {len(found)} dates failed: {', '.join(wrong)}", again)
