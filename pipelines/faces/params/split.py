"""Parameters of the split stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the split stage divides the identities and draws pairs."""

    seed: int = Field(
        1, ge=0, le=2**31 - 1, description="Decides who falls into which subset and which pairs are drawn"
    )
    val_share: float = Field(0.15, ge=0.01, le=0.5, description="Chance of an identity to fall into validation")
    test_share: float = Field(0.25, ge=0.01, le=0.5, description="Chance of an identity to fall into test")
    min_train_identities: int = Field(4, ge=2, le=1_000_000, description="The stage fails with fewer for training")
    min_val_identities: int = Field(2, ge=2, le=1_000_000, description="The stage fails with fewer for validation")
    min_test_identities: int = Field(4, ge=2, le=1_000_000, description="The stage fails with fewer for test")
    pairs_per_fold: int = Field(
        300, ge=2, le=100_000, description="Same-person pairs per fold, and as many of different people"
    )
    protocol: Literal["drawn", "lfw"] = Field(
        "drawn",
        description="Test pairs: drawn from test_share of the people, or those of LFW's protocol/pairs.txt, whose people are all tested and never trained on",
    )
    protocol_min_share: float = Field(
        0.9, ge=0.01, le=1, description="The stage fails where less of protocol/pairs.txt can be verified"
    )
