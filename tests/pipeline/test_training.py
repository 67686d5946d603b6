"""Training itself: losses, batches, several processes, what cannot be promised."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_faces

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

from test_experiment_stages import workplace
from trainings import CPU, RECIPE, learner_on_discs, outputs

TWO = [
    sys.executable,
    *["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"],
]
"""torchrun; the address because a container without a network has no name."""


@pytest.mark.parametrize(
    ("loss", "mining", "optimiser"),
    [
        ("cosface", "all", "adamw"),
        ("arcface", "all", "sgd"),
        ("softmax", "all", "adamw"),
        ("triplet", "all", "adamw"),
        ("triplet", "semihard", "adamw"),
    ],
)
def test_every_loss_and_optimiser_learns(loss: str, mining: str, optimiser: str) -> None:
    """By the share of faces whose nearest other face is the same person's."""
    from facelib.embedder import embed

    learner = learner_on_discs(loss=loss, mining=mining, optimiser=optimiser, batch=16, epochs=6)

    def nearest_is_same() -> float:
        vectors = embed(learner.embedder(), learner.feed.faces, 48)
        scores = vectors @ vectors.T - 2 * np.eye(48)
        return float((learner.labels.numpy()[scores.argmax(1)] == learner.labels.numpy()).mean())

    for epoch in range(1, 7):
        losses = [float(loss) for _, loss, _ in learner.epoch(epoch)]
        assert np.isfinite(losses).all()
    assert nearest_is_same() > 0.9


def test_balanced_batches_draw_people_alike_and_nobody_twice() -> None:
    from facelib.sampling import batches

    counts = [50, 3, 20, 7, 30, 10]
    labels = torch.repeat_interleave(torch.arange(6), torch.tensor(counts))
    drawn = batches(labels, batch=8, faces_per_person=2, seed=1, epoch=1)
    assert len(drawn) == 15
    for rows in drawn:
        people, faces = torch.unique(labels[rows], return_counts=True)
        assert (len(people), set(faces.tolist())) == (4, {2})
        assert len(set(rows.tolist())) == 8
    often = torch.bincount(labels[torch.cat(drawn)])
    assert often.max() - often.min() <= 2
    few = batches(labels[:53], batch=16, faces_per_person=2, seed=1, epoch=1)  # two people only
    assert all(torch.bincount(labels[rows]).tolist() == [8, 8] for rows in few)
    small = batches(labels, batch=4, faces_per_person=4, seed=1, epoch=1)
    assert all(len(torch.unique(labels[rows])) == 2 for rows in small)  # one person alone teaches nothing


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    from facelib.sampling import batches

    labels = torch.arange(40) % 8
    for per_person in (0, 2):
        one, again, epoch, seed = (
            torch.cat(batches(labels, 8, per_person, *at)) for at in ((1, 1), (1, 1), (1, 2), (2, 1))
        )
        assert torch.equal(one, again)
        assert not torch.equal(one, epoch)
        assert not torch.equal(one, seed)
    assert sorted(torch.cat(batches(labels, 8, 0, 1, 1)).tolist()) == list(range(40))


def test_streamed_faces_are_those_of_the_device(tmp_path: Path) -> None:
    from facelib.feeding import Feed

    faces = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    on_disk = np.memmap(tmp_path / "faces", np.uint8, "w+", shape=faces.shape)
    on_disk[:] = faces
    streamed, resident = Feed(on_disk, CPU, 1), Feed(faces, CPU, 1)
    assert (streamed.resident, resident.resident) == (False, True)
    rows = [torch.tensor([3, 1]), torch.tensor([0]), torch.tensor([19, 3])]
    for a, b in zip(streamed.batches(rows), resident.batches(rows), strict=True):
        assert torch.equal(a, b)
    next(streamed.batches(rows))  # left in the middle: the reader ends too
    with pytest.raises(IndexError):
        list(streamed.batches([torch.tensor([20])]))


def test_validation_loss_against_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    from facelib.validation import logistic_loss

    rng = np.random.default_rng(0)
    same = rng.random(400) < 0.3
    scores = rng.normal(0, 0.1, 400) + 0.1 * same
    model = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10).fit(scores[:, None] * 10, same)
    weight = np.where(same, 0.5 / same.mean(), 0.5 / (~same).mean())
    expected = log_loss(same, model.predict_proba(scores[:, None] * 10), sample_weight=weight)
    assert logistic_loss(scores, same) == pytest.approx(expected, abs=1e-3)  # softened targets
    assert logistic_loss(np.where(same, 1.0, 0.0), same) < 0.02
    assert logistic_loss(np.zeros(400), same) == pytest.approx(np.log(2), abs=1e-4)


def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("two_processes.py"))
    done = subprocess.run([*TWO, script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == second["processes"] == 2
    for process in (first, second):
        assert process["worst"] < 1e-5 < 1e-2 < process["largest"]
    assert first["weights"] == second["weights"]


@pytest.mark.long
def test_two_processes_train_to_the_same_bytes_twice_and_not_to_those_of_one(
    uninterrupted: Path, tmp_path: Path
) -> None:
    made = []
    for name in ("a", "b"):
        folder = workplace(tmp_path / name / "faces")
        tiny_faces.params(folder, **RECIPE)
        environment = {**os.environ, "CHECKPOINTS": "", "LIVE": str(tmp_path / name / "live")}
        done = subprocess.run([*TWO, "train.py"], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "by 2 processes" in done.stdout
        lines = [json.loads(line) for line in (tmp_path / name / "live" / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["name"] == "loss"] == list(range(1, 31))  # one of them writes
        made.append(outputs(folder))
    assert made[0] == made[1]
    assert made[0] != outputs(uninterrupted)


def test_what_cannot_be_deterministic_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from facelib.learner import Learner  # noqa: F401 - accelerate reads WORLD_SIZE when it is first used

    train, params = importlib.import_module("train"), importlib.import_module("params.train")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(SystemExit, match="4 GPUs add up .* set train.deterministic to false"):
        train.prepare(params.Params().recipe(), torch.device("cuda"))


def test_what_torch_cannot_do_comes_with_a_remedy() -> None:
    train, recipe = importlib.import_module("train"), importlib.import_module("params.train").Params(batch=512).recipe()
    full = train.remedy_for(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), recipe)
    assert "train.batch (now 512)" in full and "train.memory_gb" in full
    kernel = RuntimeError("adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation")
    assert train.remedy_for(kernel, recipe) == "set train.deterministic to false"
    assert train.remedy_for(RuntimeError("shapes differ"), recipe) is None


def test_choices_that_this_cpu_cannot_make_are_refused() -> None:
    with pytest.raises(SystemExit, match="only a GPU computes"):
        learner_on_discs(precision="fp16")


def test_a_backbone_brings_its_own_defaults_and_says_so() -> None:
    params = importlib.import_module("params.train").Params
    for backbone, embedding in (("small", 128), ("mobilefacenet", 128), ("inception_resnet_v1", 512)):
        assert params(backbone=backbone).recipe().embedding == embedding
    assert params(loss="triplet").recipe().faces_per_person > 1
    given = params(backbone="inception_resnet_v1", epochs=3)
    assert given.recipe().epochs == given.recipe(pretrained=True).epochs == 3
    assert given.recipe(pretrained=True).learning_rate < given.recipe().learning_rate
    said = given.recipe().chosen(given)
    assert "embedding 512" in said
    assert "epochs" not in said


def test_the_reason_is_kept(uninterrupted: Path) -> None:
    kept = json.loads((uninterrupted / "results" / "training.json").read_text())
    assert kept["kept_because"] == "highest validation auc of 6 epochs"
    assert kept["kept_step"] == kept["kept_epoch"] * 5


@pytest.mark.parametrize(
    ("snapshot", "patience", "epoch", "epochs"),
    [("auc", 0, 3, 5), ("loss", 0, 2, 5), ("last", 0, 5, 5), ("auc", 2, 3, 5), ("loss", 2, 2, 4), ("auc", 1, 1, 2)],
)
def test_which_snapshot_is_kept_and_when_a_training_ends(
    snapshot: str, patience: int, epoch: int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up numbers of each epoch: the highest AUC is the third's, the lowest loss the second's."""
    from facelib import fitting
    from facelib.checkpoints import Checkpoints

    numbers = iter(zip((0.8, 0.7, 0.9, 0.9, 0.85), (0.5, 0.3, 0.6, 0.4, 0.7), strict=True))
    weights = []

    def validate(embedder: torch.nn.Module, *_: object) -> dict[str, float]:
        weights.append(embedder.network[0].weight.detach().clone())
        auc, loss = next(numbers)
        return {"auc": auc, "loss": loss, "accuracy": 0.5}

    monkeypatch.setattr(fitting, "validate", validate)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("LIVE", str(tmp_path))
    learner = learner_on_discs(batch=24, epochs=5, snapshot=snapshot, patience=patience)
    fit = fitting.Fit(learner, None, None, Checkpoints(None, ""))
    fit.run()
    assert (fit.best.epoch, fit.best.step, len(fit.history)) == (epoch, 2 * epoch, epochs)
    assert torch.equal(fit.weights["0.weight"], weights[epoch - 1])


@pytest.mark.parametrize(("broken", "said"), [("loss", "the loss is not finite"), ("gradient", "the gradient is not")])
def test_numbers_that_are_none_end_a_training(
    broken: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facelib import fitting
    from facelib.checkpoints import Checkpoints

    learner = learner_on_discs(batch=48, epochs=1)  # one step
    if broken == "loss":
        learner.task.objective.register_forward_hook(lambda *given: given[2] * float("nan"))
    else:
        next(iter(learner.task.parameters())).register_hook(lambda gradient: gradient * float("nan"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("LIVE", str(tmp_path))
    store = Checkpoints(tmp_path / "checkpoints", "0" * 16)
    with pytest.raises(SystemExit, match=f"train: {said} .* lower train.learning_rate"):
        fitting.Fit(learner, None, None, store).run()
    assert store.load() is None
    assert fitting._finite_mean([1.0, float("inf"), 3.0]) == 2.0


def test_a_batch_of_one_face_is_refused() -> None:
    with pytest.raises(SystemExit, match="a process may get 1, and BatchNorm learns from two .* raise train.batch"):
        learner_on_discs(faces=47, batch=2)
    learner_on_discs(faces=47, batch=3)


@pytest.mark.parametrize("faces", [1, 8, 11, 40])
def test_a_picture_of_any_batch(faces: int) -> None:
    sheet = importlib.import_module("train").sheet
    batch = torch.linspace(-1, 1, faces)[:, None, None, None].expand(faces, 3, 4, 4)
    picture = np.asarray(sheet(batch))
    shown = min(faces, 32)
    assert picture.shape == (-(-shown // 8) * 4, 32, 3)
    assert picture[-4, (shown - 1) % 8 * 4, 0] == int(batch[shown - 1, 0, 0, 0] * 128 + 127.5)


@pytest.mark.parametrize(
    ("script", "busy"), [("echo 37", 0.37), ("echo '[N/A]'", None), ("exit 9", None), ("exec sleep 60", None)]
)
def test_how_busy_the_gpu_is_never_ends_a_training(
    script: str, busy: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facelib import hardware

    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n[ $1 = --id=5 ] || exit 1\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(hardware, "_ANSWER_SECONDS", 0.3)
    assert hardware.Meter(torch.device("cuda:1"), 1)._gpu() == busy


def test_a_snapshot_that_the_pairs_cannot_resolve_is_refused() -> None:
    from facelib.validation import value

    with pytest.raises(SystemExit, match="too few validation pairs .* set train.snapshot to auc"):
        value({"auc": 0.9}, "tar_at_far_0.01")
    assert value({"loss": 0.3}, "loss") == -0.3
