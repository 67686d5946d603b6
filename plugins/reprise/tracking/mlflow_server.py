"""The only door to MLflow: its runs, metrics, artifacts and models on one server.

A call raises where the server is away; who must not lose what it says goes through `reprise.tracking.outbox`.

Speaks MLflow's REST API: ``import mlflow`` takes 5 s of CPU where its server is installed too (pandas, FastAPI,
the whole of its GenAI part), more than most tasks' own overhead. Only a new model is logged through the library.
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar
from urllib.parse import quote

import requests

from reprise.errors import RepriseError, ServerAway
from reprise.run.numbers import as_json
from reprise.tracking.names import allowed
from reprise.tracking.points import BATCH, Point

log = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
RUN_KEY = "reprise.run"
PICTURES = Path("live")
"""The folder of a stage's pictures among its run's artifacts."""
_TIMEOUT_SECONDS = 10
NO_LOGIN = (401, 403)
_NOT_NOW = (408, 429)
"""Like trouble of the server's, neither says anything of what was sent: later it is taken."""
_PROXIED = "mlflow-artifacts:/"
_PARAMS_AT_ONCE = 100
"""As many as MLflow takes in one request."""
_MOST_VALUE = 6000
"""Characters of a parameter's value that MLflow takes."""

P = ParamSpec("P")
R = TypeVar("R")


class Heading(TypedDict):
    """What the MLflow run of a DAG run is made with, sooner or later."""

    experiment: str
    name: str
    tags: dict[str, str]
    """Among them :data:`RUN_KEY`, by which it is found again."""
    params: dict[str, str]
    started: int
    """Milliseconds since 1970."""


def run_key(dag_id: str, run_id: str) -> str:
    """How a DAG run is found in MLflow."""
    return f"{dag_id}/{run_id}"


def bare_heading(experiment: str, dag_id: str, run_id: str) -> Heading:
    """Enough to find the run of a DAG run again."""
    return Heading(experiment=experiment, name=run_id, tags={RUN_KEY: run_key(dag_id, run_id)}, params={}, started=0)


def _tolerant(call: Callable[P, R]) -> Callable[P, R | None]:
    """Report a failure of the tracking server and go on without it."""

    @wraps(call)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return call(*args, **kwargs)
        except RepriseError as error:
            log.warning("MLflow: %s failed, the run goes on without it: %s", call.__name__, error)
            return None

    return tolerant


class Tracker:
    """Runs, metrics, artifacts and models on one tracking server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def _request(self, method: str, url: str, **given: Any) -> requests.Response:
        """One request.

        :raises ServerAway: where no server answers, or one that has trouble of its own or lets nobody in.
        :raises RepriseError: where it refuses.
        """
        try:
            answer = requests.request(method, url, **{"timeout": _TIMEOUT_SECONDS, **_login(), **given})
        except requests.RequestException as error:
            reason = type(error).__name__
            raise ServerAway(f"MLflow does not answer at {self.uri} ({reason})", "make status") from error
        if answer.status_code in NO_LOGIN:
            raise ServerAway(
                f"MLflow at {self.uri} lets nobody in: {answer.status_code} {answer.text[:500]}",
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN), then make up",
            )
        if answer.status_code >= 500 or answer.status_code in _NOT_NOW:
            raise ServerAway(
                f"MLflow has trouble: {answer.status_code} {answer.text[:500]}", "make logs SERVICE=mlflow"
            )
        if not answer.ok:
            raise RepriseError(
                f"MLflow refused {url.rsplit('mlflow/', 1)[-1]}: {answer.text[:500]}", f"open {self.uri}"
            )
        return answer

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request; the body goes as query for GET, as JSON otherwise."""
        given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        answer = self._request(method, f"{self.uri}/api/2.0/mlflow/{path}", **given)
        try:
            return dict(answer.json())
        except ValueError as error:  # a proxy's page, say
            raise ServerAway(f"what answers at {self.uri} is not MLflow: {answer.text[:200]}", "make status") from error

    def _search(self, experiments: list[str], wanted: str, most: int = 100) -> list[dict[str, Any]]:
        body = {"experiment_ids": experiments, "filter": wanted, "max_results": most}
        return list(self._call("POST", "runs/search", body).get("runs", []))

    def _experiment(self, name: str) -> str:
        """The experiment's id; it is made where there is none."""
        body = {"filter": f"name = {_quoted(name)}", "max_results": 1}
        found = self._call("POST", "experiments/search", body).get("experiments", [])
        if found:
            return str(found[0]["experiment_id"])
        return str(self._call("POST", "experiments/create", {"name": name})["experiment_id"])

    def _create(self, experiment: str, name: str, tags: Mapping[str, str], started: int) -> str:
        body = {"experiment_id": experiment, "run_name": name, "start_time": started, "tags": _pairs(tags)}
        return str(self._call("POST", "runs/create", body)["run"]["info"]["run_id"])

    def _info(self, run: str) -> dict[str, Any]:
        return dict(self._call("GET", "runs/get", {"run_id": run})["run"]["info"])

    def end(self, run: str, status: str, ended: int) -> None:
        """End one run as FINISHED, FAILED or KILLED, at ``ended`` (ms since 1970)."""
        self._call("POST", "runs/update", {"run_id": run, "status": status, "end_time": ended})

    @_tolerant
    def start(self, heading: Heading) -> str:
        """Start a DAG run's run, or take up again the one that an earlier try made. Returns its id."""
        run = self.dag_run(heading)
        self._call("POST", "runs/update", {"run_id": run, "status": "RUNNING"})
        return run

    def dag_run(self, heading: Heading) -> str:
        """The id of a DAG run's run; it is made where there is none yet."""
        known = self.known(heading)
        if known:
            run = str(known["info"]["run_id"])
        else:
            place = self._experiment(heading["experiment"])
            run = self._create(place, heading["name"], heading["tags"], heading["started"])
        if not (known and known["data"].get("params")):
            self._params(run, heading["params"])
        return run

    def _params(self, run: str, params: Mapping[str, str]) -> None:
        """Log parameters. One that the server refuses is left out with a warning: the run is worth more."""
        pairs = _pairs({name: _cut(value) for name, value in params.items()})
        for start in range(0, len(pairs), _PARAMS_AT_ONCE):
            batch = pairs[start : start + _PARAMS_AT_ONCE]
            try:
                self._call("POST", "runs/log-batch", {"run_id": run, "params": batch})
            except ServerAway:
                raise
            except RepriseError as error:  # of the whole batch, whichever it is
                if len(batch) > 1:
                    for pair in batch:
                        self._params(run, {pair["key"]: pair["value"]})
                else:
                    log.warning("parameter %s is not in MLflow: %s", batch[0]["key"], error.problem)

    def stage_run(self, parent: str, name: str, tags: Mapping[str, str], started: int) -> str:
        """The id of a stage's run below its DAG run's, told from its other tries by the tag ``try``.

        It is made where there is none yet; earlier tries that nobody ended are ended as KILLED.
        """
        place = self._info(parent)["experiment_id"]
        for other in self._search([place], f"tags.`{PARENT}` = '{parent}' and attributes.run_name = {_quoted(name)}"):
            if {"key": "try", "value": tags["try"]} in other["data"]["tags"]:
                return str(other["info"]["run_id"])
            if other["info"]["status"] == "RUNNING" and int(other["info"]["start_time"]) < started:
                self.end(other["info"]["run_id"], "KILLED", started)
        return self._create(place, name, {PARENT: parent, **tags}, started)

    def metrics(self, run: str, points: Sequence[Point], prefix: str = "") -> None:
        """Log points. The same point again changes nothing: MLflow keeps one of equal name, value, step and time."""
        batch = [
            {"key": allowed(prefix + p.name), "value": as_json(p.value), "timestamp": p.time, "step": p.step}
            for p in points
        ]
        for start in range(0, len(batch), BATCH):
            self._call("POST", "runs/log-batch", {"run_id": run, "metrics": batch[start : start + BATCH]})

    def tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._call("POST", "runs/log-batch", {"run_id": run, "tags": _pairs(tags)})

    @_tolerant
    def try_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags, where the server answers."""
        self.tags(run, tags)

    def artifact(self, run: str, file: Path, path: str) -> None:
        """Store a file with the run.

        :param path: where, relative to the run's artifacts.
        """
        with file.open("rb") as content:
            self._request("PUT", self._place(run, path), data=content, timeout=300)

    def content(self, run: str, path: str) -> bytes:
        """A file stored with the run; ``path`` as :meth:`files` says it."""
        return self._request("GET", self._place(run, path)).content

    def files(self, run: str, folder: str) -> list[str]:
        """Names of the files in a folder of the run's artifacts."""
        found = self._call("GET", "artifacts/list", {"run_id": run, "path": folder}).get("files", [])
        return sorted(file["path"].rsplit("/", 1)[-1] for file in found if not file.get("is_dir"))

    def _place(self, run: str, path: str) -> str:
        """The address of one of the run's artifacts."""
        place = str(self._info(run)["artifact_uri"])
        if not place.startswith(_PROXIED):
            raise RepriseError(f"the server keeps artifacts at {place}", "start it with --artifacts-destination")
        root = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{place.removeprefix(_PROXIED)}"
        return f"{root}/{quote(path)}"

    def datasets(self, run: str, hashes: Mapping[str, str]) -> None:
        """Say which data (path → md5) the run read and wrote."""
        inputs = [
            {
                "dataset": {
                    "name": path,
                    "digest": md5[:36],  # as much as MLflow keeps: an md5 with ".dir"
                    "source_type": "dvc",
                    "source": json.dumps({"path": path, "md5": md5}),
                }
            }
            for path, md5 in hashes.items()
        ]
        self._call("POST", "runs/log-inputs", {"run_id": run, "datasets": inputs})

    def model(self, run: str, name: str, file: Path, md5: str, description: str) -> str:
        """Log an ONNX model with its signature and register it; a model known by its md5 is not registered again.

        :returns: the registered version.
        """
        for version in self._versions(f"name = {_quoted(name)}"):
            if version.get("md5") == md5:
                return version["version"]
        from reprise.tracking.model_logging import log_model

        return log_model(self.uri, run, name, file, md5, description)

    @_tolerant
    def alias(self, name: str, alias: str) -> dict[str, str]:
        """The registered version that holds an alias, as its tags and ``version``; empty where none does."""
        try:
            found = self._call("GET", "registered-models/alias", {"name": name, "alias": alias})["model_version"]
        except RepriseError as error:
            if "RESOURCE_DOES_NOT_EXIST" in str(error) or "INVALID_PARAMETER_VALUE" in str(error):
                return {}  # no such model, or it has no such alias
            raise
        return _tags(found)

    @_tolerant
    def versions(self) -> list[dict[str, str]]:
        """All registered versions of all models: their tags, ``name`` and ``version``."""
        return self._versions("")

    def _versions(self, wanted: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        body: dict[str, Any] = {"filter": wanted, "max_results": 1000}
        while True:
            answer = self._call("GET", "model-versions/search", body)
            found += [{**_tags(v), "name": v["name"]} for v in answer.get("model_versions", [])]
            if not answer.get("next_page_token"):
                return found
            body["page_token"] = answer["next_page_token"]

    def move_alias(self, name: str, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Give an alias to a registered version, whose tags say why."""
        for tag in _pairs(tags):
            self._call("POST", "model-versions/set-tag", {"name": name, "version": version, **tag})
        self._call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})

    def finish(self, run: str, status: str, ended: int) -> None:
        """End a run as FINISHED, FAILED or KILLED, and with it what still runs below it.

        :param ended: when it ended (ms since 1970).
        """
        place = self._info(run)["experiment_id"]
        for child in self._search([place], f"tags.`{PARENT}` = '{run}' and attributes.status = 'RUNNING'"):
            self.end(child["info"]["run_id"], "KILLED" if status == "FINISHED" else status, ended)
        self.end(run, status, ended)

    def known(self, heading: Heading) -> dict[str, Any] | None:
        """The MLflow run of a DAG run as the server has it; None where none was started."""
        wanted = f"name = {_quoted(heading['experiment'])}"
        places = self._call("POST", "experiments/search", {"filter": wanted, "max_results": 1}).get("experiments", [])
        key = heading["tags"][RUN_KEY]
        runs = (
            self._search([p["experiment_id"] for p in places], f"tags.`{RUN_KEY}` = {_quoted(key)}", 1)
            if places
            else []
        )
        return runs[0] if runs else None

    def url(self, run: str) -> str:
        """The run's page for people: MLflow's own way from a run's id alone, which leads on to its experiment's."""
        return f"{self.uri}/#/runs/{run}"


def _login() -> dict[str, Any]:
    """A request's login, by the variables of MLflow's own client."""
    user, password, token = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD", "TOKEN"))
    if user and password:
        return {"auth": (user, password)}
    return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": allowed(key), "value": str(value)} for key, value in sorted(values.items())]


def _cut(value: str) -> str:
    return value if len(value) <= _MOST_VALUE else f"{value[: _MOST_VALUE - 1]}…"


def _quoted(text: str) -> str:
    """A text in a search filter; the key of a ``foreach`` stage may hold a quote."""
    mark = '"' if "'" in text else "'"
    return f"{mark}{text}{mark}"


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    """A registered version's tags, and ``version``."""
    return {**{tag["key"]: tag["value"] for tag in version.get("tags", [])}, "version": str(version["version"])}
