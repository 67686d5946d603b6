"""The buttons on a task: to its MLflow run, the run's page, its report, its record."""

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from reprise.settings import load as load_settings

MOUNTED = "/reprise"
"""Where Airflow serves our pages."""


class MLflowLink(BaseOperatorLink):
    """The button on a task that leads to its MLflow run; published before the container starts."""

    name = "MLflow"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Airflow asks once the task has ended; while it runs, the XCom says it."""
        return getattr(operator, "mlflow_url", "")


class PageLink(BaseOperatorLink):
    """A button that leads to one of our own pages about the run.

    :param place: what follows the run's address; ``{task}`` is the task's id.
    """

    name = ""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place

    @property
    def xcom_key(self) -> str:
        """Several links are of this class; Airflow's own key is the class's name."""
        return f"_link_{self.name}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Known from the start: the address names DAG, run and task only."""
        page = load_settings().airflow + page_path(ti_key.dag_id, ti_key.run_id)
        return page + self.place.format(task=quote(ti_key.task_id))


def page_path(dag_id: str, run_id: str) -> str:
    """The run's page, below Airflow's own address."""
    return f"{MOUNTED}/runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"


def page_links(reports: tuple[str, ...]) -> tuple[PageLink, ...]:
    """The links that every task of a pipeline has.

    :param reports: names of the pipeline's artifacts that are pages.
    """
    shown = (PageLink("Data", "#{task}"), PageLink("Record", "/record"))
    return (*shown, *(PageLink(name.capitalize(), f"/artifacts/{quote(name)}") for name in reports))
