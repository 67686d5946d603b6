"""Parameters of the clean stage."""

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """Which faces the clean stage keeps."""

    min_probability: float = Field(0.9, ge=0, le=1, description="Below: not_a_face; the detector's probability")
    min_face_px: float = Field(
        24, ge=0, le=10_000, description="Below: too_small; side of the face in the photograph, px"
    )
    min_sharpness: float = Field(
        0.38,
        ge=0,
        le=10,
        description="Below: blurry; detail at the face's own scale as share of its contrast",
    )
    min_brightness: float = Field(30, ge=0, le=255, description="Below: dark; mean grey of the face")
    max_brightness: float = Field(230, ge=0, le=255, description="Above: bright; mean grey of the face")
    min_contrast: float = Field(8, ge=0, le=128, description="Below: flat; standard deviation of the face's grey")
    max_cut_off: float = Field(
        0.25, ge=0, le=1, description="Above: cut_off; share of the aligned face outside the photograph"
    )
    max_yaw: float = Field(50, ge=0, le=90, description="Above: extreme_pose; turn to the side, degrees")
    max_pitch: float = Field(45, ge=0, le=90, description="Above: extreme_pose; turn up or down, degrees")
    max_duplicate_bits: int = Field(
        20, ge=0, le=128, description="Fingerprints that differ in no more of their 256 bits: duplicate"
    )
    max_misfit: float = Field(
        3.5,
        ge=0,
        le=1000,
        description="Above: mislabelled; how much more like another person than like its own name a face looks,"
        " robust deviations of the set",
    )
    min_faces_to_compare: int = Field(
        4, ge=2, le=1000, description="Of names with fewer faces left none is taken for mislabelled"
    )
    min_faces: int = Field(2, ge=1, le=1000, description="Identities with fewer faces left: single")
