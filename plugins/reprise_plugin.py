"""What Airflow registers of Reprise: the page of each run, and the end of failed runs in MLflow."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from reprise.dag import listener
from reprise.dag.schedule import OnRequest
from reprise.ui.links import MOUNTED

_RUN = f"{MOUNTED}/runs/{{DAG_ID}}/{{RUN_ID}}"


async def _pages(scope: Any, receive: Any, send: Any) -> None:
    """The API server's pages, imported on the first request: every task process loads this file as well."""
    from reprise.ui.web import app

    await app(scope, receive, send)


class ReprisePlugin(AirflowPlugin):
    """Found by Airflow in the plugins folder."""

    name = "reprise"
    timetables = [OnRequest]  # noqa: RUF012
    listeners = [listener]  # noqa: RUF012 - Airflow reads a plain list
    fastapi_apps = [{"app": _pages, "url_prefix": MOUNTED, "name": "Reprise"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Reprise", "href": _RUN, "destination": "dag_run", "url_route": "reprise"},
        {"name": "Reprise", "href": f"{_RUN}#{{TASK_ID}}", "destination": "task_instance", "url_route": "reprise-task"},
        {
            "name": "MLflow",
            "href": f"{MOUNTED}/mlflow/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "mlflow",
        },
    ]
