"""Parameters of the compare stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """When a model takes the champion's place."""

    metric: Literal["auc", "accuracy", "tar_at_far_0.1", "tar_at_far_0.01"] = Field(
        "auc", description="The number that decides, of both models on the same test pairs; larger is better"
    )
    min_gain: float = Field(
        0.0, ge=-1, le=1, description="Candidate minus champion must be at least this; below 0 lets a worse one pass"
    )
    min_chance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Least share of the draws of people in which the gain is reached; 0.95 asks for near certainty",
    )
    draws: int = Field(1000, ge=20, le=100_000, description="How often the test people are drawn again")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Which people are drawn")
    batch: int = Field(64, ge=1, le=65_536, description="Faces embedded at a time")
    threads: int = Field(2, ge=1, le=256, description="CPU threads; the last digits of scores depend on it")
    memory_gb: float = Field(8, gt=0, le=4096, description="Most memory the decoded faces may take, GB")
