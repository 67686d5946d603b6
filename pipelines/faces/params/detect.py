"""Parameters of the detect stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the detect stage decodes photographs and finds faces."""

    min_face_size: int = Field(20, ge=12, le=1000, description="Smallest face looked for, px of the decoded photograph")
    pnet_threshold: float = Field(
        0.6, ge=0, le=1, description="A window of the proposal network below this probability is dropped"
    )
    rnet_threshold: float = Field(
        0.7, ge=0, le=1, description="A window of the refinement network below this probability is dropped"
    )
    onet_threshold: float = Field(
        0.7, ge=0, le=1, description="A face of the output network below this probability is dropped"
    )
    pyramid_factor: float = Field(0.709, ge=0.3, le=0.95, description="Ratio of one pyramid scale to the one before")
    max_side: int = Field(
        1280,
        ge=64,
        le=10_000,
        description="A photograph with a longer side is decoded smaller, to this side, px",
    )
    max_pixels: int = Field(
        100_000_000, ge=1, le=1_000_000_000, description="A photograph with more pixels to decode is rejected"
    )
    batch: int = Field(
        8, ge=1, le=1024, description="Most photographs of one size that go through the networks at once"
    )
    threads: int = Field(2, ge=1, le=256, description="Batches in work at the same time; the bytes do not depend on it")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks run; auto takes a GPU where there is one"
    )
