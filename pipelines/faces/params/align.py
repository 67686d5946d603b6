"""Parameters of the align stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the align stage cuts out a photograph's labelled face."""

    size: int = Field(112, ge=16, le=1024, description="Side of the aligned face, px")
    margin: float = Field(
        0.0,
        ge=0,
        le=2,
        description="Extra border on each side, share of the template's side; 0 is the published crop",
    )
    max_pixels: int = Field(
        120_000_000, ge=1, le=1_000_000_000, description="A photograph with more pixels is rejected undecoded"
    )
    threads: int = Field(
        2, ge=1, le=256, description="Photographs in work at the same time; the bytes do not depend on it"
    )
