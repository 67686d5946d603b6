"""Parameters of the data_gate stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How good the data as a whole must be for a run to go on. The loosest value of a limit switches it off."""

    crossed: Literal["stop", "warn"] = Field(
        "stop", description="What a crossed limit does: stop the run with the numbers, or warn in the stage's log"
    )
    max_reject_share: float = Field(
        0.3, ge=0, le=1, description="Share of the photographs that download, detect and align rejected"
    )
    max_drop_share: float = Field(0.5, ge=0, le=1, description="Share of the aligned faces that clean dropped")
    max_duplicate_share: float = Field(
        0.2, ge=0, le=1, description="Share of the aligned faces that clean found to be near-duplicates"
    )
    min_identities: int = Field(10, ge=0, le=10_000_000, description="People with faces that were kept")
    min_faces_per_identity: float = Field(2, ge=0, le=100_000, description="Kept faces of a person, on average")
