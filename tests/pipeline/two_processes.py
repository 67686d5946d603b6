"""Started by torchrun: the gradients that two processes agree on are the mean of each one's share of the batch."""

import copy
import json
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / "pipelines" / "faces")]

from trainings import learner_on_discs

learner = learner_on_discs(batch=16)
torch.use_deterministic_algorithms(True)
alone = copy.deepcopy(learner.accelerator.unwrap_model(learner.task))
shares = [torch.arange(8), torch.arange(8, 16)]
expected = [torch.zeros_like(weight) for weight in alone.parameters()]
for share in shares:
    loss = alone(learner.change(learner.feed.faces[share]), learner.labels[share])
    for total, gradient in zip(expected, torch.autograd.grad(loss, list(alone.parameters())), strict=True):
        total += gradient / 2
own = shares[learner.accelerator.process_index]
learner.accelerator.backward(learner.task(learner.change(learner.feed.faces[own]), learner.labels[own]))
worst = max(
    float((weight.grad - wanted).abs().max())
    for weight, wanted in zip(learner.task.parameters(), expected, strict=True)
)
largest = float(max(weight.grad.abs().max() for weight in learner.task.parameters()))
learner.optimiser.zero_grad()
for epoch in (1, 2):
    for _ in learner.epoch(epoch):
        pass
total = float(sum(weight.double().sum() for weight in learner.task.parameters()))
rank = learner.accelerator.process_index
about = {"worst": worst, "largest": largest, "weights": total, "processes": learner.accelerator.num_processes}
Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(about))
learner.accelerator.end_training()
