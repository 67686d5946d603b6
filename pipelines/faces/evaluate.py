"""evaluate: verify and identify people never seen in training: the model, raw pixels and the untrained network.

in   models/model.safetensors, data/aligned, data/split.parquet, data/pairs.parquet, section `evaluate` of params.yaml
out  results/metrics.json       final numbers; *_low and *_high: 95 % intervals over people; pixels_* and untrained_*:
                                the same by raw pixels and by the untrained network on the same pairs
     results/roc.csv            ROC of all three: FAR, TAR, series
     results/tar_at_far.csv     TAR at the FARs that the pairs can resolve, the model's with intervals, beside the baselines
     results/scores.csv         histogram of the model's scores: score, pairs, series (same, different)
     results/calibration.csv    pairs of each tenth of probability: predicted, observed; series model and ideal
     results/thresholds.csv     the thresholds that go with the model, and what each gives on the test pairs
     results/quality.csv        verification by thirds of sharpness, size, light and pose
     results/pairs.parquet      every test pair with its three scores
     results/embeddings.parquet key, identity and embedding of every test face
"""

import argparse
import csv
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from facelib import bootstrap, calibration, identification, live, partitions, quality, verification
from facelib.backbones import build, header
from facelib.backbones import load as load_model
from facelib.bootstrap import Ends
from facelib.calibration import Calibration
from facelib.embedder import Embedder, choose_device, embed, make_deterministic, normalise, resample
from facelib.faces import Faces, Pairs, load_faces, load_pairs
from params import load
from params.evaluate import Params

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
MODEL, RESULTS = Path("models/model.safetensors"), Path("results")
SCORES = pa.schema(
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
EMBEDDINGS = pa.schema([("key", pa.string()), ("identity", pa.string()), ("embedding", pa.list_(pa.float32()))])
RANKS = (1, 5)

Vectors = dict[str, NDArray[np.float32]]
"""Embeddings of the test faces by the model ("model"), by raw pixels and by the network before training."""
Numbers = dict[str, float]


def pixel_vectors(embedder: Embedder, faces: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    """The picture itself as an embedding: the network's input without its mean, at unit length."""
    parts = []
    for chunk in torch.from_numpy(faces).split(batch):
        x = normalise(resample(chunk.to(embedder.matrix.device), embedder.matrix, embedder.matrix)).flatten(1)
        parts.append(torch.nn.functional.normalize(x - x.mean(1, keepdim=True)).cpu())
    return torch.cat(parts).numpy()


def embed_all(params: Params, faces: Faces) -> Vectors:
    """The faces by the model and by both baselines."""
    device, why = choose_device(params.device)
    network, description = load_model(MODEL)
    print(f"evaluate: {len(faces.keys)} faces of {len(set(faces.identities))} people on {device} ({why})", flush=True)
    trained = Embedder(network, description.face_size, description.input_size).to(device)
    untrained = Embedder(build(description), description.face_size, description.input_size).to(device)
    return {
        "model": embed(trained, faces.pixels, params.batch, params.mirrored),
        "pixels": pixel_vectors(trained, faces.pixels, params.batch),
        "untrained": embed(untrained, faces.pixels, params.batch, params.mirrored),
    }


def identify(
    vectors: NDArray[np.float32], identities: list[str], params: Params
) -> tuple[Numbers, bootstrap.Replicates]:
    """rank_1 and rank_5, where the gallery is larger than that, and their replicates."""
    rank, person, gallery = identification.ranks(vectors, identities)
    told = [k for k in RANKS if k < gallery]
    numbers = {f"rank_{k}": identification.rate(rank, k) for k in told}
    drawn = {f"rank_{k}": identification.rate_replicates(rank, person, k, params.draws, params.seed) for k in told}
    return numbers, drawn


def at_thresholds(
    calibrated: Calibration, scores: verification.Scores, same: verification.Flags
) -> list[dict[str, Any]]:
    """What each threshold that goes with the model gives on people it was not chosen with; the one for use first.

    `aim` is the FAR that it had on the validation pairs, None for the one of highest accuracy there.
    """
    aims = [(None, calibrated.threshold), *((float(aim), at) for aim, at in calibrated.thresholds_at_far.items())]
    return [
        {
            "aim": aim,
            "threshold": threshold,
            "accuracy": float(np.mean((scores >= threshold) == same)),
            "tar": float(np.mean(scores[same] >= threshold)),
            "far": float(np.mean(scores[~same] >= threshold)),
        }
        for aim, threshold in aims
    ]


def write_csv(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """results/NAME.csv; six digits, an empty field for None."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)


def write_curves(
    scores: dict[str, NDArray[np.float64]],
    same: verification.Flags,
    numbers: dict[str, Numbers],
    limits: dict[str, bootstrap.Interval],
    calibrated: Calibration,
) -> None:
    """The tables that `dvc plots` draws: a row is a point, its `series` a curve."""
    curves = {name: verification.thinned_roc(values, same) for name, values in scores.items()}
    write_csv(
        "roc",
        ["far", "tar", "series"],
        [(float(x), float(y), name) for name, curve in curves.items() for x, y in zip(*curve, strict=True)],
    )
    points = [
        (limit, numbers[name][key], *(limits.get(key, (None, None)) if name == "model" else (None, None)), name)
        for name in scores
        for limit in verification.FARS
        if (key := f"tar_at_far_{limit:g}") in numbers[name]
    ]
    write_csv("tar_at_far", ["far", "tar", "low", "high", "series"], points)
    edges = np.histogram_bin_edges(scores["model"], 40)
    counts = {kind: np.histogram(scores["model"][same == (kind == "same")], edges)[0] for kind in ("same", "different")}
    middles = (edges[:-1] + edges[1:]) / 2
    bars = [(float(x), int(n), kind) for kind, found in counts.items() for x, n in zip(middles, found, strict=True)]
    write_csv("scores", ["score", "pairs", "series"], bars)
    observed = [
        (part.predicted, part.observed, part.pairs, "model")
        for part in calibration.curve(calibrated.probability(scores["model"]), same)
    ]
    ideal = [(0.0, 0.0, None, "ideal"), (1.0, 1.0, None, "ideal")]
    write_csv("calibration", ["predicted", "observed", "pairs", "series"], observed + ideal)


def write_scores(faces: Faces, pairs: Pairs, scores: dict[str, NDArray[np.float64]]) -> None:
    """results/pairs.parquet: keys, truth, fold, `score` of the model and scores of the two baselines."""
    columns = [
        [faces.keys[i] for i in pairs.a],
        [faces.keys[i] for i in pairs.b],
        pairs.same.tolist(),
        pairs.fold.tolist(),
        *(scores[name].tolist() for name in ("model", "pixels", "untrained")),
    ]
    rows = (dict(zip(SCORES.names, row, strict=True)) for row in zip(*columns, strict=True))
    partitions.write(RESULTS / "pairs.parquet", SCORES, rows)


def write_metrics(counts: Numbers, numbers: dict[str, Numbers], limits: dict[str, bootstrap.Interval]) -> Numbers:
    """results/metrics.json: the model's numbers, each with its interval, then the baselines'."""
    metrics = dict(counts)
    for name, values in numbers.items():
        for key, value in values.items():
            full = (
                f"{name}_{key}"
                if name != "model"
                else f"verification_{key}"
                if key in ("accuracy", "accuracy_sd")
                else key
            )
            metrics[full] = round(value, 6)
            if name == "model" and key in limits:
                metrics[f"{full}_low"], metrics[f"{full}_high"] = (round(end, 6) for end in limits[key])
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def show(numbers: dict[str, Numbers], limits: dict[str, bootstrap.Interval], same: verification.Flags) -> None:
    """A table of the numbers, the model's with its intervals, and what the pairs cannot say."""
    print(f"{'':24}{'model':>8}{'95 % interval':>20}" + "".join(f"{name:>12}" for name in list(numbers)[1:]))
    for key, value in numbers["model"].items():
        low_high = limits.get(key)
        told = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
        others = [f"{values[key]:12.4f}" for values in list(numbers.values())[1:] if key in values]
        print(f"{key:24}{value:8.4f}{told:>20}" + "".join(others))
    different = int((~same).sum())
    for limit in verification.unresolved(same):
        print(
            f"TAR at FAR {limit:g} is not told: it needs {1 / limit:.0f} pairs of different people, there are {different}"
        )


def main() -> None:
    """Embed, score, measure, write, print a table."""
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
    vectors, ends = embed_all(params, faces), Ends.of(faces.identities, pairs.a, pairs.b)
    scores = {name: verification.cosine(found, pairs.a, pairs.b) for name, found in vectors.items()}
    ranks = {name: identify(found, faces.identities, params) for name, found in vectors.items()}
    numbers = {name: verification.summary(scores[name], pairs.same, pairs.fold) | ranks[name][0] for name in vectors}
    drawn = bootstrap.replicates(scores["model"], pairs.same, pairs.fold, ends, params.draws, params.seed)
    limits = bootstrap.intervals(drawn | ranks["model"][1])
    calibrated = Calibration.from_dict(header(MODEL)["calibration"])
    thresholds = at_thresholds(calibrated, scores["model"], pairs.same)
    write_csv("thresholds", list(thresholds[0]), [list(row.values()) for row in thresholds])
    numbers["model"] |= {
        "threshold": calibrated.threshold,
        **{f"{name}_at_threshold": thresholds[0][name] for name in ("accuracy", "tar", "far")},
        "calibration_error": calibration.error(calibrated.probability(scores["model"]), pairs.same),
    }
    thirds = quality.thirds(
        quality.load(ALIGNED, faces.keys), scores["model"], pairs, ends, calibrated.threshold, params.draws, params.seed
    )
    write_csv("quality", [field.name for field in dataclasses.fields(quality.Third)], map(dataclasses.astuple, thirds))
    write_curves(scores, pairs.same, numbers, limits, calibrated)
    write_scores(faces, pairs, scores)
    rows = zip(faces.keys, faces.identities, vectors["model"].tolist(), strict=True)
    partitions.write(
        RESULTS / "embeddings.parquet", EMBEDDINGS, (dict(zip(EMBEDDINGS.names, row, strict=True)) for row in rows)
    )
    counts = {"test_identities": len(set(faces.identities)), "test_pairs": len(pairs.same)}
    live.log(0, **write_metrics(counts, numbers, limits))
    show(numbers, limits, pairs.same)


if __name__ == "__main__":
    main()
