"""Read a run from Airflow's database, on the API server: the run, its tasks and what they handed each other."""

import datetime as dt
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from reprise.messages import GATE, OPEN, PROBLEM, RECORD
from reprise.ui.links import MLflowLink
from reprise.ui.runview import Facts, Task

_RETURNED = "return_value"
_KEYS = (_RETURNED, PROBLEM, MLflowLink().xcom_key)


def load(session: Session, dag_id: str, run_id: str) -> Facts | None:
    """All that Airflow knows of a run; None where there is no such run."""
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return _facts(session, run) if run else None


def load_before(session: Session, run: Facts) -> Facts | None:
    """The latest run of the same DAG that was recorded and started before this one."""
    wanted = (
        select(DagRun)
        .join(XComModel, (XComModel.dag_id == DagRun.dag_id) & (XComModel.run_id == DagRun.run_id))
        .where(DagRun.dag_id == run.dag_id, DagRun.run_id != run.run_id)
        .where(XComModel.task_id == RECORD, XComModel.key == _RETURNED)
        .order_by(DagRun.start_date.desc())
        .limit(1)
    )
    found = session.scalar(wanted.where(DagRun.start_date < run.started) if run.started else wanted)
    return _facts(session, found) if found else None


def _facts(session: Session, run: DagRun) -> Facts:
    said = _said(session, run)
    returned = {task: value for (task, key), value in said.items() if key == _RETURNED and value}
    tasks = session.scalars(
        select(TaskInstance).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )
    return Facts(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=str(run.state),
        started=run.start_date,
        seconds=_seconds(run.start_date, run.end_date),
        tasks={ti.task_id: _task(ti, said) for ti in tasks},
        opened=returned.get(OPEN),
        done={task: value for task, value in returned.items() if task not in (OPEN, RECORD, GATE)},
        recorded=returned.get(RECORD),
        judged=returned.get(GATE),
    )


def _said(session: Session, run: DagRun) -> dict[tuple[str, str], Any]:
    """(task, key) → value of the run's XComs that we know of."""
    rows = session.scalars(
        select(XComModel).where(
            XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key.in_(_KEYS)
        )
    )
    return {(row.task_id, row.key): XComModel.deserialize_value(row) for row in rows}


def _task(ti: TaskInstance, said: dict[tuple[str, str], Any]) -> Task:
    return Task(
        task_id=ti.task_id,
        state=str(ti.state or ""),
        attempt=ti.try_number,
        seconds=_seconds(ti.start_date, ti.end_date),
        problem=str(said.get((ti.task_id, PROBLEM)) or ""),
        mlflow=_address(said.get((ti.task_id, MLflowLink().xcom_key))),
    )


def _address(said: Any) -> str:
    """A link that an XCom holds: people may write XComs, and a ``javascript:`` is not to be clicked."""
    return said if isinstance(said, str) and said.startswith(("http://", "https://")) else ""


def _seconds(start: dt.datetime | None, end: dt.datetime | None) -> float | None:
    return ((end or dt.datetime.now(dt.UTC)) - start).total_seconds() if start else None
