"""train: learn an embedding of faces from the training identities.

in   data/aligned, data/split.parquet, data/pairs.parquet, section `train` of params.yaml
out  models/model.safetensors  weights of the epoch that verifies the validation pairs best; its header holds
                               thresholds and probabilities, calibrated on those pairs
     results/training.csv      a row per epoch
Live: loss, rate, gradient norm and images per second as they come, in $LIVE (./live).
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facelib import live, verification
from facelib.backbones import save
from facelib.calibration import Calibration
from facelib.embedder import Embedder, choose_device, embed, make_deterministic
from facelib.faces import Faces, Pairs, load_faces, load_pairs
from facelib.learner import Learner
from params import load
from params.train import Params

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
MODEL, CURVES = Path("models/model.safetensors"), Path("results/training.csv")


def validate(embedder: Embedder, faces: Faces, pairs: Pairs, batch: int) -> dict[str, float]:
    """Verification of the validation pairs: auc, accuracy (one threshold for all), TAR@FAR where resolvable."""
    scores = verification.cosine(embed(embedder, faces.pixels, batch), pairs.a, pairs.b)
    numbers = {
        "auc": verification.auc(scores, pairs.same),
        "accuracy": verification.best_threshold(scores, pairs.same)[1],
    }
    for limit in (0.1, 0.01):
        tar = verification.tar_at_far(scores, pairs.same, limit)
        if tar is not None:
            numbers[f"tar_at_far_{limit:g}"] = tar
    return numbers


def run_epoch(learner: Learner, epoch: int) -> dict[str, float]:
    """Train for one epoch; mean loss, mean gradient norm and the rate at its end. Logs live on the way."""
    seen, losses_, norms = 0, [], []
    rate = float(learner.schedule.get_last_lr()[0])
    start = time.monotonic()
    for index, (count, loss, norm) in enumerate(learner.steps()):
        seen += count
        losses_.append(loss)
        norms.append(norm)
        rate = float(learner.schedule.get_last_lr()[0])
        live.log((epoch - 1) * learner.batches + index + 1, loss=loss, learning_rate=rate, gradient_norm=norm)
    step = epoch * learner.batches
    live.log(step, images_per_second=seen / (time.monotonic() - start), epoch=epoch)
    return {"loss": float(np.mean(losses_)), "learning_rate": rate, "gradient_norm": float(np.mean(norms))}


def fit(learner: Learner, faces: Faces, pairs: Pairs) -> tuple[list[dict[str, float]], dict[str, Tensor], int]:
    """All epochs: a row of numbers for each, the weights of the best by `snapshot`, and which that was."""
    params = learner.params
    history: list[dict[str, float]] = []
    best, best_value, weights = 0, -math.inf, {}
    start = last_line = time.monotonic()
    for epoch in range(1, params.epochs + 1):
        row = run_epoch(learner, epoch)
        checked = validate(learner.embedder, faces, pairs, params.batch)
        live.log(epoch * learner.batches, **{f"val_{name}": value for name, value in checked.items()})
        value = float(epoch) if params.snapshot == "last" else criterion(checked, params.snapshot)
        if value > best_value:
            best, best_value = epoch, value
            weights = {name: tensor.clone() for name, tensor in learner.embedder.network.state_dict().items()}
        history.append({"epoch": epoch, **row, **{f"val_{name}": number for name, number in checked.items()}})
        now = time.monotonic()
        if now - last_line > 2 or epoch in (1, params.epochs):
            speed = epoch * len(learner.labels) / (now - start)
            print(
                f"train: epoch {epoch}/{params.epochs}, loss {row['loss']:.3f}, validation auc {checked['auc']:.4f}"
                f" accuracy {checked['accuracy']:.4f}, {speed:.0f} images/s,"
                f" {(params.epochs - epoch) * len(learner.labels) / speed:.0f} s left",
                flush=True,
            )
            last_line = now
    return history, weights, best


def criterion(checked: dict[str, float], name: str) -> float:
    """The number that snapshots are compared by; SystemExit where there are too few pairs for it."""
    if name not in checked:
        raise SystemExit(
            f"train: too few validation pairs for snapshot {name!r}; set train.snapshot to auc or add people"
        )
    return checked[name]


def sheet(batch: Tensor) -> Image.Image:
    """Up to 32 normalised faces [N, 3, size, size] side by side."""
    pixels = (batch[:32] * 128 + 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    rows = [
        np.hstack(list(row)) for row in np.split(pixels[: len(pixels) // 8 * 8], max(1, len(pixels) // 8)) if len(row)
    ]
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    """Train, write model and curves."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "train")
    make_deterministic(params.threads)
    device, why = choose_device(params.device)
    faces = load_faces(ALIGNED, SPLIT, "train", params.memory_gb)
    val = load_faces(ALIGNED, SPLIT, "val", params.memory_gb)
    pairs = load_pairs(PAIRS, "val", val)
    learner = Learner(params, faces, device)
    size = sum(weight.numel() for weight in learner.embedder.parameters())
    print(
        f"train: {params.backbone}, {size:,} parameters, on {device} ({why}): {len(faces.keys)} faces of"
        f" {len(learner.names)} people; validation: {len(pairs.same)} pairs of {len(set(val.identities))} people",
        flush=True,
    )
    live.picture("batch", sheet(learner.change(learner.faces[:32])))
    history, weights, best = fit(learner, val, pairs)
    learner.embedder.network.load_state_dict(weights)
    scores = verification.cosine(embed(learner.embedder, val.pixels, params.batch), pairs.a, pairs.b)
    calibration = Calibration.fit(scores, pairs.same).to_dict()
    save(
        learner.embedder.network, learner.description, MODEL,
        epoch=best, snapshot=params.snapshot, calibration=calibration,
    )  # fmt: skip
    CURVES.parent.mkdir(parents=True, exist_ok=True)
    with CURVES.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    print(f"train: kept epoch {best} of {params.epochs} ({params.snapshot})", flush=True)


if __name__ == "__main__":
    main()
