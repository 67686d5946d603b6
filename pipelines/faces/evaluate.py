"""evaluate: verify and identify people never seen in training: the model, raw pixels and the untrained network.

in   models/model.safetensors, data/aligned, data/split.parquet, data/pairs.parquet, section `evaluate` of params.yaml
out  results/metrics.json       final numbers; *_low and *_high: 95 % intervals over people; pixels_* and untrained_*:
                                the same by raw pixels and by the network with random weights (also where the
                                training began with published ones) on the same pairs; auc_over_*: how much higher
                                the model's AUC is
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
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from facelib import bootstrap, calibration, curves, identification, live, partitions, quality, verification
from facelib.backbones import build, header
from facelib.backbones import load as load_model
from facelib.bootstrap import Ends
from facelib.calibration import Calibration
from facelib.embedder import Embedder, choose_device, embed, make_deterministic, normalise, resample
from facelib.faces import Faces, Pairs, load_faces, load_pairs
from facelib.verification import Flags, Scores
from params import load
from params.evaluate import Params

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
MODEL, RESULTS = Path("models/model.safetensors"), Path("results")
PAIR_SCORES = pa.schema(
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
BASELINES = ("pixels", "untrained")

Vectors = dict[str, NDArray[np.float32]]
"""Embeddings of the test faces by the model ("model"), by raw pixels and by the network with random weights."""
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


def at_thresholds(calibrated: Calibration, scores: Scores, same: Flags) -> curves.Rows:
    """What each threshold that goes with the model gives on people it was not chosen with; the one for use first.

    `aim` is the FAR that it kept to on the validation pairs, None for the one of highest accuracy there.
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


def ends(faces: Faces, pairs: Pairs) -> Ends:
    """The people of each pair."""
    return Ends.of(faces.identities, pairs.a, pairs.b)


def measure(
    params: Params, faces: Faces, pairs: Pairs, vectors: Vectors, scores: dict[str, NDArray[np.float64]]
) -> tuple[dict[str, Numbers], dict[str, bootstrap.Interval]]:
    """Verification and identification by the model and both baselines, and the model's intervals."""
    ranks = {name: identify(found, faces.identities, params) for name, found in vectors.items()}
    numbers = {name: verification.summary(scores[name], pairs.same, pairs.fold) | ranks[name][0] for name in vectors}
    people = ends(faces, pairs)
    drawn = bootstrap.replicates(scores["model"], pairs.same, pairs.fold, people, params.draws, params.seed)
    for name in BASELINES:
        # The same people are drawn for both, so that what makes a draw easy for both falls out of the difference.
        theirs = bootstrap.auc_replicates(scores[name], pairs.same, people, params.draws, params.seed)
        numbers["model"][f"auc_over_{name}"] = numbers["model"]["auc"] - numbers[name]["auc"]
        drawn[f"auc_over_{name}"] = drawn["auc"] - theirs
    return numbers, bootstrap.intervals(drawn | ranks["model"][1])


def write_scores(faces: Faces, pairs: Pairs, scores: dict[str, NDArray[np.float64]]) -> None:
    """results/pairs.parquet: keys, truth, fold, `score` of the model and scores of the two baselines."""
    columns = [
        [faces.keys[i] for i in pairs.a],
        [faces.keys[i] for i in pairs.b],
        pairs.same.tolist(),
        pairs.fold.tolist(),
        *(scores[name].tolist() for name in ("model", *BASELINES)),
    ]
    rows = (dict(zip(PAIR_SCORES.names, row, strict=True)) for row in zip(*columns, strict=True))
    partitions.write(RESULTS / "pairs.parquet", PAIR_SCORES, rows)


def write_embeddings(faces: Faces, vectors: NDArray[np.float32]) -> None:
    """results/embeddings.parquet: the model's embedding of every test face."""
    rows = zip(faces.keys, faces.identities, vectors.tolist(), strict=True)
    partitions.write(
        RESULTS / "embeddings.parquet", EMBEDDINGS, (dict(zip(EMBEDDINGS.names, row, strict=True)) for row in rows)
    )


def metric_name(which: str, key: str) -> str:
    """What a number is called in metrics.json: the baselines' have a prefix, the model's accuracy another."""
    if which != "model":
        return f"{which}_{key}"
    return f"verification_{key}" if key in ("accuracy", "accuracy_sd") else key


def write_metrics(counts: Numbers, numbers: dict[str, Numbers], limits: dict[str, bootstrap.Interval]) -> Numbers:
    """results/metrics.json: the model's numbers, each with its interval, then the baselines'."""
    metrics = dict(counts)
    for which, values in numbers.items():
        for key, value in values.items():
            name = metric_name(which, key)
            metrics[name] = round(value, 6)
            if which == "model" and key in limits:
                metrics[f"{name}_low"], metrics[f"{name}_high"] = (round(end, 6) for end in limits[key])
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def show(numbers: dict[str, Numbers], limits: dict[str, bootstrap.Interval], same: Flags) -> None:
    """A table of the numbers, the model's with its intervals, and what the pairs cannot say."""
    print(f"{'':24}{'model':>8}{'95 % interval':>20}" + "".join(f"{name:>12}" for name in BASELINES))
    for key, value in numbers["model"].items():
        low_high = limits.get(key)
        told = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
        others = [f"{numbers[name][key]:12.4f}" for name in BASELINES if key in numbers[name]]
        print(f"{key:24}{value:8.4f}{told:>20}" + "".join(others))
    if "auc" not in limits:
        print("no intervals of these: so few people that many a draw holds no pair of different ones")
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
    vectors = embed_all(params, faces)
    scores = {name: verification.cosine(found, pairs.a, pairs.b) for name, found in vectors.items()}
    numbers, limits = measure(params, faces, pairs, vectors, scores)
    calibrated = Calibration.from_dict(header(MODEL)["calibration"])
    thresholds = at_thresholds(calibrated, scores["model"], pairs.same)
    probability = calibrated.probability(scores["model"])
    numbers["model"] |= {
        "threshold": calibrated.threshold,
        **{f"{name}_at_threshold": thresholds[0][name] for name in ("accuracy", "tar", "far")},
        "calibration_error": calibration.error(probability, pairs.same),
    }
    thirds = quality.thirds(
        quality.load(ALIGNED, faces.keys), scores["model"], pairs, ends(faces, pairs), calibrated.threshold,
        params.draws, params.seed,
    )  # fmt: skip
    curves.write(RESULTS / "roc.csv", curves.roc(scores, pairs.same))
    curves.write(
        RESULTS / "tar_at_far.csv", curves.tar_at_far(numbers, limits), ["far", "tar", "low", "high", "series"]
    )
    curves.write(RESULTS / "scores.csv", curves.histogram(scores["model"], pairs.same))
    curves.write(RESULTS / "calibration.csv", curves.reliability(probability, pairs.same))
    curves.write(RESULTS / "thresholds.csv", thresholds)
    curves.write(RESULTS / "quality.csv", [vars(third) for third in thirds], [f.name for f in fields(quality.Third)])
    write_scores(faces, pairs, scores)
    write_embeddings(faces, vectors["model"])
    counts = {"test_identities": len(set(faces.identities)), "test_pairs": len(pairs.same)}
    live.log(0, **write_metrics(counts, numbers, limits))
    show(numbers, limits, pairs.same)


if __name__ == "__main__":
    main()
