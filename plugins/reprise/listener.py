"""End the MLflow run of a DAG run that failed or was cancelled (a finished one is ended by its record); make the pool."""

import threading
from typing import Any

from airflow.listeners import hookimpl

from reprise import pools
from reprise.outbox import Outbox
from reprise.settings import load as load_settings
from reprise.tracking import Tracker, bare_heading


@hookimpl
def on_starting(component: Any) -> None:
    """Called as the scheduler starts, and by every other component and every task: those are passed over."""
    if getattr(component, "job_type", "") == "SchedulerJob":
        pools.ensure(load_settings())
        preload()


def preload() -> None:
    """Import what tasks need, once: LocalExecutor's tasks are forks of the scheduler and find it there.

    DVC alone takes 1.6 s of CPU, Docker's client half a second.
    """
    import dvc.repo
    import dvc.stage.cache
    import dvc.stage.loader
    import dvc.stage.serialize
    import dvc.utils.serialize  # noqa: F401

    import reprise.opening
    import reprise.recording
    import reprise.render  # noqa: F401


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Called by the scheduler, or by the API server where a person marks the run; neither must wait for MLflow."""
    threading.Thread(target=_end, args=(dag_run.dag_id, dag_run.run_id), daemon=True).start()


def _end(dag_id: str, run_id: str) -> None:
    """End it now, or once the server is back."""
    settings = load_settings()
    box = Outbox.create(settings, bare_heading(dag_id, dag_id, run_id), known_only=True)
    box.end("FAILED")
    box.try_send(Tracker(settings.mlflow))
    box.close()
