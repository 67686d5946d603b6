"""Face detection with MTCNN: facenet-pytorch's networks and weights, a faster way around them.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016. A
pyramid of the image goes through a proposal network (P), whose windows a refinement (R) and an output network
(O) accept or drop and correct. Same boxes as `facenet_pytorch.MTCNN` to 1e-3 px; what differs is speed: every
area mean, of the pyramid and of the windows, is four look-ups in one integral image, the tensors are
channels-last, and what goes through a network at once fits the processor's cache. What else was tried:
docs/decisions/0072.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms, nms

CELL = 12
"""Side of the proposal network's window, px."""
STRIDE = 2
"""Step of the proposal network's window, px."""
PIXELS = 50_000
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
        _keep_freed_memory()
        self.pnet, self.rnet, self.onet = (self._place(net()) for net in (PNet, RNet, ONet))
        self.features = nn.Sequential(*list(self.pnet.children())[:7])  # all but the last layers, see _windows

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
            size = int(height * scale + 1), int(width * scale + 1)
            windows, owner = _in_chunks(partial(self._windows, scale), integral, whole, everyone, size)
            keep = batched_nms(windows[:, :4], windows[:, 4], owner, 0.5)  # of whole numbers, so exact
            found.append(windows[keep])
            owners.append(owner[keep])
        windows, owner = torch.cat(found), torch.cat(owners)
        keep = _nms_each(windows, owner, 0.7)
        windows, owner = windows[keep], owner[keep]
        side = windows[:, 2:4] - windows[:, 0:2]
        moved = windows[:, 0:4] + windows[:, 5:9] * side.repeat(1, 2)
        return _squared(torch.cat((moved, windows[:, 4:5]), 1)), owner

    def _windows(self, scale: float, pixels: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [K, 9] (box, probability, moves) where P is above the threshold, and the image of each.

        The last layers are products with each window's features; only those above the threshold are moved.
        """
        features = self.features(pixels).permute(0, 2, 3, 1)
        face, moves = self.pnet.conv4_1, self.pnet.conv4_2
        (no, yes), bias = face.weight.flatten(1), face.bias
        probability = torch.sigmoid(features @ (yes - no) + (bias[1] - bias[0]))  # the softmax of two
        passed = probability >= self.thresholds[0]
        owner, y, x = passed.nonzero(as_tuple=True)
        place = torch.stack((x, y, x, y), 1) * STRIDE + torch.tensor([1, 1, CELL, CELL], device=x.device)
        box = (place.float() / scale).floor()
        moved = nn.functional.linear(features[passed], moves.weight.flatten(1), moves.bias)
        return torch.cat((box, probability[passed][:, None], moved), 1), images[owner]

    def _refine(self, integral: Tensor, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """The windows that R accepts, moved and made square."""
        edges, boxes, owner = _crops(integral, boxes, owner)
        moves, probability = _in_chunks(lambda pixels, _: self.rnet(pixels), integral, edges, owner, (24, 24))
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
        edges, boxes, owner = _crops(integral, boxes, owner)
        moves, places, probability = _in_chunks(lambda pixels, _: self.onet(pixels), integral, edges, owner, (48, 48))
        passed = probability[:, 1] > self.thresholds[2]
        boxes, owner = torch.cat((boxes[passed, :4], probability[passed, 1:]), 1), owner[passed]
        corner, side = boxes[:, None, 0:2], boxes[:, None, 2:4] - boxes[:, None, 0:2] + 1
        landmarks = places[passed].view(-1, 2, 5).mT * side + corner - 1
        return _moved(boxes, moves[passed]).cpu().numpy(), landmarks.cpu().numpy(), owner.cpu().numpy()


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks: it hands those to the system, to be cleared anew, that are larger than any freed.

    A process starts with 128 KiB as that limit, layers have a few MiB; 32 MiB is the most it may become.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


@torch.no_grad()
def _widened(net: nn.Module) -> nn.Module:
    """Let the first layer take pixels of 0..255 and give a multiple of 16 channels, the new ones zero.

    The results stay the same; layers that fill the processor's registers are faster.
    """
    net.conv1.weight.div_(128)  # trained on (pixel - 127.5) / 128
    net.conv1.bias.sub_(127.5 * net.conv1.weight.sum((1, 2, 3)))
    wide = -(-net.conv1.out_channels // 16) * 16
    net.conv1 = _padded(net.conv1, 3, wide)
    for name, layer in list(net.named_children()):
        if isinstance(layer, nn.MaxPool2d):
            setattr(net, name, _MaxPool(layer.kernel_size))
    net.prelu1.weight = nn.Parameter(nn.functional.pad(net.prelu1.weight, (0, wide - len(net.prelu1.weight))))
    net.conv2 = _padded(net.conv2, wide, net.conv2.out_channels)
    return net


class _MaxPool(nn.Module):
    """MaxPool2d in steps of two, part windows included, as maxima of slices. Overwrites what it is given.

    torch's writes an index of eight bytes beside each number, which nobody reads.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        for dim in (2, 3):
            line = x.movedim(dim, 0)
            count = (len(line) - self.size + 1) // 2 + 1
            middle = self.size - 2  # of no window but its own, so the maxima can be kept there
            most = line[middle::2][:count]
            for start in {0, self.size - 1} - {middle}:
                part = line[start::2][:count]
                torch.maximum(most[: len(part)], part, out=most[: len(part)])
            x = most.movedim(0, dim)
        return x.contiguous(memory_format=torch.channels_last)


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
    """Area means of parts of the images: [K, height, width, 3].

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
    across = (1 / (right - left))[:, :, None].expand(-1, -1, 3).reshape(len(boxes), 1, 3 * width)
    means = sums[..., :3].float().reshape(len(boxes), height, 3 * width)
    return means.mul_(across).mul_(1 / (bottom - top)[:, :, None]).view(len(boxes), height, width, 3)


def _crops(integral: Tensor, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges, for `_resized`, of what the boxes show; boxes outside their image are dropped."""
    edges = boxes[:, :4].trunc().int()
    edges[:, :2] = edges[:, :2].clamp(min=1) - 1
    edges[:, 2].clamp_(max=integral.shape[2] - 1)
    edges[:, 3].clamp_(max=integral.shape[1] - 1)
    inside = (edges[:, 2:] > edges[:, :2]).all(1)
    boxes, owner = boxes[inside], owner[inside]
    return edges[inside], boxes, owner


def _in_chunks(
    net: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    integral: Tensor,
    edges: Tensor,
    owner: Tensor,
    size: tuple[int, int],
) -> tuple[Tensor, ...]:
    """What the net, given pixels [K, 3, *size] and their images [K], says to parts of the images, PIXELS at a time."""
    if not len(edges):  # the nets cannot take none
        none = net(torch.zeros(1, 3, *size, device=edges.device), torch.zeros(1, dtype=torch.long, device=edges.device))
        return tuple(part[:0] for part in none)
    some = max(1, PIXELS // (size[0] * size[1]))
    results = [
        net(_resized(integral, part, who, *size).permute(0, 3, 1, 2), who)
        for part, who in zip(edges.split(some), owner.split(some), strict=True)
    ]
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


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
