"""Parameters of the train stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the embedding is learned."""

    backbone: Literal["small", "inception_resnet_v1"] = Field(
        "small",
        description="Network: small (0.3 M parameters, 64 px) or facenet-pytorch's InceptionResnetV1 (23 M, 160 px)",
    )
    embedding: int = Field(128, ge=8, le=2048, description="Length of the embedding")
    loss: Literal["cosface", "arcface", "softmax"] = Field("cosface", description="Loss over the training identities")
    margin: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Margin: of the cosine for cosface, radians for arcface; softmax has none",
    )
    scale: float = Field(24, gt=0, le=128, description="What cosines are multiplied by before the softmax")
    epochs: int = Field(45, ge=1, le=10_000, description="Passes over the training faces")
    batch: int = Field(64, ge=2, le=65_536, description="Faces in a batch")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="Optimiser; sgd has Nesterov momentum 0.9")
    learning_rate: float = Field(0.002, gt=0, le=10, description="Highest learning rate")
    warmup: float = Field(
        0.1,
        ge=0,
        le=0.9,
        description="Share of the steps over which the rate rises; then it falls as a cosine",
    )
    weight_decay: float = Field(0.05, ge=0, le=1, description="Weight decay")
    clip: float = Field(5, gt=0, le=1e6, description="Longest gradient (norm); longer ones are scaled down")
    mirror: float = Field(0.5, ge=0, le=1, description="Chance that a face is mirrored")
    jitter: float = Field(
        0.08, ge=0, le=0.4, description="How far each edge of the frame moves, share of the face's side"
    )
    colour: float = Field(0.3, ge=0, le=1, description="How far brightness, contrast and saturation move")
    erase: float = Field(0.3, ge=0, le=1, description="Chance that a rectangle of a face is painted grey")
    snapshot: Literal["auc", "accuracy", "tar_at_far_0.1", "tar_at_far_0.01", "last"] = Field(
        "auc",
        description="The epoch whose weights are kept: best on the validation pairs by this, or the last",
    )
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of initial weights, order and augmentation")
    threads: int = Field(2, ge=1, le=256, description="CPU threads; the bytes of the weights depend on it")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; auto takes a GPU where there is one"
    )
    memory_gb: float = Field(8, gt=0, le=4096, description="Most memory the decoded faces may take, GB")
