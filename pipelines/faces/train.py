"""train: learn an embedding of faces from the training identities.

in   data/aligned, data/split.parquet, data/pairs.parquet, models/pretrained.safetensors, section `train` of params.yaml
out  models/model.safetensors  weights of the snapshot that verifies the validation pairs best; its header holds
                               thresholds and probabilities, calibrated on those pairs
     results/training.csv      a row per epoch
     results/training.json     which snapshot was kept, and why
Live: loss, rate, gradient norm, images per second and how busy the device is as they come, in $LIVE (./live).
A killed training goes on from its last checkpoint in $CHECKPOINTS (./checkpoints; empty: none), to the same weights.

On several GPUs: torchrun --standalone --nproc-per-node gpu train.py
"""

import argparse
import csv
import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from facelib import checkpoints, live, verification
from facelib.backbones import save
from facelib.calibration import Calibration
from facelib.embedder import choose_device, embed, make_deterministic
from facelib.faces import load_faces, load_pairs
from facelib.fitting import Fit
from facelib.hardware import run_freely
from facelib.learner import Learner
from params import load
from params.train import Params, Recipe

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
PRETRAINED = Path("models/pretrained.safetensors")
MODEL, CURVES, KEPT = Path("models/model.safetensors"), Path("results/training.csv"), Path("results/training.json")


def prepare(recipe: Recipe, device: torch.device) -> None:
    """Make torch deterministic, or fast. SystemExit where determinism is asked for and cannot be promised."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if not recipe.deterministic:
        run_freely(recipe.threads)
        return
    if processes > 1 and device.type == "cuda":
        raise SystemExit(
            f"train.deterministic is true, but {processes} GPUs add up their gradients in an order of their own;"
            " set train.deterministic to false, or use one GPU"
        )
    make_deterministic(recipe.threads)


def open_checkpoints(params: Params, learner: Learner) -> checkpoints.Checkpoints:
    """Those of this very training: same parameters, data, code, torch and kind of arithmetic."""
    folder = checkpoints.folder()
    if folder is None:
        return checkpoints.Checkpoints(None, "")
    code = [Path("train.py"), *Path("facelib").glob("*.py"), *Path("params").glob("*.py")]
    data = [*ALIGNED.glob("*.parquet"), SPLIT, PAIRS, PRETRAINED]
    values = {
        **params.model_dump(),
        "torch": torch.__version__,
        "processes": learner.accelerator.num_processes,
        "arithmetic": [learner.device.type, learner.precision],  # "auto" may be another on the node of the next try
    }
    return checkpoints.Checkpoints(folder, checkpoints.fingerprint(values, sorted([*code, *data])))


def read_pretrained() -> dict[str, Tensor] | None:
    """What the stage `weights` left: None where nothing was asked for. SystemExit where it has not run."""
    if not PRETRAINED.is_file():
        raise SystemExit(f"{PRETRAINED} is missing (it is empty where training starts from scratch); run weights first")
    return load_file(PRETRAINED) if PRETRAINED.stat().st_size else None


def sheet(batch: Tensor) -> Image.Image:
    """Up to 32 normalised faces [N, 3, size, size], eight side by side."""
    pixels = (batch[:32] * 128 + 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    full = np.pad(pixels, ((0, -len(pixels) % 8), (0, 0), (0, 0), (0, 0)))
    return Image.fromarray(np.vstack([np.hstack(list(row)) for row in np.split(full, len(full) // 8)]))


def remedy_for(error: RuntimeError, recipe: Recipe) -> str | None:
    """What to do about an error of torch's that is no fault of the code; None where it is one, or not known."""
    if isinstance(error, torch.OutOfMemoryError):
        return f"lower train.batch (now {recipe.batch}), train.input_size ({recipe.input_size}) or train.memory_gb"
    return "set train.deterministic to false" if "deterministic" in str(error) else None


def write(fit: Fit, pretrained: bool) -> None:
    """The kept snapshot, the curves, and why it was kept."""
    learner, best = fit.learner, fit.best
    learner.kept.load_state_dict(fit.weights)
    scores = verification.cosine(embed(learner.embedder(), fit.faces.pixels, 256), fit.pairs.a, fit.pairs.b)
    calibration = Calibration.fit(scores, fit.pairs.same).to_dict()
    about = {"epoch": best.epoch, "step": best.step, "snapshot": fit.recipe.snapshot, "why": fit.why()}
    notes = {**about, "loss": fit.recipe.loss, "pretrained": pretrained, "calibration": calibration}
    save(learner.kept, learner.description, MODEL, **notes)
    CURVES.parent.mkdir(parents=True, exist_ok=True)
    with CURVES.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(fit.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in fit.history)
    kept = {"kept_epoch": best.epoch, "kept_step": best.step, "epochs": len(fit.history), "kept_because": fit.why()}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n")


def describe(learner: Learner, params: Params, why: str, faces: str) -> str:
    """What is trained, on what, how, and what was chosen where the parameters leave it open."""
    size = sum(weight.numel() for weight in learner.network.parameters())
    processes = learner.accelerator.num_processes
    return (
        f"train: {params.backbone}, {size:,} parameters, on {learner.device} ({why})"
        f"{f' by {processes} processes' if processes > 1 else ''}: {faces}\n"
        f"train: {learner.precision} ({learner.precision_why}), {str(learner.layout).removeprefix('torch.')},"
        f" faces {'on the device' if learner.feed.resident else 'streamed'} ({learner.feed.why})\n"
        f"train: the backbone's own: {learner.recipe.chosen(params) or 'nothing, all is given'}"
    )


def main() -> None:
    """Train, write model and curves."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params = load(Params, "train")
    pretrained = read_pretrained()
    recipe = params.recipe(pretrained is not None)
    device, why = choose_device(recipe.device)
    prepare(recipe, device)
    faces = load_faces(ALIGNED, SPLIT, "train", recipe.memory_gb)
    val = load_faces(ALIGNED, SPLIT, "val", recipe.memory_gb)
    pairs = load_pairs(PAIRS, "val", val)
    learner = Learner(recipe, faces, device, pretrained)
    store = open_checkpoints(params, learner)
    fit = Fit(learner, val, pairs, store)
    if fit.main:
        data = (
            f"{len(faces.keys)} faces of {len(learner.names)} people; validation: {len(pairs.same)} pairs"
            f" of {len(set(val.identities))} people"
        )
        print(describe(learner, params, why, data), flush=True)
        live.picture("batch", sheet(learner.first_batch()))
    try:
        fit.run()
    except RuntimeError as error:
        remedy = remedy_for(error, recipe)
        if not remedy:
            raise
        raise SystemExit(f"train: {str(error).splitlines()[0]}; {remedy}") from error
    if fit.main:
        write(fit, pretrained is not None)
        print(f"train: kept epoch {fit.best.epoch}, step {fit.best.step}: {fit.why()}", flush=True)
        if "CHECKPOINTS" not in os.environ:
            store.remove()
    learner.accelerator.end_training()


if __name__ == "__main__":
    main()
