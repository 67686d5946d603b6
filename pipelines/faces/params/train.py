"""Parameters of the train stage, and what each backbone takes where they are left empty."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Backbone = Literal["small", "mobilefacenet", "inception_resnet_v1"]


class Params(BaseModel, extra="forbid", frozen=True):
    """How the embedding is learned. Empty (null) values take the backbone's or the loss's own: BACKBONES, LOSSES."""

    backbone: Backbone = Field(
        "small",
        description="Network: small (0.3 M parameters, 64 px), mobilefacenet (1 M, 112 px) or inception_resnet_v1 (23 M, 160 px)",
    )
    input_size: int | None = Field(
        None, ge=32, le=512, multiple_of=16, description="Side of the network's input, px; null: the backbone's"
    )
    embedding: int | None = Field(None, ge=8, le=2048, description="Length of the embedding; null: the backbone's")
    loss: Literal["cosface", "arcface", "softmax", "triplet"] = Field(
        "cosface", description="Loss over the training identities"
    )
    margin: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Margin: of the cosine for cosface and triplet, radians for arcface; softmax has none; null: the loss's",
    )
    scale: float = Field(
        24, gt=0, le=128, description="What cosines are multiplied by before the softmax; triplet has none"
    )
    mining: Literal["semihard", "hard", "all"] = Field(
        "semihard", description="Which triplets of a batch count; the other losses need none"
    )
    epochs: int | None = Field(
        None, ge=1, le=10_000, description="Passes, each of as many faces as there are; null: the backbone's"
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Stop after so many epochs without a better snapshot; 0, and with snapshot last: never",
    )
    batch: int | None = Field(
        None, ge=2, le=65_536, description="Faces in a batch, over all processes; null: the backbone's"
    )
    faces_per_person: int | None = Field(
        None,
        ge=0,
        le=1024,
        description="Batches of people drawn alike often, so many faces each; 0: every face once an epoch, shuffled; null: the loss's",
    )
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="Optimiser; sgd has Nesterov momentum 0.9")
    learning_rate: float | None = Field(None, gt=0, le=10, description="Highest learning rate; null: the backbone's")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="How the rate goes on once it has risen")
    warmup: float = Field(0.1, ge=0, le=0.9, description="Share of the steps over which the rate rises")
    weight_decay: float | None = Field(None, ge=0, le=1, description="Weight decay; null: the backbone's")
    clip: float = Field(5, gt=0, le=1e6, description="Longest gradient (norm); longer ones are scaled down")
    ema: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Decay per step of the averaged weights, which are validated and kept; 0: no average; null: the backbone's",
    )
    mirror: float = Field(0.5, ge=0, le=1, description="Chance that a face is mirrored")
    jitter: float = Field(
        0.08, ge=0, le=0.4, description="How far each edge of the frame moves, share of the face's side"
    )
    colour: float = Field(0.3, ge=0, le=1, description="How far brightness, contrast and saturation move")
    erase: float = Field(0.3, ge=0, le=1, description="Chance that a rectangle of a face is painted grey")
    snapshot: Literal["auc", "accuracy", "tar_at_far_0.1", "tar_at_far_0.01", "loss", "last"] = Field(
        "auc",
        description="The epoch whose weights are kept: best on the validation pairs by this (the lowest loss), or the last",
    )
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of initial weights, order and augmentation")
    deterministic: bool = Field(
        True, description="Same machine class, same bytes; what cannot promise that is refused (several GPUs)"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Of the network's arithmetic; auto: bf16 or fp16 on a GPU that gains by it, else fp32"
    )
    channels_last: bool | None = Field(
        None, description="Memory layout of pictures; null: where it gains (the CPU; a GPU in bf16 or fp16)"
    )
    threads: int = Field(2, ge=1, le=256, description="CPU threads; the bytes of the weights depend on it")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; auto takes a GPU where there is one"
    )
    memory_gb: float = Field(
        8, gt=0, le=4096, description="Most memory the decoded faces may take, GB; more are streamed from a file"
    )
    checkpoint_seconds: float = Field(
        60, ge=0, le=86_400, description="From one checkpoint to the next; 0: after every step"
    )

    def recipe(self, pretrained: bool = False) -> "Recipe":
        """With every empty value chosen: those of the backbone, from scratch or from pretrained weights."""
        chosen = {**BACKBONES[self.backbone], **(PRETRAINED if pretrained else {}), **LOSSES[self.loss]}
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return Recipe(**{**chosen, **given})


class Recipe(Params, frozen=True):
    """Parameters with nothing left to choose but what depends on the device."""

    input_size: int
    embedding: int
    margin: float
    faces_per_person: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    ema: float

    def chosen(self, params: Params) -> str:
        """The values that `params` had left empty, for people: "batch 64, epochs 45"."""
        empty = [
            name for name, value in params.model_dump().items() if value is None and getattr(self, name) is not None
        ]
        return ", ".join(f"{name} {getattr(self, name):g}" for name in empty)


BACKBONES: dict[str, dict[str, Any]] = {
    "small": {
        "input_size": 64,
        "embedding": 128,
        "epochs": 45,
        "batch": 64,
        "learning_rate": 0.002,
        "weight_decay": 0.05,
        "ema": 0.0,
    },
    "mobilefacenet": {
        "input_size": 112,
        "embedding": 128,
        "epochs": 45,
        "batch": 64,
        "learning_rate": 0.002,
        "weight_decay": 0.05,
        "ema": 0.99,
    },
    "inception_resnet_v1": {
        "input_size": 160,
        "embedding": 512,
        "epochs": 30,
        "batch": 64,
        "learning_rate": 0.0005,
        "weight_decay": 0.05,
        "ema": 0.99,
    },
}
"""What each backbone takes where a parameter is null."""
PRETRAINED: dict[str, Any] = {"epochs": 8, "learning_rate": 0.0001}
"""Beside that, what fine-tuning takes: little, slowly."""
LOSSES: dict[str, dict[str, Any]] = {
    "cosface": {"margin": 0.2, "faces_per_person": 0},
    "arcface": {"margin": 0.3, "faces_per_person": 0},
    "softmax": {"margin": 0.0, "faces_per_person": 0},
    "triplet": {"margin": 0.2, "faces_per_person": 4},  # a face needs others of its person in the batch
}
"""What each loss takes where a parameter is null."""
