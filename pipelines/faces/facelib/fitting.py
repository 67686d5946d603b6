"""The training loop: epochs, validation, the best snapshot, checkpoints, and what is said on the way."""

import math
import signal
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from facelib import live
from facelib.checkpoints import Checkpoints
from facelib.faces import Faces, Pairs
from facelib.hardware import Meter
from facelib.learner import Learner
from facelib.validation import validate, value

_SAY_SECONDS = 2
_LOG_SECONDS = 1


@dataclass(frozen=True)
class Best:
    """The snapshot that is kept, so far."""

    epoch: int = 0
    step: int = 0
    value: float = -math.inf
    """What snapshots are compared by, higher is better."""


class Fit:
    """A training from where its last checkpoint left it to its end."""

    def __init__(self, learner: Learner, faces: Faces, pairs: Pairs, checkpoints: Checkpoints) -> None:
        self.learner, self.recipe = learner, learner.recipe
        self.faces, self.pairs = faces, pairs
        self.checkpoints = checkpoints
        self.history: list[dict[str, float]] = []
        self.best, self.weights = Best(), dict[str, Tensor]()
        self._steps: list[dict[str, float]] = []  # of the epoch that runs
        self._unread: list[tuple[int, float, Tensor, Tensor]] = []
        self._meter = Meter(learner.device, self.recipe.threads)
        self._told_to_end = False
        self._start = self._said = self._logged = self._saved = time.monotonic()
        self._seen = 0

    def run(self) -> None:
        """Train; ends after the last epoch, or `patience` epochs without a better snapshot."""
        self._resume()
        signal.signal(signal.SIGTERM, self._end_soon)
        batches = self.learner.batches
        for epoch in range(self.learner.step // batches + 1, self.recipe.epochs + 1):
            if self._patience_is_over():
                break
            for count, loss, norm in self.learner.epoch(epoch):
                self._after_step(count, loss, norm)
                if self.learner.step < epoch * batches:  # else validation comes first
                    self._save_if_due()
            self._read()
            if self.main:
                self._close(epoch)
            self._steps.clear()
            self._save_if_due()

    @property
    def main(self) -> bool:
        """Whether this process is the one of several that validates, writes and speaks."""
        return bool(self.learner.accelerator.is_main_process)

    def _after_step(self, count: int, loss: Tensor, norm: Tensor) -> None:
        self._meter.images += count
        self._seen += count
        self._unread.append((self.learner.step, self.learner.rate(self.learner.step - 1), loss, norm))
        if time.monotonic() - self._logged > _LOG_SECONDS:
            self._read()

    def _read(self) -> None:
        """Fetch losses and norms from the device, all at once, and log them."""
        if not self._unread:
            return
        losses = torch.stack([loss for _, _, loss, _ in self._unread]).tolist()
        norms = torch.stack([norm for *_, norm in self._unread]).tolist()
        # In fp16 a norm may be infinite: the scaler skips that step and scales less from then on.
        for name, numbers in (("loss", losses), ("gradient", [] if self.learner.accelerator.scaler else norms)):
            if not np.isfinite(numbers).all():
                raise SystemExit(
                    f"train: the {name} is not finite by step {self._unread[-1][0]};"
                    " lower train.learning_rate or train.clip"
                )
        for (step, rate, _, _), loss, norm in zip(self._unread, losses, norms, strict=True):
            row = {"loss": loss, "learning_rate": rate, "gradient_norm": norm}
            self._steps.append(row)
            if self.main:
                live.log(step, **row)
        if self.main:
            live.log(self._unread[-1][0], **self._meter.read())
        self._unread.clear()
        self._logged = time.monotonic()

    def _close(self, epoch: int) -> None:
        """Validate an epoch, keep its weights if they are the best, say so."""
        checked = validate(self.learner.embedder(), self.faces, self.pairs, 256)
        columns = {f"val_{name}": number for name, number in checked.items()}
        live.log(self.learner.step, epoch=epoch, **columns)
        worth = float(epoch) if self.recipe.snapshot == "last" else value(checked, self.recipe.snapshot)
        if worth > self.best.value:
            self.best = Best(epoch, self.learner.step, worth)
            self.weights = {
                name: tensor.detach().cpu().clone() for name, tensor in self.learner.kept.state_dict().items()
            }
        self.history.append(
            {
                "epoch": epoch,
                "loss": float(np.mean([row["loss"] for row in self._steps])),
                "learning_rate": self._steps[-1]["learning_rate"],
                "gradient_norm": _finite_mean([row["gradient_norm"] for row in self._steps]),
                **columns,
            }
        )
        self._say(epoch)

    def _say(self, epoch: int) -> None:
        now = time.monotonic()
        if now - self._said > _SAY_SECONDS or epoch in (1, self.recipe.epochs):
            row, speed = self.history[-1], self._seen / (now - self._start)
            left = (self.recipe.epochs * self.learner.batches - self.learner.step) * self.recipe.batch / speed
            print(
                f"train: epoch {epoch}/{self.recipe.epochs}, loss {row['loss']:.3f}, validation auc {row['val_auc']:.4f}"
                f" accuracy {row['val_accuracy']:.4f}, {speed:.0f} images/s, {left:.0f} s left",
                flush=True,
            )
            self._said = now

    def _patience_is_over(self) -> bool:
        """The main process decides, for only it validates."""
        over = [
            bool(self.recipe.patience and self.history and len(self.history) - self.best.epoch >= self.recipe.patience)
        ]
        if self.learner.accelerator.num_processes > 1:
            broadcast_object_list(over)
        return over[0]

    def why(self) -> str:
        """Why the kept snapshot is the one, in words."""
        of = f"{len(self.history)} epochs"
        if self.recipe.snapshot == "last":
            return f"the last of {of}"
        extreme = "lowest" if self.recipe.snapshot == "loss" else "highest"
        return f"{extreme} validation {self.recipe.snapshot} of {of}"

    def _end_soon(self, *_: Any) -> None:
        self._told_to_end = True

    def _save_if_due(self) -> None:
        """After `checkpoint_seconds`, or asked to end (SIGTERM: a node that is taken away), which follows at once."""
        if not self.main:
            return
        if not self._told_to_end and time.monotonic() - self._saved < self.recipe.checkpoint_seconds:
            return
        self._read()
        tensors, values = self.learner.state()
        tensors |= {f"best.{name}": tensor for name, tensor in self.weights.items()}
        values |= {"best": asdict(self.best), "history": self.history, "steps": self._steps}
        self.checkpoints.save(self.learner.step, tensors, values)
        self._saved = time.monotonic()
        if self._told_to_end:
            print(f"train: told to end after step {self.learner.step}", flush=True)
            raise SystemExit(128 + signal.SIGTERM)

    def _resume(self) -> None:
        found = self.checkpoints.load()
        if found is None:
            return
        step, tensors, values = found
        self.learner.resume(tensors, values)
        self.weights = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        self.best, self.history, self._steps = Best(**values["best"]), values["history"], values["steps"]
        if self.main:
            print(f"train: goes on after step {step} of {self.recipe.epochs * self.learner.batches}", flush=True)


def _finite_mean(norms: list[float]) -> float:
    """Of an epoch's gradient norms, without those of steps that fp16 skipped; NaN where it skipped all."""
    finite = [norm for norm in norms if math.isfinite(norm)]
    return float(np.mean(finite)) if finite else math.nan
