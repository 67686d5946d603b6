"""Parameters of the data_report stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How much the page about the data shows."""

    photographs: int = Field(12, ge=1, le=60, description="Photographs shown with what was detected in them")
    faces: int = Field(24, ge=1, le=400, description="Kept faces shown of each arrival date")
    dates: int = Field(8, ge=1, le=100, description="Arrival dates whose faces are shown, the latest")
    rejects: int = Field(12, ge=1, le=40, description="Pictures shown of each reason for a reject")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Decides which examples are shown")
