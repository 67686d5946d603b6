"""export: write the model as ONNX and check that onnxruntime gives torch's embeddings on real faces.

in   models/model.safetensors, data/aligned, data/split.parquet, section `export` of params.yaml
out  models/model.onnx      input `faces`: uint8 [N, side, side, 3], RGB, 0..255, what numpy.asarray(image) of an
                            aligned face gives; output `embeddings`: float32 [N, D] of unit length. Resizing and
                            normalisation are inside. The dot product of two embeddings is their similarity. The
                            file's metadata `calibration` (JSON) says from which similarity on two faces are one
                            person, and how probable that is; `facelib/calibration.py` explains its fields.
     results/export.json    size, difference from torch
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from facelib.backbones import header
from facelib.backbones import load as load_model
from facelib.embedder import Embedder, embed, make_deterministic
from facelib.faces import load_faces
from params import load
from params.export import Params

ALIGNED, SPLIT = Path("data/aligned"), Path("data/split.parquet")
MODEL, ONNX, CHECK = Path("models/model.safetensors"), Path("models/model.onnx"), Path("results/export.json")


def to_onnx(embedder: Embedder, face_size: int, opset: int, metadata: dict[str, str]) -> onnx.ModelProto:
    """The embedder as an ONNX graph for any number of faces, without paths or names of the machine."""
    example = torch.zeros(2, face_size, face_size, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        embedder.eval(),
        (example,),
        dynamo=True,
        opset_version=opset,
        dynamic_shapes=({0: torch.export.Dim("faces_in_batch")},),
        input_names=["faces"],
        output_names=["embeddings"],
        verbose=False,
    )
    assert program is not None  # None only where export is given a file
    model = program.model_proto
    # The exporter notes the Python source line of each node: paths of this machine, and other bytes elsewhere.
    for part in [model.graph, *model.functions]:
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    model.doc_string = f"uint8 RGB faces [N, {face_size}, {face_size}, 3], aligned by five landmarks, to unit vectors"
    onnx.checker.check_model(model, full_check=True)
    return model


def compare(model: bytes, embedder: Embedder, faces: NDArray[np.uint8], threads: int) -> dict[str, float]:
    """Embeddings by onnxruntime beside torch's: largest difference of a number, smallest cosine of a face."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # One batch of all and one of a single face: the number of faces must be free.
    given = session.run(None, {"faces": faces})[0]
    alone = session.run(None, {"faces": faces[:1]})[0]
    expected = embed(embedder, faces, batch=len(faces))
    difference = max(np.abs(given - expected).max(), np.abs(alone - expected[:1]).max())
    return {
        "max_difference": float(f"{difference:.2g}"),
        "min_cosine": round(float((given * expected).sum(1).min()), 6),
    }


def main() -> None:
    """Export, compare, write; fail past the tolerance."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "export")
    make_deterministic(params.threads)
    network, description = load_model(MODEL)
    embedder = Embedder(network, description.face_size, description.input_size)
    faces = load_faces(ALIGNED, SPLIT, "test").pixels[: params.check_faces]
    metadata = {"calibration": json.dumps(header(MODEL)["calibration"], sort_keys=True)}
    model = to_onnx(embedder, description.face_size, params.opset, metadata).SerializeToString(deterministic=True)
    check = compare(model, embedder, faces, params.threads)
    print(
        f"export: {len(model) / 1e6:.2f} MB; on {len(faces)} faces onnxruntime is within {check['max_difference']:g} of torch,"
        f" cosine at least {check['min_cosine']:g}",
        flush=True,
    )
    # "Within" and not "beyond": of a number that is none (NaN), neither is true.
    if not (check["max_difference"] <= params.max_difference and check["min_cosine"] >= params.min_cosine):
        raise SystemExit(
            f"export: the ONNX model differs from torch by {check['max_difference']:g} (allowed {params.max_difference:g}),"
            f" cosine {check['min_cosine']:g} (at least {params.min_cosine:g}); try another export.opset or raise the tolerance"
        )
    CHECK.parent.mkdir(parents=True, exist_ok=True)
    ONNX.write_bytes(model)
    CHECK.write_text(json.dumps({"checked_faces": len(faces), **check, "bytes": len(model)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
