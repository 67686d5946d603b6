"""Parameters of the export stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """How the exported model is checked."""

    check_faces: int = Field(
        64, ge=1, le=10_000, description="Real aligned faces on which onnxruntime is held against torch"
    )
    max_difference: float = Field(
        1e-4, gt=0, le=1, description="Largest difference allowed in any number of an embedding"
    )
    min_cosine: float = Field(
        0.9999, ge=-1, le=1, description="Smallest cosine allowed between the two embeddings of a face"
    )
    opset: int = Field(20, ge=18, le=23, description="ONNX operator set")
    threads: int = Field(2, ge=1, le=256, description="CPU threads")
