"""Random changes to training faces that leave the person the same."""

import torch
from torch import Tensor

from facelib.embedder import normalise, resample, resize_matrix


def augment(
    faces: Tensor,
    size: int,
    *,
    mirror: float,
    jitter: float,
    colour: float,
    erase: float,
    generator: torch.Generator,
) -> Tensor:
    """uint8 [N, side, side, 3] to normalised float32 [N, 3, size, size], each face changed its own way.

    `mirror`: chance of left for right. `jitter`: how far each edge of the frame moves, share of the side.
    `colour`: how far brightness, contrast and saturation move, 0 = not at all. `erase`: chance that a
    rectangle is painted grey. `generator` lives on the CPU, so that every device sees the same changes.
    """
    count, side = faces.shape[0], faces.shape[1]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator).to(faces.device)

    moves = (uniform(4) * 2 - 1) * jitter * side
    top, left, bottom, right = moves[:, 0], moves[:, 1], side + moves[:, 2], side + moves[:, 3]
    flip = uniform() < mirror
    rows = resize_matrix(top, bottom, side, size)
    columns = resize_matrix(torch.where(flip, right, left), torch.where(flip, left, right), side, size)
    x = normalise(resample(faces, rows, columns))
    return _erase(_recolour(x, 1 + (uniform(3, 1, 1, 1) * 2 - 1) * colour), uniform(5), erase)


def _recolour(x: Tensor, factor: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation by factors [N, 3, 1, 1, 1]."""
    saturation, contrast, brightness = factor.unbind(1)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    return ((x + 1) * brightness - 1).clamp(-1, 1)


def _erase(x: Tensor, chance: Tensor, share: float) -> Tensor:
    """Paint a rectangle grey where chance[:, 0] < share; Zhong et al., "Random Erasing", 2017."""
    size = x.shape[-1]
    place = torch.arange(size, device=x.device)
    height, width = ((chance[:, 1:3] * 0.4 + 0.1) * size).unbind(1)
    top, left = chance[:, 3] * (size - height), chance[:, 4] * (size - width)
    in_rows = (place >= top[:, None]) & (place < (top + height)[:, None])
    in_columns = (place >= left[:, None]) & (place < (left + width)[:, None])
    hole = in_rows[:, :, None] & in_columns[:, None, :] & (chance[:, 0] < share)[:, None, None]
    return x.masked_fill(hole[:, None], 0)
