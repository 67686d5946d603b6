"""Parameters of the evaluate stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the model is measured."""

    mirrored: bool = Field(
        False,
        description="Average each embedding with its mirror image's; the exported model does not, so its users would have to, and its threshold is not made for it",
    )
    draws: int = Field(1000, ge=100, le=100_000, description="Draws of people from which the 95 % intervals are taken")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Decides who is drawn")
    batch: int = Field(64, ge=1, le=65_536, description="Faces embedded at a time")
    threads: int = Field(2, ge=1, le=256, description="CPU threads; the last digits of scores depend on it")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to embed; auto takes a GPU where there is one"
    )
    memory_gb: float = Field(8, gt=0, le=4096, description="Most memory the decoded faces may take, GB")
