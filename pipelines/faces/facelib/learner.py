"""One training step, and all it changes: network, loss, optimiser, averaged weights.

Accelerate carries the plumbing: mixed precision and, started by torchrun, several processes whose gradients are
averaged. Rates, batches and random changes are functions of the step, so the state is tensors and one number.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from facelib import sampling
from facelib.augment import augment
from facelib.backbones import Description, build, load_pretrained
from facelib.embedder import Embedder
from facelib.faces import Faces
from facelib.feeding import Feed
from facelib.hardware import choose_layout, choose_precision
from facelib.objectives import Objective
from params.train import Recipe


class Task(nn.Module):
    """Network and objective as one module, so that the gradients of both are averaged over the processes."""

    def __init__(self, network: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        embeddings = self.network(x)
        with torch.autocast(x.device.type, enabled=False):  # cosines times a scale need all digits
            return self.objective(embeddings.float(), labels)


class Learner:
    """Everything one training step changes, and the step itself."""

    def __init__(
        self, recipe: Recipe, faces: Faces, device: torch.device, pretrained: dict[str, Tensor] | None = None
    ) -> None:
        self.recipe = recipe
        self.precision, self.precision_why = choose_precision(recipe, device)
        mixed: Any = "no" if self.precision == "fp32" else self.precision
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
        self.device = self.accelerator.device
        torch.set_num_threads(recipe.threads)  # Accelerate sets its own for several processes on a CPU
        self.names = sorted(set(faces.identities))
        number = {name: index for index, name in enumerate(self.names)}
        self.labels = torch.tensor([number[name] for name in faces.identities])
        self.feed = Feed(faces.pixels, self.device, recipe.memory_gb)
        self.description = Description(
            recipe.backbone, recipe.embedding, faces.pixels.shape[1], recipe.seed, recipe.input_size
        )
        self.layout = choose_layout(recipe, self.device, self.precision)
        network = build(self.description)
        if pretrained is not None:
            load_pretrained(network, pretrained)
        torch.manual_seed(recipe.seed)
        task = Task(network, Objective(recipe, len(self.names))).to(self.device).to(memory_format=self.layout)
        self.network = task.network
        self.average = AveragedModel(task.network, multi_avg_fn=self._average, use_buffers=True) if recipe.ema else None
        self.batches = math.ceil(len(self.labels) / recipe.batch)
        self.weights = [weight for weight in task.parameters() if weight.requires_grad]
        self.task, self.optimiser = self.accelerator.prepare(task, make_optimiser(recipe, self.weights))
        self.step = 0
        self._check_batch()

    def _check_batch(self) -> None:
        """SystemExit where the processes cannot share the batches alike, or one may get a single face."""
        processes = self.accelerator.num_processes
        if self.recipe.batch % processes:
            raise SystemExit(
                f"train: batches of {self.recipe.batch} faces cannot be shared by {processes} processes alike;"
                " set train.batch to a multiple"
            )
        least = min(map(len, self._rows(1))) // processes
        if least < 2:
            raise SystemExit(
                f"train: of a batch of {self.recipe.batch} faces a process may get {least}, and BatchNorm learns from two"
                " or more; raise train.batch, or add photographs"
            )

    @property
    def kept(self) -> nn.Module:
        """The network whose weights are validated and kept: the average, where there is one."""
        return self.average.module if self.average is not None else self.network

    def embedder(self) -> Embedder:
        """The kept network as it is used."""
        embedder = Embedder(self.kept, self.description.face_size, self.description.input_size)
        return embedder.to(self.device)

    def epoch(self, epoch: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """What is left of an epoch (from 1), a step at a time: gives (faces, loss, gradient norm) after each.

        Losses stay on the device; whoever reads each at once makes the device wait.
        """
        self.task.train()
        rows = self._rows(epoch)[self.step - (epoch - 1) * self.batches :]
        mine = [part.tensor_split(self.accelerator.num_processes)[self.accelerator.process_index] for part in rows]
        for all_rows, own, faces in zip(rows, mine, self.feed.batches(mine), strict=True):
            loss, norm = self._step(faces, self.labels[own].to(self.device))
            yield len(all_rows), loss, norm

    def _rows(self, epoch: int) -> list[Tensor]:
        """The faces of each batch of an epoch, over all processes."""
        r = self.recipe
        return sampling.batches(self.labels, r.batch, r.faces_per_person, r.seed, epoch)

    def first_batch(self) -> Tensor:
        """What the network sees first, for people to look at."""
        (faces,) = self.feed.batches(self._rows(1)[:1])
        return self.change(faces)

    def _step(self, faces: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rank = self.accelerator.process_index
        torch.manual_seed(sampling.generator(self.recipe.seed, self.step, rank, 1).initial_seed())  # dropout
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.step)
        loss = self.task(self.change(faces), labels)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.weights, self.recipe.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach(), torch.as_tensor(norm).detach()

    def change(self, faces: Tensor) -> Tensor:
        """A batch [N, side, side, 3] as the network gets it: augmented and resized."""
        r = self.recipe
        random = sampling.generator(r.seed, self.step, self.accelerator.process_index, 2)
        x = augment(
            faces, self.description.input_size, mirror=r.mirror, jitter=r.jitter, colour=r.colour, erase=r.erase,
            generator=random,
        )  # fmt: skip
        return x.to(memory_format=self.layout)

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 0): rises, then falls as half a cosine or stays."""
        steps = self.recipe.epochs * self.batches
        rise = max(1, round(self.recipe.warmup * steps))
        if step < rise:
            return self.recipe.learning_rate * (step + 1) / rise
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        return self.recipe.learning_rate * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2

    def _average(self, averaged: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        """Exponential average; in the first steps it follows faster, so that the initial weights are soon forgotten."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:  # BatchNorm's count of batches
            torch._foreach_copy_(averaged, current)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on: tensors, and JSON values."""
        task = self.accelerator.unwrap_model(self.task)
        tensors = {f"task.{name}": value for name, value in task.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, slots in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in slots.items() if value is not None}
        scaler = self.accelerator.scaler
        return tensors, {"step": self.step, "scaler": scaler.state_dict() if scaler is not None else None}

    def resume(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Take up a state that :meth:`state` gave."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.accelerator.unwrap_model(self.task).load_state_dict(part("task."))
        if self.average is not None:
            self.average.load_state_dict(part("average."))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser.").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.step = values["step"]


def make_optimiser(recipe: Recipe, weights: list[nn.Parameter]) -> Optimizer:
    """Weight decay only on matrices and kernels, as is usual."""
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimiser == "adamw":
        return AdamW(groups, lr=recipe.learning_rate)
    return SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
