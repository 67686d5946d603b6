"""Routes below ``/reprise`` on Airflow's API server."""

from fastapi import FastAPI, HTTPException
from fastapi.responses import RedirectResponse

from reprise.settings import load as load_settings
from reprise.tracking import Tracker

app = FastAPI(title="Reprise")


@app.get("/mlflow/{dag_id}/{run_id:path}")
def mlflow_run(dag_id: str, run_id: str) -> RedirectResponse:
    """Lead to the MLflow run of a DAG run, also while it runs."""
    tracker = Tracker(load_settings().mlflow)
    found = tracker.find(dag_id, dag_id, run_id)
    if not found:
        raise HTTPException(
            404, f"MLflow at {tracker.uri} knows no run of {dag_id}/{run_id}: its `open` task has not ended"
        )
    return RedirectResponse(tracker.url(found))
