"""evaluate: verify identities that were never seen in training: the model, raw pixels and the untrained network.

in   models/model.safetensors, data/aligned, data/split.parquet, data/pairs.parquet, section `evaluate` of params.yaml
out  results/metrics.json   final numbers; pixels_* and untrained_* on the same pairs
     results/roc.csv        the model's ROC: FAR, TAR
     results/pairs.parquet  every test pair with its three scores
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from facelib import live, partitions, verification
from facelib.backbones import build
from facelib.backbones import load as load_model
from facelib.embedder import Embedder, choose_device, embed, make_deterministic, normalise, resample
from facelib.faces import Faces, Pairs, load_faces, load_pairs
from params import load
from params.evaluate import Params

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
MODEL = Path("models/model.safetensors")
METRICS, ROC, SCORES = Path("results/metrics.json"), Path("results/roc.csv"), Path("results/pairs.parquet")
SCHEMA = pa.schema(
    [
        ("key_a", pa.string()),
        ("key_b", pa.string()),
        ("same", pa.bool_()),
        ("fold", pa.int8()),
        ("score", pa.float32()),
        ("score_pixels", pa.float32()),
        ("score_untrained", pa.float32()),
    ]
)
ROC_POINTS = 500
"""Most points in roc.csv: enough for a plot, however many the pairs."""


def pixel_vectors(embedder: Embedder, faces: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    """The picture itself as an embedding: the network's input without its mean, at unit length."""
    parts = []
    for chunk in torch.from_numpy(faces).split(batch):
        x = normalise(resample(chunk.to(embedder.matrix.device), embedder.matrix, embedder.matrix)).flatten(1)
        parts.append(torch.nn.functional.normalize(x - x.mean(1, keepdim=True)).cpu())
    return torch.cat(parts).numpy()


def score_pairs(params: Params, faces: Faces, pairs: Pairs) -> dict[str, NDArray[np.float64]]:
    """Cosine of every pair by the model, by raw pixels and by the network before training."""
    device, why = choose_device(params.device)
    network, description = load_model(MODEL)
    print(
        f"evaluate: {len(pairs.same)} pairs of {len(set(faces.identities))} people on {device} ({why})",
        flush=True,
    )
    trained = Embedder(network, description.face_size, description.input_size).to(device)
    untrained = Embedder(build(description), description.face_size, description.input_size).to(device)
    vectors = {
        "trained": embed(trained, faces.pixels, params.batch, params.mirrored),
        "pixels": pixel_vectors(trained, faces.pixels, params.batch),
        "untrained": embed(untrained, faces.pixels, params.batch, params.mirrored),
    }
    return {name: verification.cosine(vector, pairs.a, pairs.b) for name, vector in vectors.items()}


def write_roc(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> None:
    """results/roc.csv, thinned to ROC_POINTS."""
    far, tar, _ = verification.roc(scores, same)
    chosen = np.unique(np.linspace(0, len(far) - 1, ROC_POINTS).round().astype(int))
    with ROC.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["far", "tar"])
        writer.writerows((f"{far[i]:.6f}", f"{tar[i]:.6f}") for i in chosen)


def write_scores(faces: Faces, pairs: Pairs, scores: dict[str, NDArray[np.float64]]) -> None:
    """results/pairs.parquet: keys, truth, fold, `score` of the model and scores of the two baselines."""
    columns = [
        [faces.keys[i] for i in pairs.a],
        [faces.keys[i] for i in pairs.b],
        pairs.same.tolist(),
        pairs.fold.tolist(),
        *(scores[name].tolist() for name in ("trained", "pixels", "untrained")),
    ]
    rows = (dict(zip(SCHEMA.names, row, strict=True)) for row in zip(*columns, strict=True))
    partitions.write(SCORES, SCHEMA, rows)


def main() -> None:
    """Score, measure, write, print a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "evaluate")
    make_deterministic(params.threads)
    faces = load_faces(ALIGNED, SPLIT, "test", params.memory_gb)
    pairs = load_pairs(PAIRS, "test", faces)
    if len(np.unique(pairs.fold)) < 2:
        raise SystemExit(
            "evaluate: cross-validation needs two folds, so four test identities or more;"
            " add people or raise split.test_share"
        )
    scores = score_pairs(params, faces, pairs)
    numbers = {name: verification.summary(score, pairs.same, pairs.fold) for name, score in scores.items()}
    metrics: dict[str, float] = {"test_identities": len(set(faces.identities)), "test_pairs": len(pairs.same)}
    for name, summary in numbers.items():
        prefix = "" if name == "trained" else f"{name}_"
        for key, value in summary.items():
            key = f"verification_{key}" if key.startswith("accuracy") and not prefix else key
            metrics[prefix + key] = round(value, 6)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(metrics, indent=2) + "\n")
    write_roc(scores["trained"], pairs.same)
    write_scores(faces, pairs, scores)
    live.log(0, **metrics)
    print(f"{'':28}" + "".join(f"{name:>12}" for name in numbers))
    for key in numbers["trained"]:
        print(f"{key:28}" + "".join(f"{summary[key]:12.4f}" for summary in numbers.values()), flush=True)


if __name__ == "__main__":
    main()
