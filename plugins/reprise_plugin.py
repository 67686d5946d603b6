"""What Airflow registers of Reprise: a link from each run to MLflow, and the end of failed runs there."""

from airflow.plugins_manager import AirflowPlugin

from reprise import listener
from reprise.schedule import OnRequest
from reprise.web import app


class ReprisePlugin(AirflowPlugin):
    """Found by Airflow in the plugins folder."""

    name = "reprise"
    timetables = [OnRequest]  # noqa: RUF012
    listeners = [listener]  # noqa: RUF012 - Airflow reads a plain list
    fastapi_apps = [{"app": app, "url_prefix": "/reprise", "name": "Reprise"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "MLflow",
            "href": "/reprise/mlflow/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "mlflow",
        },
    ]
