"""One training step: network, loss, optimiser, schedule and augmentation put together."""

import math
from collections.abc import Iterator

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from facelib.augment import augment
from facelib.backbones import Description, build
from facelib.embedder import Embedder
from facelib.faces import Faces
from params.train import Params


class Learner:
    """Everything one training step changes, and the step itself."""

    def __init__(self, params: Params, faces: Faces, device: torch.device) -> None:
        self.params = params
        self.device = device
        self.names = sorted(set(faces.identities))
        number = {name: index for index, name in enumerate(self.names)}
        self.labels = torch.tensor([number[name] for name in faces.identities])
        self.faces = torch.from_numpy(faces.pixels).to(device)
        self.description = Description(params.backbone, params.embedding, faces.pixels.shape[1], params.seed)
        network = build(self.description).to(device).to(memory_format=torch.channels_last)
        self.embedder = Embedder(network, self.description.face_size, self.description.input_size).to(device)
        torch.manual_seed(params.seed)
        self.loss = make_loss(params, len(self.names)).to(device)
        self.batches = math.ceil(len(self.labels) / params.batch)
        self.optimiser, self.schedule = make_optimiser(params, [network, self.loss], params.epochs * self.batches)
        self.generator = torch.Generator().manual_seed(params.seed)

    def steps(self) -> Iterator[tuple[int, float, float]]:
        """One epoch, a step at a time: gives (faces, loss, gradient norm) after each."""
        self.embedder.train()
        order = torch.randperm(len(self.labels), generator=self.generator)
        for rows in order.tensor_split(self.batches):  # equal batches: no rest of one face, which BatchNorm refuses
            x = self.change(self.faces[rows.to(self.device)]).to(memory_format=torch.channels_last)
            loss = self.loss(self.embedder.network(x), self.labels[rows].to(self.device))
            self.optimiser.zero_grad()
            loss.backward()
            weights = self.optimiser.param_groups[0]["params"] + self.optimiser.param_groups[1]["params"]
            norm = nn.utils.clip_grad_norm_(weights, self.params.clip)
            self.optimiser.step()
            self.schedule.step()
            yield len(rows), loss.item(), norm.item()

    def change(self, faces: Tensor) -> Tensor:
        """A batch [N, side, side, 3] as the network gets it: augmented and resized."""
        p = self.params
        return augment(
            faces, self.description.input_size, mirror=p.mirror, jitter=p.jitter, colour=p.colour, erase=p.erase,
            generator=self.generator,
        )  # fmt: skip


def make_loss(params: Params, classes: int) -> nn.Module:
    """The loss, with a learned direction for each training identity."""
    if params.loss == "cosface":
        return losses.CosFaceLoss(classes, params.embedding, margin=params.margin, scale=params.scale)
    if params.loss == "arcface":
        return losses.ArcFaceLoss(classes, params.embedding, margin=math.degrees(params.margin), scale=params.scale)
    return losses.NormalizedSoftmaxLoss(classes, params.embedding, temperature=1 / params.scale)


def make_optimiser(params: Params, modules: list[nn.Module], steps: int) -> tuple[Optimizer, LambdaLR]:
    """Optimiser and schedule; weight decay only on matrices and kernels, as is usual."""
    weights = [weight for module in modules for weight in module.parameters()]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = (
        AdamW(groups, lr=params.learning_rate)
        if params.optimiser == "adamw"
        else SGD(groups, lr=params.learning_rate, momentum=0.9, nesterov=True)
    )
    rise = max(1, round(params.warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2

    return optimiser, LambdaLR(optimiser, factor)
