"""Parameters of the download stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """Which files the download stage takes."""

    max_bytes: int = Field(200_000_000, ge=1, le=2_000_000_000, description="A larger file is rejected unread, bytes")
    max_reject_share: float = Field(
        0.5, ge=0, le=1, description="The stage fails where a larger share of the listed files is rejected"
    )
