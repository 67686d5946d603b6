"""Face detection with MTCNN: facenet-pytorch's networks and weights, a faster way around them.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016. A
pyramid of the image goes through a proposal network (P), whose windows a refinement (R) and an output network
(O) accept or drop and correct. Same boxes as `facenet_pytorch.MTCNN` to 1e-3 px; what differs is speed: every
area mean, of the pyramid and of the windows, is four look-ups in one integral image, and the tensors are
channels-last.
"""

from dataclasses import dataclass

import cv2
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
PIXELS = 100_000
"""About as many go through a network at once: what a processor's cache holds of its layers."""


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
    """The device for "auto", "cpu" or "cuda", and why. Raises SystemExit where cuda is absent."""
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
        return _widened(net).eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def find(self, images: NDArray[np.uint8]) -> list[Faces]:
        """The faces in each of `images`, [N, height, width, 3], RGB."""
        count = len(images)
        integral = _integral(images, self.device)
        boxes, owner = self._propose(integral)
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

    def _propose(self, integral: Tensor) -> tuple[Tensor, Tensor]:
        """Square windows [K, 5] (box, probability) and the image of each, [K], in the images' order."""
        found, owners = (
            [torch.empty(0, 9, device=self.device)],
            [torch.empty(0, dtype=torch.long, device=self.device)],
        )
        count, height, width = integral.shape[0], integral.shape[1] - 1, integral.shape[2] - 1
        whole = torch.tensor([[0, 0, width, height]] * count, dtype=torch.int32, device=self.device)
        everyone = torch.arange(count, device=self.device)
        for scale in self._scales(height, width):
            pixels = _resized(integral, whole, everyone, int(height * scale + 1), int(width * scale + 1))
            moves, probability = _in_chunks(self.pnet, pixels, PIXELS)
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
        moves, probability = _in_chunks(self.rnet, crops, PIXELS)
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
        moves, places, probability = _in_chunks(self.onet, crops, PIXELS)
        passed = probability[:, 1] > self.thresholds[2]
        boxes, owner = torch.cat((boxes[passed, :4], probability[passed, 1:]), 1), owner[passed]
        corner, side = boxes[:, None, 0:2], boxes[:, None, 2:4] - boxes[:, None, 0:2] + 1
        landmarks = places[passed].view(-1, 2, 5).mT * side + corner - 1
        return _moved(boxes, moves[passed]).cpu().numpy(), landmarks.cpu().numpy(), owner.cpu().numpy()


def _widened(net: nn.Module) -> nn.Module:
    """Let the first layer take a fourth channel, and give a multiple of 16, all new weights zero.

    The results stay the same; pixels of 16 bytes and layers that fill the processor's registers are faster.
    """
    wide = -(-net.conv1.out_channels // 16) * 16
    net.conv1 = _padded(net.conv1, 4, wide)
    net.prelu1.weight = nn.Parameter(nn.functional.pad(net.prelu1.weight, (0, wide - len(net.prelu1.weight))))
    net.conv2 = _padded(net.conv2, wide, net.conv2.out_channels)
    return net


def _padded(layer: nn.Conv2d, channels_in: int, channels_out: int) -> nn.Conv2d:
    result = nn.Conv2d(channels_in, channels_out, layer.kernel_size)
    more_in, more_out = channels_in - layer.in_channels, channels_out - layer.out_channels
    result.weight = nn.Parameter(nn.functional.pad(layer.weight, (0, 0, 0, 0, 0, more_in, 0, more_out)))
    result.bias = nn.Parameter(nn.functional.pad(layer.bias, (0, more_out)))
    return result


def _integral(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """[N, H, W, 3] to int32 [N, H + 1, W + 1, 4]: the sum of all pixels above and to the left.

    The fourth channel is empty: it makes a pixel 16 bytes, which are gathered at once. Sums that overflow
    wrap around, and so do their differences: those of windows stay exact.
    """
    four = np.zeros((*images.shape[:3], 4), np.uint8)
    four[..., :3] = images
    return torch.from_numpy(np.stack([cv2.integral(image, sdepth=cv2.CV_32S) for image in four])).to(device)


def _edges(start: Tensor, end: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last + 1 pixel behind each of the `size` pixels to which start..end, [K], is resized.

    As torch's interpolate(mode="area") has them. Returns [K, size] twice.
    """
    place = torch.arange(size, device=start.device, dtype=torch.int32)
    side = (end - start)[:, None]
    return start[:, None] + place * side // size, start[:, None] + ((place + 1) * side + size - 1) // size


def _resized(integral: Tensor, boxes: Tensor, owner: Tensor, height: int, width: int) -> Tensor:
    """Area means of parts of the images: [K, height, width, 4].

    `boxes`, int32 [K, 4]: left, top, right and bottom edge of each part; `owner`, [K]: the image of each.
    """
    left, right = _edges(boxes[:, 0], boxes[:, 2], width)
    top, bottom = _edges(boxes[:, 1], boxes[:, 3], height)
    _, rows, columns, _ = integral.shape
    table = integral.view(torch.complex128).view(-1)  # only to move 16 bytes at once
    first_row = owner.int()[:, None] * rows

    def at(y: Tensor, x: Tensor) -> Tensor:
        place = ((first_row + y) * columns)[:, :, None] + x[:, None, :]
        return table.index_select(0, place.flatten()).view(torch.int32).view(*place.shape, 4)

    sums = at(bottom, right).sub_(at(top, right)).sub_(at(bottom, left)).add_(at(top, left))
    area = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return sums / area[..., None]


def _crops(integral: Tensor, boxes: Tensor, owner: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the boxes show, resized to a square of `size`; boxes outside their image are dropped."""
    edges = boxes[:, :4].trunc().int()
    edges[:, :2] = edges[:, :2].clamp(min=1) - 1
    edges[:, 2].clamp_(max=integral.shape[2] - 1)
    edges[:, 3].clamp_(max=integral.shape[1] - 1)
    inside = (edges[:, 2:] > edges[:, :2]).all(1)
    boxes, owner = boxes[inside], owner[inside]
    return _resized(integral, edges[inside], owner, size, size), boxes, owner


def _in_chunks(net: nn.Module, pixels: Tensor, most: int) -> tuple[Tensor, ...]:
    """The net's results for [N, h, w, 4] of 0..255, about `most` pixels at a time."""
    count = len(pixels)
    if not count:  # the nets cannot take none
        pixels = pixels.new_zeros(1, *pixels.shape[1:])
    chunks = pixels.split(max(1, most // (pixels.shape[1] * pixels.shape[2])))
    results = [net(((chunk - 127.5) * 0.0078125).permute(0, 3, 1, 2)) for chunk in chunks]
    return tuple(torch.cat(parts)[:count] for parts in zip(*results, strict=True))


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
