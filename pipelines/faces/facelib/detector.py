"""Face detection with MTCNN: facenet-pytorch's networks and weights, a faster way around them.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016. A
pyramid of the image goes through a proposal network (P), whose windows a refinement (R) and an output
network (O) accept or drop and correct. Same boxes as `facenet_pytorch.MTCNN` to 1e-3 px; what differs is speed:
every area mean, of the pyramid and of the windows, is four look-ups in one integral image, and the tensors are
channels-last.
"""

from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import nms

CELL = 12
"""Side of the proposal network's window, px."""
STRIDE = 2
"""Step of the proposal network's window, px."""
CHUNK = 512
"""Most windows that go through a network at once; bounds memory."""


@dataclass(frozen=True)
class Faces:
    """The faces of one image, largest first."""

    boxes: NDArray[np.float32]
    """[F, 4]: x1, y1, x2, y2 in px; may reach beyond the image."""
    landmarks: NDArray[np.float32]
    """[F, 5, 2]: x, y in px of the eyes, the nose and the corners of the mouth, the image's left first."""
    probabilities: NDArray[np.float32]
    """[F]"""


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """The device for "auto", "cpu" or "cuda", and why. Raises SystemExit where cuda is asked for and absent."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise SystemExit("detect.device is cuda, but torch sees no GPU here; set it to auto or cpu")
    if wanted == "auto":
        return torch.device("cuda" if there else "cpu"), "a GPU is there" if there else "no GPU is there"
    return torch.device(wanted), "as asked"


class Mtcnn:
    """The detector. `find` may be called from several threads at once."""

    def __init__(
        self,
        min_face_size: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        pyramid_factor: float = 0.709,
        device: torch.device | str = "cpu",
    ) -> None:
        """`min_face_size` in px; `thresholds`: probabilities below which P, R and O drop a window."""
        self.min_face_size, self.thresholds, self.pyramid_factor = min_face_size, thresholds, pyramid_factor
        self.device = torch.device(device)
        self.pnet, self.rnet, self.onet = (self._place(net()) for net in (PNet, RNet, ONet))

    def _place(self, net: nn.Module) -> nn.Module:
        return net.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def find(self, images: NDArray[np.uint8]) -> list[Faces]:
        """The faces in each of `images`, [N, height, width, 3], RGB."""
        count, height, width, _ = images.shape
        integral = _integral(torch.as_tensor(images, device=self.device))
        boxes, owner = self._propose(integral, height, width)
        boxes, owner = self._refine(integral, boxes, owner)
        boxes, landmarks, owner = self._output(integral, boxes, owner)
        return [_pick(boxes[owner == n], landmarks[owner == n]) for n in range(count)]

    def _scales(self, height: int, width: int) -> list[float]:
        """Of the pyramid: from the smallest face down to where the image is as small as a window."""
        scale, scales = CELL / self.min_face_size, []
        side = min(height, width) * scale
        while side >= CELL:
            scales.append(scale)
            scale *= self.pyramid_factor
            side *= self.pyramid_factor
        return scales

    def _propose(self, integral: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Square windows [K, 5] (box, probability) and the image of each, [K], in the images' order."""
        found, owners = (
            [torch.empty(0, 9, device=self.device)],
            [torch.empty(0, dtype=torch.long, device=self.device)],
        )
        for scale in self._scales(height, width):
            size = (int(height * scale + 1), int(width * scale + 1))
            moves, probability = self.pnet(_normalised(_resized(integral, size)))
            windows, owner = _windows(moves, probability[:, 1], scale, self.thresholds[0])
            keep = _nms_each(windows, owner, 0.5)
            found.append(windows[keep])
            owners.append(owner[keep])
        windows, owner = torch.cat(found), torch.cat(owners)
        keep = _nms_each(windows, owner, 0.7)
        windows, owner = windows[keep], owner[keep]
        side = windows[:, 2:4] - windows[:, 0:2]
        moved = windows[:, 0:4] + windows[:, 5:9] * side.repeat(1, 2)
        return _squared(torch.cat((moved, windows[:, 4:5]), 1)), owner

    def _refine(self, integral: Tensor, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The windows that R accepts, moved and made square."""
        crops, boxes, owner = _crops(integral, boxes, owner, 24)
        moves, probability = _in_chunks(self.rnet, crops)
        passed = probability[:, 1] > self.thresholds[1]
        boxes, owner, moves = (
            torch.cat((boxes[passed, :4], probability[passed, 1:]), 1),
            owner[passed],
            moves[passed],
        )
        keep = _nms_each(boxes, owner, 0.7)
        return _squared(_moved(boxes[keep], moves[keep])), owner[keep]

    def _output(self, integral: Tensor, boxes: Tensor, owner: Tensor) -> tuple[NDArray, NDArray, NDArray]:
        """The windows that O accepts, moved: [K, 5], their landmarks [K, 5, 2] and the image of each [K]."""
        crops, boxes, owner = _crops(integral, boxes, owner, 48)
        moves, places, probability = _in_chunks(self.onet, crops)
        passed = probability[:, 1] > self.thresholds[2]
        boxes, owner = torch.cat((boxes[passed, :4], probability[passed, 1:]), 1), owner[passed]
        corner, side = boxes[:, None, 0:2], boxes[:, None, 2:4] - boxes[:, None, 0:2] + 1
        landmarks = places[passed].view(-1, 2, 5).mT * side + corner - 1
        return _moved(boxes, moves[passed]).cpu().numpy(), landmarks.cpu().numpy(), owner.cpu().numpy()


def _integral(images: Tensor) -> Tensor:
    """[N, H, W, C] to int32 [N, H + 1, W + 1, C]: the sum of all pixels above and to the left.

    Sums that overflow wrap around, and so do their differences: those of windows stay exact.
    """
    sums = images.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return nn.functional.pad(sums, (0, 0, 1, 0, 1, 0))


def _edges(side: Tensor | int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """First and last + 1 pixel behind each of `size` pixels of a resized side, as torch's area interpolation."""
    place = torch.arange(size, device=device)
    return place * side // size, ((place + 1) * side + size - 1) // size


def _resized(integral: Tensor, size: tuple[int, int]) -> Tensor:
    """Area means of the whole images, float32 [N, h, w, C]."""
    top, bottom = _edges(integral.shape[1] - 1, size[0], integral.device)
    left, right = _edges(integral.shape[2] - 1, size[1], integral.device)
    rows = integral.index_select(1, bottom) - integral.index_select(1, top)
    sums = rows.index_select(2, right) - rows.index_select(2, left)
    area = (bottom - top)[:, None] * (right - left)
    return sums / area[..., None]


def _crops(integral: Tensor, boxes: Tensor, owner: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Area means of the boxes' part of the images, [K, size, size, C]; boxes outside their image are dropped."""
    width, height = integral.shape[2] - 1, integral.shape[1] - 1
    corners = boxes[:, :4].trunc().long()
    x1, y1 = corners[:, 0].clamp(min=1) - 1, corners[:, 1].clamp(min=1) - 1
    x2, y2 = corners[:, 2].clamp(max=width), corners[:, 3].clamp(max=height)
    inside = (x2 > x1) & (y2 > y1)
    boxes, owner, x1, y1, x2, y2 = (t[inside] for t in (boxes, owner, x1, y1, x2, y2))
    top, bottom = (edge + y1[:, None] for edge in _edges((y2 - y1)[:, None], size, integral.device))
    left, right = (edge + x1[:, None] for edge in _edges((x2 - x1)[:, None], size, integral.device))
    table = integral.flatten(0, 2)

    def at(y: Tensor, x: Tensor) -> Tensor:
        row = owner[:, None] * (height + 1) + y
        return table.index_select(0, (row[:, :, None] * (width + 1) + x[:, None, :]).flatten())

    sums = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
    area = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return sums.view(len(boxes), size, size, -1) / area[..., None], boxes, owner


def _normalised(pixels: Tensor) -> Tensor:
    """0..255 [N, h, w, C] to the networks' input [N, C, h, w], still channels-last in memory."""
    return ((pixels - 127.5) * 0.0078125).permute(0, 3, 1, 2)


def _in_chunks(net: nn.Module, crops: Tensor) -> tuple[Tensor, ...]:
    results = [net(_normalised(chunk)) for chunk in crops.split(CHUNK)]
    return tuple(map(torch.cat, zip(*results, strict=True)))


def _windows(moves: Tensor, probability: Tensor, scale: float, threshold: float) -> tuple[Tensor, Tensor]:
    """Windows [K, 9] (box, probability, moves) where P is above the threshold, and the image of each."""
    owner, y, x = (probability >= threshold).nonzero(as_tuple=True)
    place = torch.stack((x, y, x, y), 1) * STRIDE + torch.tensor([1, 1, CELL, CELL], device=x.device)
    box = (place.float() / scale).floor()
    return torch.cat((box, probability[owner, y, x][:, None], moves[owner, :, y, x]), 1), owner


def _nms_each(boxes: Tensor, owner: Tensor, threshold: float) -> Tensor:
    """Indices that non-maximum suppression keeps, image by image, in the images' order."""
    kept = [torch.empty(0, dtype=torch.long, device=boxes.device)]
    for n in owner.unique().tolist():
        index = (owner == n).nonzero()[:, 0]
        kept.append(index[nms(boxes[index, :4], boxes[index, 4], threshold)])
    return torch.cat(kept)


def _moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes [K, 5] shifted by `moves` [K, 4], shares of their sides."""
    side = boxes[:, 2:4] - boxes[:, 0:2] + 1
    return torch.cat((boxes[:, :4] + moves * side.repeat(1, 2), boxes[:, 4:]), 1)


def _squared(boxes: Tensor) -> Tensor:
    """Boxes [K, 5] grown to squares about their centres."""
    side = boxes[:, 2:4] - boxes[:, 0:2]
    longest = side.amax(1, keepdim=True)
    corner = boxes[:, 0:2] + side * 0.5 - longest * 0.5
    return torch.cat((corner, corner + longest, boxes[:, 4:]), 1)


def _pick(boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Faces:
    """Drop boxes that a more probable one covers to 70 % of the smaller area; the rest, largest first."""
    x1, y1, x2, y2, probability = boxes.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    # Of equally probable ones the last, as there.
    left, kept = np.argsort(probability, kind="stable")[::-1], []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        across = np.minimum(x2[best], x2[left]) - np.maximum(x1[best], x1[left]) + 1
        down = np.minimum(y2[best], y2[left]) - np.maximum(y1[best], y1[left]) + 1
        shared = across.clip(0) * down.clip(0) / np.minimum(area[best], area[left])
        left = left[shared <= 0.7]
    order = sorted(kept, key=lambda i: -(x2[i] - x1[i]) * (y2[i] - y1[i]))
    return Faces(boxes[order, :4], landmarks[order], probability[order])
