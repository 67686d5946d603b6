"""Stage containers are found by their labels: which installation, DAG, run, task and try started them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

STACK, DAG, RUN, TASK, TRY = (f"reprise.{name}" for name in ("stack", "dag", "run", "task", "try"))


def labels(stack: str, dag_id: str, run_id: str, task_id: str, try_number: int) -> dict[str, str]:
    """The labels of one try's container."""
    return {STACK: stack, DAG: dag_id, RUN: run_id, TASK: task_id, TRY: str(try_number)}


@dataclass(frozen=True)
class Try:
    """One try of one task, as its container's labels name it."""

    dag: str
    run: str
    task: str
    attempt: int

    def labels(self, stack: str) -> dict[str, str]:
        """The labels of its container."""
        return labels(stack, self.dag, self.run, self.task, self.attempt)


def tries(client: "APIClient", stack: str) -> list[Try]:
    """The tries whose containers this installation has, running or not."""
    found = client.containers(all=True, filters={"label": [f"{STACK}={stack}", DAG, RUN, TASK, TRY]})
    marks = [container["Labels"] for container in found]
    return [Try(m[DAG], m[RUN], m[TASK], int(m[TRY])) for m in marks]


def find(client: "APIClient", wanted: Mapping[str, str]) -> list[str]:
    """Ids of all containers, running or not, that carry these labels."""
    return [c["Id"] for c in client.containers(all=True, filters={"label": [f"{k}={v}" for k, v in wanted.items()]})]


def remove(client: "APIClient", wanted: Mapping[str, str]) -> int:
    """Kill and remove the containers that carry these labels; returns how many there were."""
    from docker.errors import NotFound

    found = find(client, wanted)
    for container in found:
        try:
            client.remove_container(container, force=True, v=True)  # and the unnamed volumes of its image
        except NotFound:  # its own operator was faster
            pass
    return len(found)
