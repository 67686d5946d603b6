"""Training images per second: our loop beside a plain PyTorch loop, in one run on one machine.

Plain: ImageFolder of PNG files, torchvision's transforms, DataLoader workers, the same network, loss and optimiser.
Ours: faces decoded once, augmented in batches where they lie. Both see the same faces of 112 px; each is timed over
whole epochs after one that is not counted, in turns, and the best of its rounds is told.

    docker/repro python benchmarks/train.py [--backbone small] [--faces 1536] [--rounds 3]
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipelines" / "faces"))

from facelib.backbones import build
from facelib.faces import Faces
from facelib.hardware import run_freely
from facelib.learner import Learner
from facelib.objectives import make_loss
from params.train import Params, Recipe

PEOPLE = 48
SIDE = 112


def make_faces(count: int) -> Faces:
    """Smooth pictures: as long to decode as photographs, nothing to see."""
    rng = np.random.default_rng(0)
    pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)
        pixels[index] = (smooth + rng.integers(-4, 5, smooth.shape)).clip(0, 255)
    return Faces([f"{i:06}" for i in range(count)], [f"{i % PEOPLE:03}" for i in range(count)], pixels)


def write_files(faces: Faces, folder: Path) -> None:
    for key, identity, pixels in zip(faces.keys, faces.identities, faces.pixels, strict=True):
        (folder / identity).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / identity / f"{key}.png", compress_level=1)


def plain(recipe: Recipe, folder: Path, device: torch.device, workers: int, network: nn.Module) -> Callable[[], int]:
    """An epoch of a loop as tutorials write it; gives how many faces it saw."""
    size, jitter = recipe.input_size, 2 * recipe.jitter
    change = v2.Compose(
        [
            v2.RandomResizedCrop(size, ((1 - jitter) ** 2, 1), antialias=True),
            v2.RandomHorizontalFlip(recipe.mirror),
            v2.ColorJitter(recipe.colour, recipe.colour, recipe.colour),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
            v2.RandomErasing(recipe.erase, (0.01, 0.25)),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(str(folder), change),
        recipe.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    network = network.to(device).train()
    loss = make_loss(recipe, PEOPLE).to(device)
    weights = [*network.parameters(), *loss.parameters()]
    optimiser = AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def epoch() -> int:
        for x, labels in loader:
            value = loss(network(x.to(device, non_blocking=True)), labels.to(device))
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(weights, recipe.clip)
            optimiser.step()
            value.item()
        return len(loader.dataset)  # type: ignore[arg-type]

    return epoch


def ours(learner: Learner) -> Callable[[], int]:
    """An epoch of ours."""

    def epoch() -> int:
        learner.step = 0
        return sum(count for count, _, _ in learner.epoch(1))

    return epoch


def measure(epochs: dict[str, Callable[[], int]], rounds: int, device: torch.device) -> dict[str, float]:
    """Images per second of each, the best of `rounds`, taken in turns."""
    best = dict.fromkeys(epochs, 0.0)
    for turn in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.monotonic()
            seen = epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                best[name] = max(best[name], seen / (time.monotonic() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="small", choices=["small", "mobilefacenet", "inception_resnet_v1"])
    parser.add_argument("--faces", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = Params(backbone=given.backbone, threads=given.threads).recipe()
    faces = make_faces(given.faces)
    run_freely(given.threads)
    learner = Learner(recipe, faces, device)
    with tempfile.TemporaryDirectory() as folder:
        write_files(faces, Path(folder))
        epochs = {
            f"plain, {workers or 'no'} workers": plain(
                recipe, Path(folder), device, workers, build(learner.description)
            )
            for workers in (0, given.threads)
        }
        found = measure({**epochs, "ours": ours(learner)}, given.rounds, device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{given.threads} threads, {platform.machine()}"
    print(f"{given.backbone}, {recipe.input_size} px, batch {recipe.batch}, {where}, torch {torch.__version__}")
    for name, speed in found.items():
        print(f"| {name} | {speed:.0f} | {speed / max(found[n] for n in epochs):.2f} |")


if __name__ == "__main__":
    main()
