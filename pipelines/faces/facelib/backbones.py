"""The networks that map a face to an embedding, and their file format.

A network takes float32 [N, 3, size, size] (RGB, about -1..1) and gives float32 [N, embedding]. The file is
safetensors: plain bytes, no pickle; its header names what is needed to build the network again.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from facelib.mobilefacenet import MobileFaceNet


@dataclass(frozen=True)
class Description:
    """What a network is, beside its weights."""

    backbone: str
    embedding: int
    """Length of the embedding."""
    face_size: int
    """Side of the aligned faces it was trained on, px."""
    seed: int
    """Seed of its initial weights."""
    input_size: int
    """Side of the network's square input, px."""


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut; He et al., "Deep Residual Learning", 2015, section 4.2."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(0.25),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = (
            nn.Identity()
            if channels == out and stride == 1
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )
        self.activation = nn.LeakyReLU(0.25)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class Small(nn.Sequential):
    """A residual network of 0.3 million parameters for 64 px faces; learns on two CPU cores in a minute.

    Its head keeps where things are in the face (a weight per channel and place, as in MobileFaceNets, Chen et
    al. 2018, section 3.1); a mean over places would not.
    """

    def __init__(self, embedding: int, size: int) -> None:
        widths = (24, 48, 72, 96)
        blocks = [Residual(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        super().__init__(
            nn.Conv2d(3, widths[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.LeakyReLU(0.25),
            *blocks,
            nn.Conv2d(widths[-1], widths[-1], size // 16, groups=widths[-1], bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.Flatten(),
            nn.Linear(widths[-1], embedding, bias=False),
            nn.BatchNorm1d(embedding),
        )


def _inception_resnet_v1(embedding: int, size: int) -> nn.Module:
    # Here, because this import takes seconds that the small backbone need not wait.
    from facenet_pytorch import InceptionResnetV1

    network = InceptionResnetV1(pretrained=None, classify=False)
    if embedding != network.last_linear.out_features:
        network.last_linear = nn.Linear(network.last_linear.in_features, embedding, bias=False)
        network.last_bn = nn.BatchNorm1d(embedding, eps=0.001, momentum=0.1, affine=True)
    return network


def build(description: Description) -> nn.Module:
    """A network with its initial weights; the same description gives the same weights."""
    builders: dict[str, Callable[[int, int], nn.Module]] = {
        "small": Small,
        "mobilefacenet": MobileFaceNet,
        "inception_resnet_v1": _inception_resnet_v1,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(description.seed)
        return builders[description.backbone](description.embedding, description.input_size)


def load_pretrained(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Start from published weights; a last layer of another length keeps its initial ones.

    Raises SystemExit where they are another network's.
    """
    own = network.state_dict()
    head = ("last_linear.", "last_bn.")
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    missing = [name for name in own if name not in fitting and not name.startswith(head)]
    if missing:
        raise SystemExit(
            f"train: the pretrained weights lack {missing[0]} and {len(missing) - 1} others of the network;"
            " set train.backbone to inception_resnet_v1, or weights.pretrained to none"
        )
    network.load_state_dict({**own, **fitting})


def save(network: nn.Module, description: Description, path: Path, **notes: Any) -> None:
    """Write the weights; the header gets the description and `notes` (JSON values)."""
    # One entry: safetensors writes several in random order (0.8.0), and equal models must be equal bytes.
    metadata = {"model": json.dumps({**asdict(description), **notes})}
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialise(weights, metadata=metadata))  # save_file makes it readable by its owner only


def header(path: Path) -> dict[str, Any]:
    """What `save` noted beside the weights."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["model"]))


def load(path: Path) -> tuple[nn.Module, Description]:
    """The trained network, on the CPU and in evaluation mode, and its description."""
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    notes = header(path)
    description = Description(**{field.name: notes[field.name] for field in fields(Description)})
    network = build(description)
    network.load_state_dict(weights)
    return network.eval(), description
