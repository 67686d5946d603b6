"""Follow a run in the terminal: a line as each stage starts and ends, its own progress in between, a table at the end."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reprise.airflow_api import Airflow
from reprise.errors import BadInput, RepriseError
from reprise.messages import GATE, OPEN, RECORD
from reprise.pipeline.stages import Pipeline

_POLL_SECONDS = 1.0
_PROGRESS_SECONDS = 10.0
_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


def follow(airflow: Airflow, pipeline: Pipeline, run_id: str, console: Console) -> str:
    """Print what happens until the run ends; returns its state."""
    dag_id = pipeline.name
    order = [OPEN, *(stage.task_id for stage in pipeline.stages), RECORD, GATE]
    shown: dict[str, tuple[str, int]] = {}
    said, paused = "", False
    spoke, pause = time.monotonic(), _PROGRESS_SECONDS
    while True:
        state = airflow.run(dag_id, run_id)["state"]
        tasks = {t["task_id"]: t for t in airflow.tasks(dag_id, run_id)}
        for task_id in (t for t in order if t in tasks):
            task = tasks[task_id]
            now = (task["state"], task["try_number"])
            if now != shown.get(task_id) and task["state"] is not None:
                shown[task_id] = now
                spoke = time.monotonic()
                _say(airflow, pipeline, run_id, task, console)
        if state in ("success", "failed"):
            return str(state)
        if time.monotonic() - spoke > pause:
            asked = time.monotonic()
            if not paused and airflow.paused(dag_id):
                console.print(f"  {waits(dag_id)}")
                paused = True
            for task in tasks.values():
                if task["state"] == "running":
                    said = _say_progress(airflow, dag_id, run_id, task, console, said)
            # Airflow sends a log as a whole: a long one is asked for seldom.
            spoke = time.monotonic()
            pause = max(_PROGRESS_SECONDS, 20 * (spoke - asked))
        time.sleep(_POLL_SECONDS)


def refuse_paused(airflow: Airflow, dag_id: str) -> None:
    """Ask before a run is made that would wait until somebody switches the DAG on.

    :raises BadInput: if it is off. Whoever paused it meant to stop its runs, so it is not switched on here.
    """
    if airflow.paused(dag_id):
        raise BadInput(f"DAG {dag_id} is paused in Airflow: none of its tasks would start", unpause(dag_id))


def waits(dag_id: str) -> str:
    """That a run stands still since its DAG was paused, and the way on."""
    return f"DAG {dag_id} was paused in Airflow: what has not started waits\n  next: {unpause(dag_id)}"


def unpause(dag_id: str) -> str:
    """The command that switches a DAG on."""
    return f'make airflow ARGS="dags unpause {dag_id}", or the switch on its page'


def _say(airflow: Airflow, pipeline: Pipeline, run_id: str, task: Mapping[str, Any], console: Console) -> None:
    name, state = task["task_id"], task["state"]
    if state == "running":
        again = f" (try {task['try_number']})" if task["try_number"] > 1 else ""
        console.print(f"  {name:<12} started{again}")
    elif state == "success":
        done = airflow.xcom(pipeline.name, run_id, name) or {}
        did = verdict(done) if "verdict" in done else "done"
        console.print(f"  {name:<12} [green]{did}[/] in {task['duration'] or 0:.1f} s", markup=True)
    elif state in ("failed", "up_for_retry"):
        console.print(f"  {name:<12} [red]{state.replace('_', ' ')}[/]", markup=True)


def _say_progress(
    airflow: Airflow, dag_id: str, run_id: str, task: Mapping[str, Any], console: Console, said: str
) -> str:
    """What the task said last, unless it was ``said`` before; returns it."""
    try:
        lines = airflow.printed(dag_id, run_id, task["task_id"], task["try_number"])
    except RepriseError:  # progress is not worth the run's end: a log may be too long to be sent in time
        return said
    last = last_line(lines)
    if last and last != said:
        console.print(f"  {task['task_id']:<12} [dim]{escape(last)}[/]", markup=True)
    return last


def last_line(log: Sequence[str], most: int = 160) -> str:
    """The last of a log that is a line by itself, cut at a word where it is long.

    An entry of several lines is an error, which is told whole when the run has ended.
    """
    alone = (entry.strip() for entry in reversed(log) if not entry.startswith("::"))
    line = next((entry for entry in alone if entry and "\n" not in entry), "")
    return line if len(line) <= most else f"{line[:most].rsplit(' ', 1)[0]} …"


def why_failed(airflow: Airflow, dag_id: str, run_id: str) -> RepriseError:
    """The error of the first failed task, from its log, and how to try again."""
    for task in sorted(airflow.tasks(dag_id, run_id), key=lambda t: t["end_date"] or ""):
        if task["state"] == "failed":
            lines = airflow.log(dag_id, run_id, task["task_id"], task["try_number"])
            reason = next((line for line in reversed(lines) if line.startswith("Task failed")), "\n".join(lines[-15:]))
            said = reason.split("Exception: ", 1)[-1]
            problem, _, fix = said.partition("\n  next: ")
            page = f"{airflow.url}/dags/{dag_id}/runs/{run_id}/plugin/reprise"
            return RepriseError(
                f"{dag_id}: {task['task_id']} failed: {problem}\n  page: {page}", fix.strip() or way_out(problem)
            )
    return RepriseError(f"{dag_id}: run {run_id} failed without a failed task (was it cancelled?)", "make status")


def way_out(said: str) -> str:
    """The next command after a stage that failed without naming one itself."""
    lacking = re.findall(r"ModuleNotFoundError: No module named '(\w+)", said)
    if lacking:
        return (
            f"where {lacking[-1]} is a file of yours, add it to the stage's deps in dvc.yaml; where it is a package, put it"
            " into the stage image (README, What a stage can import); then git commit, and make run"
        )
    return 'correct the code, git commit, and make run; or another parameter: make run PARAMS="NAME=VALUE"'


def verdict(done: Mapping[str, Any]) -> str:
    """What a finished stage did, in a word or two."""
    worked, there = done.get("partitions") or (0, 0)
    return f"ran {worked} of {there}" if worked < there and done["verdict"] == "ran" else str(done["verdict"])


def _named(paths: list[str], most: int = 3) -> str:
    """The first few by name, the others by number: a row of a table stays a row."""
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


def stage_table(airflow: Airflow, pipeline: Pipeline, run_id: str) -> Table:
    """What each stage did: took, cached or ran, outputs, bytes."""
    table = Table(title=f"{pipeline.name}: run {run_id}", title_justify="left")
    for column, justify in (
        ("stage", "left"),
        ("", "left"),
        ("took", "right"),
        ("outputs", "left"),
        ("files", "right"),
        ("bytes", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    tasks = {t["task_id"]: t for t in airflow.tasks(pipeline.name, run_id)}
    for stage in pipeline.stages:
        done = airflow.xcom(pipeline.name, run_id, stage.task_id)
        outs = done["entry"].get("outs", ())
        table.add_row(
            stage.name,
            verdict(done),
            f"{tasks[stage.task_id]['duration'] or 0:.1f} s",
            _named([out["path"] for out in outs]),
            str(sum(out.get("nfiles", 1) for out in outs)),
            f"{sum(out.get('size', 0) for out in outs):,}",
        )
    return table
