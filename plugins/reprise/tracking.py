"""The only door to MLflow. A server that is away costs log lines, never a run: each call reports instead of raising.

Speaks MLflow's REST API: ``import mlflow`` takes 5 s of CPU where its server is installed too (pandas, FastAPI,
the whole of its GenAI part), more than most tasks' own overhead. Only a new model is logged through the library.
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import requests

from reprise.errors import RepriseError

log = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
RUN_KEY = "reprise.run"
_POLL_SECONDS = 1.0
_TIMEOUT_SECONDS = 10
_PROXIED = "mlflow-artifacts:/"

P = ParamSpec("P")
R = TypeVar("R")


def run_key(dag_id: str, run_id: str) -> str:
    """How a DAG run is found in MLflow."""
    return f"{dag_id}/{run_id}"


def _tolerant(call: Callable[P, R]) -> Callable[P, R | None]:
    """Report a failure of the tracking server and go on without it."""

    @wraps(call)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return call(*args, **kwargs)
        except (requests.RequestException, RepriseError) as error:
            log.warning("MLflow: %s failed, the run goes on without it: %s", call.__name__, error)
            return None

    return tolerant


class Tracker:
    """Runs, metrics, artifacts and models on one tracking server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request; the body goes as query for GET, as JSON otherwise."""
        given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        answer = requests.request(method, f"{self.uri}/api/2.0/mlflow/{path}", timeout=_TIMEOUT_SECONDS, **given)
        if not answer.ok:
            raise RepriseError(f"MLflow refused {path}: {answer.text[:500]}", f"open {self.uri}")
        return dict(answer.json())

    def _search(self, experiments: list[str], wanted: str, most: int = 100) -> list[dict[str, Any]]:
        body = {"experiment_ids": experiments, "filter": wanted, "max_results": most}
        return list(self._call("POST", "runs/search", body).get("runs", []))

    def _experiment(self, name: str) -> str:
        """The experiment's id; it is made where there is none."""
        body = {"filter": f"name = '{name}'", "max_results": 1}
        found = self._call("POST", "experiments/search", body).get("experiments", [])
        if found:
            return str(found[0]["experiment_id"])
        return str(self._call("POST", "experiments/create", {"name": name})["experiment_id"])

    def _create(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        body = {"experiment_id": experiment, "run_name": name, "start_time": _now(), "tags": _pairs(tags)}
        return str(self._call("POST", "runs/create", body)["run"]["info"]["run_id"])

    def _info(self, run: str) -> dict[str, Any]:
        return dict(self._call("GET", "runs/get", {"run_id": run})["run"]["info"])

    def _end(self, run: str, status: str) -> None:
        self._call("POST", "runs/update", {"run_id": run, "status": status, "end_time": _now()})

    @_tolerant
    def start(self, experiment: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Start a run; the run of the same DAG run, made by an earlier try, is taken up again. Returns its id."""
        place = self._experiment(experiment)
        again = self._search([place], f"tags.`{RUN_KEY}` = '{tags[RUN_KEY]}'", 1)
        if again:
            run = str(again[0]["info"]["run_id"])
            self._call("POST", "runs/update", {"run_id": run, "status": "RUNNING"})
            return run
        run = self._create(place, name, tags)
        pairs = _pairs(params)
        for start in range(0, len(pairs), 100):
            self._call("POST", "runs/log-batch", {"run_id": run, "params": pairs[start : start + 100]})
        return run

    @_tolerant
    def start_child(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a stage's run below its DAG run's; earlier tries of the stage end as KILLED. Returns its id."""
        place = self._info(parent)["experiment_id"]
        same = f"tags.`{PARENT}` = '{parent}' and attributes.run_name = '{name}' and attributes.status = 'RUNNING'"
        for earlier in self._search([place], same):
            self._end(earlier["info"]["run_id"], "KILLED")
        return self._create(place, name, {PARENT: parent, **tags})

    @_tolerant
    def metrics(self, run: str, values: Iterable[tuple[str, float, int]]) -> None:
        """Log (name, value, step) triples."""
        now = _now()
        batch = [{"key": name, "value": value, "timestamp": now, "step": step} for name, value, step in values]
        for start in range(0, len(batch), 1000):
            self._call("POST", "runs/log-batch", {"run_id": run, "metrics": batch[start : start + 1000]})

    @_tolerant
    def tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._call("POST", "runs/log-batch", {"run_id": run, "tags": _pairs(tags)})

    @_tolerant
    def artifact(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file, or all files of a folder, with the run."""
        place = str(self._info(run)["artifact_uri"])
        if not place.startswith(_PROXIED):
            raise RepriseError(f"the server keeps artifacts at {place}", "start it with --artifacts-destination")
        root = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{place.removeprefix(_PROXIED)}"
        files = sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file]
        for one in files:
            parts = [root, *([folder] if folder else []), one.relative_to(file.parent).as_posix()]
            with one.open("rb") as content:
                requests.put("/".join(parts), data=content, timeout=300).raise_for_status()

    @_tolerant
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

    @_tolerant
    def model(self, run: str, name: str, file: Path, md5: str, description: str) -> str:
        """Log an ONNX model with its signature and register it; a model known by its md5 is not registered again.

        :returns: the registered version.
        """
        body = {"filter": f"name = '{name}'", "max_results": 1000}
        for version in self._call("GET", "model-versions/search", body).get("model_versions", []):
            if {"key": "md5", "value": md5} in version.get("tags", []):
                return str(version["version"])
        return _log_model(self.uri, run, name, file, md5, description)

    @_tolerant
    def alias(self, name: str, alias: str) -> dict[str, str]:
        """The registered version that holds an alias, as its tags and ``version``; empty where none does."""
        try:
            found = self._call("GET", "registered-models/alias", {"name": name, "alias": alias})["model_version"]
        except RepriseError as error:
            if "RESOURCE_DOES_NOT_EXIST" in str(error) or "INVALID_PARAMETER_VALUE" in str(error):
                return {}  # no such model, or it has no such alias
            raise
        return {**{tag["key"]: tag["value"] for tag in found.get("tags", [])}, "version": str(found["version"])}

    @_tolerant
    def versions(self, name: str) -> list[dict[str, str]]:
        """All registered versions of a model: their tags and ``version``."""
        body = {"filter": f"name = '{name}'", "max_results": 10000}
        found = self._call("GET", "model-versions/search", body).get("model_versions", [])
        return [{**{t["key"]: t["value"] for t in v.get("tags", [])}, "version": str(v["version"])} for v in found]

    @_tolerant
    def move_alias(self, name: str, alias: str, version: str, tags: Mapping[str, str]) -> bool:
        """Give an alias to a registered version, whose tags say why. True: done."""
        for tag in _pairs(tags):
            self._call("POST", "model-versions/set-tag", {"name": name, "version": version, **tag})
        self._call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})
        return True

    @_tolerant
    def finish(self, run: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED, and with it what still runs below it."""
        place = self._info(run)["experiment_id"]
        for child in self._search([place], f"tags.`{PARENT}` = '{run}' and attributes.status = 'RUNNING'"):
            self._end(child["info"]["run_id"], "KILLED" if status == "FINISHED" else status)
        self._end(run, status)

    @_tolerant
    def find(self, experiment: str, dag_id: str, run_id: str) -> str | None:
        """The MLflow run of a DAG run, where one was started."""
        known = self._call("POST", "experiments/search", {"filter": f"name = '{experiment}'", "max_results": 1})
        places = [found["experiment_id"] for found in known.get("experiments", [])]
        runs = self._search(places, f"tags.`{RUN_KEY}` = '{run_key(dag_id, run_id)}'", 1) if places else []
        return str(runs[0]["info"]["run_id"]) if runs else None

    def url(self, run: str) -> str:
        """The run's page for people."""
        return f"{self.uri}/#/experiments/runs/{run}"


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)} for key, value in sorted(values.items())]


def _log_model(uri: str, run: str, name: str, file: Path, md5: str, description: str) -> str:
    """Through MLflow's library: its model format is its own."""
    import mlflow
    import onnx
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(uri)
    model = onnx.load(str(file))
    try:
        with mlflow.start_run(run_id=run, log_system_metrics=False):
            logged = mlflow.onnx.log_model(
                model,
                name=name,
                signature=_signature(model),
                registered_model_name=name,
                pip_requirements=["onnxruntime"],
            )
        client = mlflow.MlflowClient(uri)
        client.update_run(run, status="RUNNING")  # leaving the block ended it; that is `finish`'s to say
        version = str(logged.registered_model_version)
        client.set_model_version_tag(name, version, "md5", md5)
        client.update_model_version(name, version, description)
    except MlflowException as error:
        raise RepriseError(f"model {name} could not be registered: {error}", f"open {uri}") from error
    return version


def _signature(model: Any) -> Any:
    """The model's inputs and outputs as MLflow's signature; a named dimension is of any size (-1)."""
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(value: Any) -> TensorSpec:
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        return TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape, value.name)

    weights = {w.name for w in model.graph.initializer}
    inputs: Any = [spec(v) for v in model.graph.input if v.name not in weights]
    outputs: Any = [spec(v) for v in model.graph.output]
    return ModelSignature(Schema(inputs), Schema(outputs))


class LiveForwarder(threading.Thread):
    """Follows a stage's live lines (``metrics.jsonl``: step, name, value) and pictures into MLflow while it runs."""

    def __init__(self, tracker: Tracker, folder: Path, runs: Mapping[str, str]) -> None:
        """
        :param runs: MLflow run id → prefix of the metric's name there.
        """
        super().__init__(name="live-forwarder", daemon=True)
        self.tracker = tracker
        self.folder = folder
        self.runs = runs
        self._done = threading.Event()
        self._read = 0
        self._sent: dict[Path, float] = {}

    def run(self) -> None:
        """Forward until :meth:`stop`; what the stage wrote last is sent before the thread ends."""
        while not self._done.wait(_POLL_SECONDS):
            self._forward()
        self._forward()

    def stop(self) -> None:
        """Send what is left and end."""
        self._done.set()
        self.join(60)

    def _forward(self) -> None:
        values = list(self._new_lines())
        for run, prefix in self.runs.items():
            if values:
                self.tracker.metrics(run, [(prefix + name, value, step) for name, value, step in values])
        first = next(iter(self.runs))
        for picture in sorted(self.folder.rglob("*.png")):
            if self._sent.get(picture) != picture.stat().st_mtime:
                self._sent[picture] = picture.stat().st_mtime
                self.tracker.artifact(first, picture, "live")

    def _new_lines(self) -> Iterable[tuple[str, float, int]]:
        file = self.folder / "metrics.jsonl"
        if not file.exists():
            return
        with file.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if not line.endswith(b"\n"):  # still being written
                    break
                self._read += len(line)
                try:
                    point = json.loads(line)
                    yield str(point["name"]), float(point["value"]), int(point["step"])
                except (ValueError, KeyError, TypeError):
                    log.warning("live line passed over, it is not {step, name, value}: %s", line[:200])
