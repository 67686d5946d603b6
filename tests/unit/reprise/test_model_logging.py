"""A model as MLflow's library logs it: what is told of its inputs and outputs, and of a file that is none."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from reprise.errors import RepriseError
from reprise.tracking.model_logging import _signature, log_model

FACES = helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", 112, 112, 3])
NUMBERS = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", 8])
MAP = helper.make_value_info(
    "chances",
    helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [])),
)


def model(output: onnx.ValueInfoProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], "net", [FACES], [output]))


def test_the_signature_names_types_and_sizes() -> None:
    signature = _signature(model(NUMBERS))
    assert signature is not None
    [faces], [numbers] = signature.inputs.inputs, signature.outputs.inputs
    assert (faces.name, faces.type, faces.shape) == ("faces", "uint8", (-1, 112, 112, 3))
    assert (numbers.name, numbers.shape) == ("numbers", (-1, 8))


def test_a_classifier_whose_output_is_no_tensor_has_none() -> None:
    assert _signature(model(MAP)) is None


def test_a_file_that_is_no_onnx_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(b"\x80\x04 no onnx")
    with pytest.raises(RepriseError, match="model net is no ONNX file"):
        log_model("http://127.0.0.1:9", "run", "net", file, "0" * 32, "")


@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_a_model_that_names_other_files_is_refused_and_they_are_not_read(tmp_path: Path, place: str) -> None:
    """Its container chose the names."""
    (tmp_path / "secret").write_bytes(b"of the host!")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="secret")
    made = model(NUMBERS)
    if place == "initializer":
        made.graph.initializer.append(weights)
    else:
        made.graph.node.append(helper.make_node("Constant", [], ["w"], value=weights))
    (tmp_path / "model").write_bytes(made.SerializeToString())
    with pytest.raises(RepriseError, match="model net keeps weights in other files"):
        log_model("http://127.0.0.1:9", "run", "net", tmp_path / "model", "0" * 32, "")
