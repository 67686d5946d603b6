"""A training that is killed goes on from its checkpoints, elsewhere too, to the same weights."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_faces

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

from test_experiment_stages import workplace
from trainings import RECIPE, learner_on_discs, outputs


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from facelib.checkpoints import Checkpoints

    store = Checkpoints(tmp_path, "0123456789abcdef")
    last_ones = torch.arange(6.0).reshape(2, 3).T  # not contiguous
    for step in (1, 2, 3):
        store.save(step, {"a": last_ones + step}, {"step": step, "loss": 0.1})
    assert len(list(tmp_path.iterdir())) == 2
    assert Checkpoints(tmp_path, "f" * 16).load() is None
    step, tensors, values = store.load()  # type: ignore[misc]
    assert (step, values) == (3, {"step": 3, "loss": 0.1})
    assert torch.equal(tensors["a"], last_ones + 3)
    last = max(tmp_path.iterdir())
    last.write_bytes(last.read_bytes()[:-5])
    assert store.load()[0] == 2  # type: ignore[index]
    assert f"checkpoint {last.name} is damaged" in capsys.readouterr().out
    # It goes on from there: the damaged one must not be what is kept beside the next.
    (tmp_path / "left by a kill.tmp").touch()
    store.save(3, {"a": last_ones}, {})
    assert [path.name[:9] for path in sorted(tmp_path.iterdir())] == ["000000002", "000000003"]
    assert last not in tmp_path.iterdir()
    store.remove()
    assert list(tmp_path.iterdir()) == []
    assert store.load() is None


def test_another_trainings_checkpoints_are_in_nobodys_way(tmp_path: Path) -> None:
    from facelib.checkpoints import Checkpoints

    for step in (900, 901):
        Checkpoints(tmp_path, "f" * 16).save(step, {}, {})
    store = Checkpoints(tmp_path, "0" * 16)
    for step in (1, 2, 3):
        store.save(step, {}, {})
    assert [int(path.name[:9]) for path in sorted(tmp_path.iterdir())] == [2, 3, 901]
    assert store.load()[0] == 3  # type: ignore[index]
    assert Checkpoints(tmp_path, "f" * 16).load()[0] == 901  # type: ignore[index]


def test_killed_at_half_and_started_again_elsewhere_gives_the_same_weights(uninterrupted: Path, tmp_path: Path) -> None:
    """Elsewhere: with nothing of the first try but its whole checkpoints, as the worker brings them to another node."""
    folder = workplace(tmp_path / "faces")
    tiny_faces.params(folder, **RECIPE)
    parameters = json.loads((folder / "params.yaml").read_text())
    parameters["train"]["checkpoint_seconds"] = 0  # after every step
    (folder / "params.yaml").write_text(json.dumps(parameters))
    kept = tmp_path / "checkpoints"
    environment = {**os.environ, "LIVE": str(tmp_path / "live"), "CHECKPOINTS": str(kept)}
    training = subprocess.Popen([sys.executable, "train.py"], cwd=folder, env=environment, stdout=subprocess.PIPE)
    half = 17  # of 30 steps: in the middle of an epoch
    while not any(int(path.name[:9]) >= half for path in kept.glob("*.safetensors")):
        assert training.poll() is None
        time.sleep(0.002)
    training.send_signal(signal.SIGKILL)
    training.wait()
    assert not (folder / "models" / "model.safetensors").exists()
    other = workplace(tmp_path / "another" / "node" / "faces")
    shutil.copy(folder / "params.yaml", other / "params.yaml")
    brought = shutil.copytree(kept, other.parent / "checkpoints", ignore=shutil.ignore_patterns("*.tmp"))
    shutil.rmtree(folder)
    shutil.rmtree(kept)
    environment["CHECKPOINTS"] = str(brought)
    done = subprocess.run([sys.executable, "train.py"], cwd=other, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"train: goes on after step (\d+) of 30", done.stdout).group(1)) >= half  # type: ignore[union-attr]
    assert outputs(other) == outputs(uninterrupted)


def test_a_training_told_to_end_saves_first(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facelib.checkpoints import Checkpoints
    from facelib.faces import load_faces, load_pairs
    from facelib.fitting import Fit

    data = uninterrupted / "data"
    faces = load_faces(data / "aligned", data / "split.parquet", "val")
    pairs = load_pairs(data / "pairs.parquet", "val", faces)
    store = Checkpoints(tmp_path / "checkpoints", "0" * 16)
    monkeypatch.setenv("LIVE", str(tmp_path / "live"))
    fit = Fit(learner_on_discs(batch=16, epochs=3), faces, pairs, store)
    fit._end_soon()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            fit.run()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert end.value.code == 143  # above 128: tried again
    assert store.load()[0] == 1  # type: ignore[index]


def test_checkpoints_are_not_shared_by_two_kinds_of_arithmetic(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node without a GPU must not take up what one with a GPU left, or the other way round."""
    train, params = importlib.import_module("train"), importlib.import_module("params.train")
    monkeypatch.chdir(uninterrupted)
    monkeypatch.setenv("CHECKPOINTS", "checkpoints")
    learner = learner_on_discs()
    one, again = (train.open_checkpoints(params.Params(), learner).fingerprint for _ in range(2))
    learner.precision = "bf16"
    other = train.open_checkpoints(params.Params(), learner).fingerprint
    assert one == again != other
