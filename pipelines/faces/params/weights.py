"""Parameters of the weights stage."""

from typing import Literal

from pydantic import BaseModel, Field


class Params(BaseModel, extra="forbid", frozen=True):
    """Which published weights the training starts from."""

    pretrained: Literal["none", "vggface2", "casia-webface"] = Field(
        "none",
        description="facenet-pytorch's weights for inception_resnet_v1 by the data they were learned from; none: from scratch, nothing is fetched",
    )
    sha256: str = Field(
        "",
        pattern="^([0-9a-f]{64})?$",
        description="Of the file; another is refused; empty: the known one of vggface2's; casia-webface's is not known, so any",
    )
    url: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="Where to fetch the file, such as a server of your own; empty: facenet-pytorch's release on GitHub",
    )
