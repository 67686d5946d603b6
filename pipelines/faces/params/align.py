"""Parameters of the align stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the align stage cuts out a photograph's labelled face."""

    size: int = Field(112, ge=16, le=1024, description="Side of the aligned face, px")
    margin: float = Field(
        0.0,
        ge=0,
        le=2,
        description="Further border on each side, share of the template's side; 0 is the published crop",
    )
    sure: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Less probable faces are the labelled person only where no face reaches this",
    )
    max_pixels: int = Field(
        100_000_000, ge=1, le=1_000_000_000, description="A photograph with more pixels to decode is rejected"
    )
    threads: int = Field(
        2, ge=1, le=256, description="Photographs in work at the same time; the bytes do not depend on it"
    )
