"""Parameters of the download stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """Which files the download stage takes, and how it fetches those on the web."""

    max_bytes: int = Field(200_000_000, ge=1, le=2_000_000_000, description="A larger file is rejected unread, bytes")
    max_reject_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The stage fails where a larger share of the files that it takes in this run is rejected",
    )
    workers: int = Field(8, ge=1, le=256, description="Files taken at once; memory holds twice as many of them")
    timeout: float = Field(20, gt=0, le=3600, description="Web: a try has failed after so long without a byte, s")
    max_seconds: float = Field(120, gt=0, le=86_400, description="Web: most time for one file with all its tries, s")
    retries: int = Field(4, ge=0, le=100, description="Web: tries after the first one")
    backoff: float = Field(
        0.5, ge=0, le=600, description="Web: wait before the second try, s; twice as long before each one after it"
    )
    rate: float = Field(10, gt=0, le=10_000, description="Web: most requests to one host, a second")
    allow_private: bool = Field(
        False,
        description="Web: also from addresses that are not on the public internet, such as a server of your own network",
    )
