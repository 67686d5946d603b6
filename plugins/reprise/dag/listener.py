"""End the MLflow run of a DAG run that failed or was cancelled (a finished one is ended by its record); make the pool."""

import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

from airflow.listeners import hookimpl

from reprise.dag import pools
from reprise.settings import load as load_settings
from reprise.tracking.mlflow_server import Tracker, bare_heading
from reprise.tracking.outbox import Outbox

# DVC imports most of itself on first use: what a pull, a commit and a push were seen to import.
_NEEDED = (
    *("reprise.run.opening", "reprise.run.recording", "reprise.dag.render"),
    *("dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc.rwlock", "dvc.utils.serialize", "dvc.utils.strictyaml"),
    *(f"dvc.repo.{part}" for part in ("artifacts", "brancher", "datasets", "index", "metrics", "params", "plots")),
    *("dvc.stage.cache", "dvc.stage.loader", "dvc.stage.serialize"),
    *("dvc_data.hashfile.db.local", "dvc_data.hashfile.status"),
    *("dvc_data.index.checkout", "dvc_data.index.collect", "dvc_data.index.fetch"),
    *("networkx", "scmrepo.git"),
)


@hookimpl
def on_starting(component: Any) -> None:
    """Called as the scheduler starts, and by every other component and every task: those are passed over.

    A job does not know yet of which type it is (Airflow calls from its constructor); the command line does.
    """
    if type(component).__name__ == "Job" and sys.argv[1:2] == ["scheduler"]:
        pools.ensure(load_settings())
        preload()


def preload() -> None:
    """Import what tasks need, once: LocalExecutor's tasks are forks of the scheduler and find it there."""
    for name in _NEEDED:
        with suppress(ImportError):  # a name that moved costs the tasks time, nothing else
            import_module(name)


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
