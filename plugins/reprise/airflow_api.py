"""The only door to Airflow's REST API: trigger a run, follow it, read what its tasks said."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

import requests

from reprise.errors import RepriseError

TRIES = 3
"""How often a request is made while SQLite is busy: each wait lasts as long as SQLite's own, 5 s."""


class NotThere(RepriseError):
    """The server knows no such DAG, run or task."""


class Airflow:
    """One API server. ``airflow`` commands cost 4–8 s each; a request costs milliseconds."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def session(self) -> requests.Session:
        """Logged in."""
        session = requests.Session()
        answer = session.get(f"{self.url}/auth/token", timeout=30)
        answer.raise_for_status()
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return session

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """One request below ``/api/v2``; returns the JSON body.

        :raises RepriseError: with the server's own explanation, or where it does not answer.
        """
        for _ in range(TRIES):
            try:
                answer = self.session.request(method, f"{self.url}/api/v2/{path}", timeout=60, **kwargs)
            except requests.RequestException as error:
                raise RepriseError(f"Airflow does not answer at {self.url}: {error}", "make up") from error
            if answer.status_code == 401:  # whoever follows a run of days outlives his login
                self.__dict__.pop("session", None)
            elif not _database_was_busy(answer):
                break
        if not answer.ok:
            kind = NotThere if answer.status_code == 404 else RepriseError
            raise kind(f"Airflow refused {method} {path}: {_detail(answer)}", "make logs SERVICE=api-server")
        return answer.json() if answer.content else None

    def every(self, path: str, key: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All items of a list (``key`` of the answer); Airflow gives a hundred at a time at most."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call("GET", path, params={**(params or {}), "limit": 100, "offset": len(found)})
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    def shape(self, dag_id: str) -> dict[str, set[str]] | None:
        """Task → its downstream tasks, as Airflow last read the DAG's file; None where it could not or has not yet."""
        found = self.call("GET", "dags", params={"dag_id_pattern": dag_id})["dags"]
        if not any(dag["dag_id"] == dag_id for dag in found) or self.import_error(dag_id):
            return None
        tasks = self.call("GET", f"dags/{quote(dag_id)}/tasks")["tasks"]
        return {task["task_id"]: set(task["downstream_task_ids"]) for task in tasks}

    def import_error(self, dag_id: str) -> str:
        """Why the DAG's file could not be imported when it was last read; empty where it could."""
        errors = self.call("GET", "importErrors")["import_errors"]
        mine = [e for e in errors if e["filename"].rsplit("/", 1)[-1] == f"{dag_id}.py"]
        return str(mine[0]["stack_trace"]) if mine else ""

    def paused(self, dag_id: str) -> bool:
        """Whether the DAG is switched off: Airflow takes its runs and starts no task of them."""
        return bool(self.call("GET", f"dags/{quote(dag_id)}")["is_paused"])

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run without a logical date."""
        body = {"dag_run_id": run_id, "conf": conf, "logical_date": None}
        self.call("POST", f"dags/{quote(dag_id)}/dagRuns", json=body)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run: ``state`` is queued, running, success or failed."""
        return dict(self.call("GET", _run(dag_id, run_id)))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances."""
        return self.every(f"{_run(dag_id, run_id)}/taskInstances", "task_instances")

    def attempt(self, dag_id: str, run_id: str, task_id: str) -> int | None:
        """The number of the try that runs now; None where none does, or the run is no more.

        :raises RepriseError: where the server does not say.
        """
        try:
            task = self.call("GET", f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}")
        except NotThere:
            return None
        return int(task["try_number"]) if task["state"] in ("running", "restarting") else None

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task handed on; None where it has not yet."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{key}"
        try:
            return self.call("GET", path, params={"deserialize": "true"})["value"]
        except NotThere:
            return None

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[str]:
        """The lines of one try's log."""
        return [_line(entry) for entry in self._log(dag_id, run_id, task_id, attempt)]

    def printed(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[str]:
        """The lines of one try's log that the stage or we wrote, not Airflow."""
        entries = self._log(dag_id, run_id, task_id, attempt)
        return [_line(e) for e in entries if isinstance(e, dict) and _is_ours(str(e.get("logger")))]

    def _log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[Any]:
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{attempt}"
        return list(self.call("GET", path, headers={"Accept": "application/json"})["content"])


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _is_ours(logger: str) -> bool:
    return logger == "task.stdout" or logger.startswith("reprise.")


def _line(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    detail = "".join(
        f"\n{error.get('exc_type')}: {error.get('exc_value')}" for error in entry.get("error_detail") or []
    )
    return f"{entry.get('event', '')}{detail}"


def _database_was_busy(answer: requests.Response) -> bool:
    """Whether the server undid the request because SQLite was locked.

    Airflow writes its audit log on the event loop: where that meets a task's own write in the same
    process, each waits for the other until SQLite gives up, and nothing of the request was done.
    """
    return answer.status_code == 500 and "Database error" in _detail(answer)


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))
    except ValueError:
        return answer.text[:500]
