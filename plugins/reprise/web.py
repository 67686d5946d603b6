"""Routes below ``/reprise`` on Airflow's API server."""

from html import escape

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from reprise.settings import load as load_settings
from reprise.tracking import Tracker

app = FastAPI(title="Reprise")


@app.get("/mlflow/{dag_id}/{run_id:path}")
def mlflow_run(dag_id: str, run_id: str) -> HTMLResponse:
    """The tab on a DAG run that leads to its MLflow run, also while it runs.

    A page with a link and not a redirect: Airflow shows it in a frame, and MLflow refuses to be framed.
    """
    tracker = Tracker(load_settings().mlflow)
    found = tracker.find(dag_id, dag_id, run_id)
    if not found:
        raise HTTPException(
            404, f"MLflow at {tracker.uri} knows no run of {dag_id}/{run_id}; has its `open` task ended?"
        )
    url = escape(tracker.url(found), quote=True)
    return HTMLResponse(
        f'<p style="font-family: sans-serif"><a href="{url}" target="_blank">{escape(run_id)} in MLflow</a></p>'
    )
