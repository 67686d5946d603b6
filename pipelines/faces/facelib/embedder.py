"""From the pixels of aligned faces to embeddings of unit length: the model that is evaluated and exported.

Crop, mirror and resize of a picture are linear: one matrix for its rows and one for its columns. The same two
products serve training (a random frame for each face) and use (the whole face), on any device and in ONNX.
"""

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """The device for "auto", "cpu" or "cuda", and why. Raises SystemExit where cuda is asked for and absent."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SystemExit("device is 'cuda', but this machine shows no GPU to torch; set device to auto or cpu")
    if wanted == "auto":
        return (
            (torch.device("cuda"), "a GPU is there") if torch.cuda.is_available() else (torch.device("cpu"), "no GPU")
        )
    return torch.device(wanted), "as asked"


def make_deterministic(threads: int) -> None:
    """Same bytes in, same bytes out, on one class of machine: sums depend on the number of threads."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # fp32 in convolutions too, so that a GPU's scores are close to a CPU's
    torch.set_num_threads(threads)


def resize_matrix(start: Tensor, end: Tensor, side: int, size: int) -> Tensor:
    """Weights [..., size, side] that resample the frame start..end (px) of `side` pixels to `size` pixels.

    Triangle filter as wide as an output pixel, or as an input pixel where that is wider (what Pillow calls
    bilinear with antialiasing); beyond the border the nearest pixels go on. `end` < `start` mirrors.
    """
    step = ((end - start) / size)[..., None]
    centre = start[..., None] + step * (torch.arange(size, device=start.device) + 0.5)
    distance = torch.arange(side, device=start.device) + 0.5 - centre.clamp(0.5, side - 0.5)[..., None]
    weights = (1 - distance.abs() / step.abs().clamp(min=1)[..., None]).clamp(min=0)
    return weights / weights.sum(-1, keepdim=True)


def resample(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Faces [N, side, side, 3] to [N, 3, size, size], by matrices [size, side] or one for each face."""
    return rows[..., None, :, :] @ pixels.float().permute(0, 3, 1, 2) @ columns[..., None, :, :].mT


def normalise(pixels: Tensor) -> Tensor:
    """0..255 to about -1..1, as facenet-pytorch's published weights expect."""
    return (pixels - 127.5) / 128


class Embedder(nn.Module):
    """uint8 [N, face_size, face_size, 3] (RGB, 0..255) to float32 [N, embedding] of unit length."""

    matrix: Tensor

    def __init__(self, network: nn.Module, face_size: int, input_size: int) -> None:
        super().__init__()
        self.network = network
        whole = resize_matrix(torch.tensor(0.0), torch.tensor(float(face_size)), face_size, input_size)
        self.register_buffer("matrix", whole, persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        x = normalise(resample(faces, self.matrix, self.matrix))
        return nn.functional.normalize(self.network(x))


@torch.inference_mode()
def embed(
    embedder: Embedder, faces: NDArray[np.uint8] | Tensor, batch: int, mirrored: bool = False
) -> NDArray[np.float32]:
    """Embeddings [N, embedding] of faces [N, side, side, 3], `batch` at a time, in evaluation mode.

    With `mirrored`, the mean of a face and its mirror image, at unit length again.
    """
    device = embedder.matrix.device
    was_training = embedder.training
    embedder.eval()
    parts = []
    for chunk in torch.as_tensor(faces).split(batch):
        chunk = chunk.to(device)
        result = embedder(chunk)
        if mirrored:
            result = nn.functional.normalize(result + embedder(chunk.flip(2)))
        parts.append(result.cpu())
    embedder.train(was_training)
    return torch.cat(parts).numpy()
