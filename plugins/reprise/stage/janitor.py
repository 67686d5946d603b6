"""Remove what lost tries left: containers, and their workspaces, of tasks that Airflow says do not run any more.

A retry removes what its task's earlier try left. What remains are tries that no retry follows: the last one of a
task whose worker was killed, and runs that were deleted meanwhile.
"""

from reprise.airflow_api import Airflow
from reprise.folders import clear, task_folder
from reprise.machine import image
from reprise.settings import Settings
from reprise.stage import containers


def clean(settings: Settings) -> list[str]:
    """Remove this installation's orphans from this node's Docker daemon; returns a line for each.

    :raises RepriseError: where Airflow or Docker cannot be asked; then nothing more is removed.
    """
    airflow = Airflow(settings.airflow)
    client = image.connect()
    gone = []
    for found in containers.tries(client, settings.stack):
        if airflow.attempt(found.dag, found.run, found.task) != found.attempt:
            containers.remove(client, found.labels(settings.stack))
            clear(task_folder(settings, found.dag, found.run, found.task))
            gone.append(f"{found.dag} {found.run}: try {found.attempt} of {found.task}")
    return gone
