"""The only door to MLflow. A server that is away costs log lines, never a run: each call reports instead of raising."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
RUN_KEY = "reprise.run"
_POLL_SECONDS = 1.0

P = ParamSpec("P")
R = TypeVar("R")


def run_key(dag_id: str, run_id: str) -> str:
    """How a DAG run is found in MLflow."""
    return f"{dag_id}/{run_id}"


def _tolerant(call: Callable[P, R]) -> Callable[P, R | None]:
    """Report a failure of the tracking server and go on without it."""

    @wraps(call)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> R | None:
        import requests
        from mlflow.exceptions import MlflowException

        try:
            return call(*args, **kwargs)
        except (MlflowException, requests.RequestException, OSError) as error:
            log.warning("MLflow: %s failed, the run goes on without it: %s", call.__name__, error)
            return None

    return tolerant


class Tracker:
    """Runs, metrics, artifacts and models on one tracking server."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; the import takes 2–3 s, so it waits for the first call."""
        # The client's defaults wait minutes for a server that is down.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(self.uri)

    @_tolerant
    def start(self, experiment: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Start a run; the run of the same DAG run, made by an earlier try, is taken up again. Returns its id."""
        from mlflow.entities import Param

        found = self.client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else self.client.create_experiment(experiment)
        again = self.client.search_runs(
            [experiment_id], f"tags.`{RUN_KEY}` = '{tags[RUN_KEY]}'", max_results=1
        )
        if again:
            run_id = again[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return str(run_id)
        run_id = self.client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
        pairs = [Param(key, str(value)) for key, value in sorted(params.items())]
        for start in range(0, len(pairs), 100):
            self.client.log_batch(run_id, params=pairs[start : start + 100])
        return str(run_id)

    @_tolerant
    def start_child(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a stage's run below its DAG run's; earlier tries of the stage end as KILLED. Returns its id."""
        experiment = self.client.get_run(parent).info.experiment_id
        same = f"tags.`{PARENT}` = '{parent}' and attributes.run_name = '{name}' and attributes.status = 'RUNNING'"
        for earlier in self.client.search_runs([experiment], same):
            self.client.set_terminated(earlier.info.run_id, "KILLED")
        return str(
            self.client.create_run(experiment, run_name=name, tags={PARENT: parent, **tags}).info.run_id
        )

    @_tolerant
    def metrics(self, run: str, values: Iterable[tuple[str, float, int]]) -> None:
        """Log (name, value, step) triples."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, value, now, step) for name, value, step in values]
        for start in range(0, len(batch), 1000):
            self.client.log_batch(run, metrics=batch[start : start + 1000])

    @_tolerant
    def tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    @_tolerant
    def artifact(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file or folder with the run."""
        (self.client.log_artifacts if file.is_dir() else self.client.log_artifact)(run, str(file), folder)

    @_tolerant
    def datasets(self, run: str, hashes: Mapping[str, str]) -> None:
        """Say which data (path → md5) the run read and wrote."""
        from mlflow.entities import Dataset, DatasetInput

        self.client.log_inputs(
            run,
            [
                DatasetInput(Dataset(path, md5[:36], "dvc", json.dumps({"path": path, "md5": md5})))
                for path, md5 in hashes.items()
            ],
        )

    @_tolerant
    def model(self, run: str, name: str, file: Path, md5: str, description: str) -> str:
        """Log an ONNX model with its signature and register it; a model known by its md5 is not registered again.

        :returns: the registered version.
        """
        import mlflow
        import onnx

        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("md5") == md5:
                return str(version.version)
        model = onnx.load(str(file))
        with mlflow.start_run(run_id=run, log_system_metrics=False):
            logged = mlflow.onnx.log_model(
                model,
                name=name,
                signature=_signature(model),
                registered_model_name=name,
                pip_requirements=["onnxruntime"],
            )
        self.client.update_run(run, status="RUNNING")  # leaving the block ended it; that is `finish`'s to say
        version = str(logged.registered_model_version)
        self.client.set_model_version_tag(name, version, "md5", md5)
        self.client.update_model_version(name, version, description)
        return version

    @_tolerant
    def finish(self, run: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED, and with it what still runs below it."""
        experiment = self.client.get_run(run).info.experiment_id
        below = f"tags.`{PARENT}` = '{run}' and attributes.status = 'RUNNING'"
        for child in self.client.search_runs([experiment], below):
            self.client.set_terminated(child.info.run_id, "KILLED" if status == "FINISHED" else status)
        self.client.set_terminated(run, status)

    @_tolerant
    def find(self, dag_id: str, run_id: str) -> str | None:
        """The MLflow run of a DAG run."""
        everywhere = [e.experiment_id for e in self.client.search_experiments()]
        found = self.client.search_runs(
            everywhere, f"tags.`{RUN_KEY}` = '{run_key(dag_id, run_id)}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None


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
    inputs = [spec(v) for v in model.graph.input if v.name not in weights]
    return ModelSignature(Schema(inputs), Schema([spec(v) for v in model.graph.output]))


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
