"""Log a model through MLflow's library: its model format is its own. Imported only where there is a new model."""

import os
from pathlib import Path
from typing import Any

import mlflow
import onnx
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from onnx.external_data_helper import _get_all_tensors, uses_external_data

from reprise.errors import RepriseError, ServerAway
from reprise.tracking.mlflow_server import NO_LOGIN


def log_model(uri: str, run: str, name: str, file: Path, md5: str, description: str) -> str:
    """Log an ONNX model with its signature to a run and register it; returns the registered version.

    :raises ServerAway: where the server does not answer, or has trouble of its own.
    :raises RepriseError: where it refuses, or the file is no ONNX model.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a server that is away costs four minutes
    mlflow.set_tracking_uri(uri)
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's
        raise RepriseError(
            f"model {name} is no ONNX file: {error}", "export it as ONNX; MLflow registers nothing else"
        ) from error
    # The names of those files are the container's words: nothing that they lead to is ours to send.
    if any(uses_external_data(tensor) for tensor in _get_all_tensors(model)):
        raise RepriseError(f"model {name} keeps weights in other files", "export it as one ONNX file")
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
        status = error.get_http_status_code()
        kind = ServerAway if status >= 500 or status in NO_LOGIN else RepriseError
        raise kind(f"model {name} could not be registered: {error}", f"open {uri}") from error
    return version


def _signature(model: Any) -> ModelSignature | None:
    """The model's inputs and outputs as MLflow's signature; a named dimension is of any size (-1).

    None where one of them is no tensor (a classifier's map of probabilities, say): MLflow's has no word for it.
    """

    def spec(value: Any) -> TensorSpec:
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        return TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape, value.name)

    weights = {w.name for w in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in weights]
    outputs = list(model.graph.output)
    if not all(value.type.HasField("tensor_type") for value in inputs + outputs):
        return None
    taken: Any = [spec(value) for value in inputs]
    given: Any = [spec(value) for value in outputs]
    return ModelSignature(Schema(taken), Schema(given))
