"""Trainings that several tests look at: a learner on tiny faces, and one whole training."""

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
import tiny_faces

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

from test_experiment_stages import run, workplace

CPU = torch.device("cpu")
RECIPE = {"epochs": 6, "ema": 0.9, "faces_per_person": 4}
"""With all that a checkpoint has to bring back."""


def learner_on_discs(people: int = 4, faces: int = 48, **params: object):
    """A learner on tiny faces, without augmentation."""
    from facelib.faces import Faces
    from facelib.learner import Learner

    given = {"embedding": 16, "learning_rate": 0.01, "mirror": 0, "jitter": 0, "colour": 0, "erase": 0, "threads": 1}
    recipe = importlib.import_module("params.train").Params(**{**given, **params}).recipe()
    rng = np.random.default_rng(0)
    looks = rng.uniform(0, 1, (people, 4, 4))
    pixels = np.stack([np.asarray(tiny_faces.face(looks[i % people], rng)) for i in range(faces)])
    return Learner(recipe, Faces([str(i) for i in range(faces)], [str(i % people) for i in range(faces)], pixels), CPU)


def train_undisturbed(folder: Path) -> Path:
    """One whole training of RECIPE; returns its folder."""
    tiny_faces.params(workplace(folder), **RECIPE)
    run(folder, "train", CHECKPOINTS="")
    return folder


def outputs(folder: Path) -> dict[str, str]:
    names = ("models/model.safetensors", "results/training.csv", "results/training.json")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
