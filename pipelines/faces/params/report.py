"""Parameters of the report stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How much the report shows."""

    photographs: int = Field(12, ge=1, le=60, description="Photographs shown with what was detected in them")
    faces: int = Field(48, ge=1, le=400, description="Aligned faces shown")
    rejects: int = Field(6, ge=1, le=40, description="Pictures shown of each reason for a reject")
    pairs: int = Field(12, ge=1, le=60, description="Hardest pairs shown of each kind")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Decides which examples are shown")
