"""Train, evaluate, export and report for real, each as its own process, on tiny learnable faces."""

import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_faces
import yaml

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")
onnxruntime = pytest.importorskip("onnxruntime")

PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "faces"
STAGES = ("train", "evaluate", "export", "compare", "report")
OUTS = (
    "models/model.safetensors",
    "results/training.csv",
    "results/training.json",
    "results/metrics.json",
    "results/roc.csv",
    "results/tar_at_far.csv",
    "results/scores.csv",
    "results/calibration.csv",
    "results/quality.csv",
    "results/thresholds.csv",
    "results/pairs.parquet",
    "results/embeddings.parquet",
    "models/model.onnx",
    "results/export.json",
    "results/compare.json",
    "results/report.html",
)


def workplace(folder: Path) -> Path:
    """A copy of the pipeline's code (it may lie on a read-only disk) beside tiny data."""
    leave = shutil.ignore_patterns("data", "models", "results", "live", "__pycache__", "params.yaml", "dvc.lock")
    shutil.copytree(PIPELINE, folder, ignore=leave)
    tiny_faces.make(folder)
    tiny_faces.params(folder)
    return folder


def run(folder: Path, stage: str, **environment: str) -> str:
    """Run a stage with nothing but what dvc.yaml declares, put its outs into `folder`; what it printed."""
    declared = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][stage]
    box = folder.parent / f"{folder.name}-{stage}"
    for dep in declared["deps"]:
        if not dep.startswith("${"):  # the environment's files
            (box / dep).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (folder / dep).is_dir() else shutil.copy
            copy(folder / dep, box / dep)
    parameters = json.loads((folder / "params.yaml").read_text())
    (box / "params.yaml").write_text(json.dumps({section: parameters[section] for section in declared["params"]}))
    variables = {**os.environ, "LIVE": str(folder / "live"), **environment}
    done = subprocess.run([sys.executable, f"{stage}.py"], cwd=box, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for out in [*declared.get("outs", []), *declared.get("metrics", []), *declared.get("plots", [])]:
        name = next(iter(out)) if isinstance(out, dict) else out
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(box / name, folder / name)
    return done.stdout


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder in which all stages have run, and what each printed."""
    folder = workplace(tmp_path_factory.mktemp("chain") / "faces")
    return folder, {stage: run(folder, stage) for stage in STAGES}


def test_the_same_inputs_give_the_same_bytes_elsewhere(chain: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    again = workplace(tmp_path / "a" / "longer" / "path")
    for stage in STAGES:
        run(again, stage, PYTHONHASHSEED="7", HOME="/nonexistent", LIVE=str(tmp_path / "elsewhere"))
    different = [out for out in OUTS if (chain[0] / out).read_bytes() != (again / out).read_bytes()]
    assert different == []


def test_training_beats_raw_pixels_and_the_untrained_network(chain: tuple[Path, dict[str, str]]) -> None:
    folder, printed = chain
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    assert metrics["test_identities"] == 10
    assert metrics["verification_accuracy"] > metrics["pixels_accuracy"] + 0.05
    assert metrics["verification_accuracy"] > metrics["untrained_accuracy"] + 0.1
    assert metrics["auc"] > max(metrics["pixels_auc"], metrics["untrained_auc"]) + 0.05
    assert re.search(rf"^accuracy +{metrics['verification_accuracy']:.4f} ", printed["evaluate"], re.MULTILINE)


def test_the_kept_snapshot_is_the_best_epoch(chain: tuple[Path, dict[str, str]]) -> None:
    folder, _ = chain
    header = (folder / "models" / "model.safetensors").read_bytes()[8:2000].decode(errors="ignore")
    kept = int(re.search(r'\\"epoch\\": (\d+)', header).group(1))  # type: ignore[union-attr]
    curves = np.genfromtxt(folder / "results" / "training.csv", delimiter=",", names=True)
    assert curves["epoch"].tolist() == list(range(1, 9))
    assert curves["val_auc"][kept - 1] == curves["val_auc"].max()
    assert curves["loss"][-1] < curves["loss"][0] / 2
    assert curves["learning_rate"][-1] < curves["learning_rate"].max() / 100


def test_live_lines_and_example_batch(chain: tuple[Path, dict[str, str]]) -> None:
    lines = [json.loads(line) for line in (chain[0] / "live" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["name"] == "loss"]
    assert steps == list(range(1, 8 * 5 + 1))  # 159 faces in batches of 32, eight times
    assert {"learning_rate", "gradient_norm", "images_per_second", "val_auc", "val_accuracy"} <= {
        line["name"] for line in lines
    }
    assert (chain[0] / "live" / "batch.png").stat().st_size > 1000


def test_scores_of_every_test_pair(chain: tuple[Path, dict[str, str]]) -> None:
    given = pq.read_table(chain[0] / "data" / "pairs.parquet", filters=[("subset", "=", "test")])
    scored = pq.read_table(chain[0] / "results" / "pairs.parquet")
    assert scored.select(["key_a", "key_b", "same", "fold"]).to_pylist() == given.drop(["subset"]).to_pylist()


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "results" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_lies_in_its_interval_and_curves_end_where_they_should(chain: tuple[Path, dict[str, str]]) -> None:
    folder, printed = chain
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    told = [name.removesuffix("_low") for name in metrics if name.endswith("_low")]
    numbers = ["verification_accuracy", "auc", "eer", "tar_at_far_0.1", "tar_at_far_0.01", "rank_1", "rank_5"]
    assert told == [*numbers, "auc_over_pixels", "auc_over_untrained"]
    assert metrics["auc_over_pixels"] == pytest.approx(metrics["auc"] - metrics["pixels_auc"], abs=2e-6)
    for name in told:
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"], name
    assert metrics["auc_high"] - metrics["auc_low"] > 0.005  # ten people do not say more
    assert "TAR at FAR 0.001 is not told: it needs 1000 pairs of different people, there are" in printed["evaluate"]
    roc = table(folder, "roc")
    assert list(dict.fromkeys(row["series"] for row in roc)) == ["model", "pixels", "untrained"]
    assert (roc[199]["far"], roc[199]["tar"]) == ("1", "1")
    at = {(row["series"], row["far"]): row for row in table(folder, "tar_at_far")}
    assert float(at["model", "0.1"]["tar"]) == pytest.approx(metrics["tar_at_far_0.1"], abs=1e-5)
    assert float(at["model", "0.1"]["low"]) == pytest.approx(metrics["tar_at_far_0.1_low"], abs=1e-5)
    assert float(at["pixels", "0.01"]["tar"]) == pytest.approx(metrics["pixels_tar_at_far_0.01"], abs=1e-5)
    bars = table(folder, "scores")
    assert sum(int(row["pairs"]) for row in bars) == metrics["test_pairs"]
    thirds = table(folder, "quality")
    assert [row["measure"] for row in thirds[::3]] == ["sharpness", "brightness", "yaw"]  # face_px is always 56
    for measure in range(0, 9, 3):
        assert sum(int(row["pairs"]) for row in thirds[measure : measure + 3]) == metrics["test_pairs"]
        assert float(thirds[measure]["most"]) <= float(thirds[measure + 1]["least"])
    assert min(float(row["least"]) for row in thirds[-3:]) >= 0  # turned left or right is alike


def test_the_threshold_is_the_validation_pairs_and_goes_with_the_model(chain: tuple[Path, dict[str, str]]) -> None:
    """Every face embedded by onnxruntime; nothing but the exported file says how to read the scores."""
    from facelib import verification
    from facelib.calibration import Calibration
    from facelib.faces import load_faces, load_pairs

    folder = chain[0]
    session = onnxruntime.InferenceSession(folder / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    kept = Calibration.from_dict(json.loads(session.get_modelmeta().custom_metadata_map["calibration"]))
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    for subset in ("val", "test"):
        faces = load_faces(folder / "data" / "aligned", folder / "data" / "split.parquet", subset)
        pairs = load_pairs(folder / "data" / "pairs.parquet", subset, faces)
        vectors = session.run(["embeddings"], {"faces": faces.pixels})[0]
        scores = verification.cosine(vectors, pairs.a, pairs.b)
        right = np.mean((scores >= kept.threshold) == pairs.same)
        if subset == "val":
            assert right == pytest.approx(verification.best_threshold(scores, pairs.same)[1], abs=0.005)
            again = Calibration.fit(scores, pairs.same)
            assert kept.pairs == again.pairs == len(scores)
            assert (kept.slope, kept.offset) == pytest.approx((again.slope, again.offset), rel=1e-3)
        else:
            assert metrics["accuracy_at_threshold"] == pytest.approx(right, abs=0.005)
            assert metrics["threshold"] == pytest.approx(kept.threshold, abs=1e-6)
            assert 0 <= metrics["calibration_error"] < 0.3


def test_embeddings_of_every_test_face_are_kept(chain: tuple[Path, dict[str, str]]) -> None:
    kept = pq.read_table(chain[0] / "results" / "embeddings.parquet")
    split = pq.read_table(chain[0] / "data" / "split.parquet", filters=[("subset", "=", "test")])
    assert sorted(kept["key"].to_pylist()) == sorted(split["key"].to_pylist())
    place = {key: row for row, key in enumerate(kept["key"].to_pylist())}
    vectors = np.array(kept["embedding"].to_pylist())
    scored = pq.read_table(chain[0] / "results" / "pairs.parquet")
    a, b = ([place[key] for key in scored[end].to_pylist()] for end in ("key_a", "key_b"))
    np.testing.assert_allclose((vectors[a] * vectors[b]).sum(1), scored["score"].to_numpy(), atol=1e-6)


def test_the_exported_model_scores_pairs_as_evaluate_did(chain: tuple[Path, dict[str, str]]) -> None:
    """By onnxruntime and Pillow alone, as someone outside would use it."""
    from facelib.faces import load_faces, load_pairs

    data = chain[0] / "data"
    faces = load_faces(data / "aligned", data / "split.parquet", "test")
    pairs = load_pairs(data / "pairs.parquet", "test", faces)
    session = onnxruntime.InferenceSession(chain[0] / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 7, len(faces.keys)):
        embeddings = session.run(["embeddings"], {"faces": faces.pixels[:batch]})[0]
        assert embeddings.shape == (batch, 32)
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    scores = (embeddings[pairs.a] * embeddings[pairs.b]).sum(1)
    expected = pq.read_table(chain[0] / "results" / "pairs.parquet")["score"].to_numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_exported_model_names_no_path(chain: tuple[Path, dict[str, str]]) -> None:
    data = (chain[0] / "models" / "model.onnx").read_bytes()
    assert not re.search(rb"[\w/]+\.py\b|site-packages", data)


def test_export_fails_past_its_tolerance(
    chain: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(chain[0], tmp_path / "faces", ignore=shutil.ignore_patterns("model.onnx", "results"))
    (folder / "params.yaml").write_text(json.dumps({"export": {"max_difference": 1e-12, "threads": 1}}))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["export.py"])
    with pytest.raises(SystemExit, match=r"export: the ONNX model differs from torch by .* \(allowed 1e-12\)"):
        importlib.import_module("export").main()
    assert not (folder / "models" / "model.onnx").exists()


def test_export_takes_no_number_that_is_none(
    chain: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = importlib.import_module("export")
    monkeypatch.chdir(chain[0])
    monkeypatch.setattr(sys, "argv", ["export.py"])
    nothing = {"max_difference": float("nan"), "min_cosine": float("nan")}
    monkeypatch.setattr(stage, "compare", lambda *_: nothing)
    with pytest.raises(SystemExit, match="differs from torch by nan"):
        stage.main()


def test_the_report_is_one_page_with_everything_inside(chain: tuple[Path, dict[str, str]]) -> None:
    page = (chain[0] / "results" / "report.html").read_text()
    metrics = json.loads((chain[0] / "results" / "metrics.json").read_text())
    assert f"<b>{metrics['verification_accuracy']:.3f}</b>" in page
    pictures = re.findall(r'<img src="([^"]{0,30})', page)
    assert len(pictures) >= 12 + 48 + 1 + 4 + 3 + 2 * 12
    assert "photographs that arrived " in page
    different = page.partition("Hardest pairs of different people")[2].partition("</section>")[0]
    couples = re.findall(r"<figcaption>-?[\d.]+ (.+) / (.+)</figcaption>", different)
    assert couples and len({frozenset(couple) for couple in couples}) == len(couples)
    assert all(source.startswith("data:image/") for source in pictures)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for reason in (
        "detect: not_an_image (1)",
        "clean: blurry (1)",
        "10 bytes of no known format",
        "0.01 (limit 0.02)",
    ):
        assert reason in page
    assert f"<small>{metrics['auc_low']:.3f} – {metrics['auc_high']:.3f}</small>" in page
    assert "TAR at FAR 0.001, 0.0001 is not told" in page
    assert f"{metrics['auc_over_pixels']:+.3f} above raw pixels" in page
    for words in ("highest accuracy", "FAR 0.01", "sharpness, lowest third", "yaw, highest third"):
        assert f"<td>{words}</td>" in page
    assert len(page) < 3_000_000


def test_the_report_says_where_there_is_no_interval() -> None:
    over = importlib.import_module("report").over_section({"auc_over_pixels": 0.1, "auc_over_untrained": 0.25})
    assert over[0] == "+0.100 above raw pixels (too few people for an interval)"


@pytest.mark.parametrize("stage", STAGES)
def test_help_explains_inputs_and_outputs(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(stage)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", [f"{stage}.py", "--help"])
        module.main()
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert printed.splitlines()[2].startswith(f"{stage}: ")
    assert re.search(r"^in  .*params.yaml", printed, re.MULTILINE | re.DOTALL)
    assert re.search(r"^out  ", printed, re.MULTILINE)


def test_report_needs_no_torch(chain: tuple[Path, dict[str, str]]) -> None:
    check = "import sys, report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=chain[0]).returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    from facelib.embedder import choose_device

    with pytest.raises(SystemExit, match="no GPU to torch; set device to auto or cpu"):
        choose_device("cuda")
    assert choose_device("auto") == (torch.device("cpu"), "no GPU")


def test_resampling_equals_torchs_antialiased_resize() -> None:
    from facelib.embedder import resample, resize_matrix

    faces = torch.randint(0, 256, (2, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for size in (64, 112, 160):
        matrix = resize_matrix(torch.tensor(0.0), torch.tensor(112.0), 112, size)
        ours = resample(faces, matrix, matrix)
        theirs = torch.nn.functional.interpolate(
            faces.permute(0, 3, 1, 2).float(),
            (size, size),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )
        torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=0)
        mirrored = resize_matrix(torch.tensor(112.0), torch.tensor(0.0), 112, size)
        torch.testing.assert_close(resample(faces, matrix, mirrored), theirs.flip(3), atol=1e-2, rtol=0)


def test_augmentation_of_no_strength_changes_nothing_and_of_some_stays_in_range() -> None:
    from facelib.augment import augment
    from facelib.embedder import normalise, resample, resize_matrix

    faces = torch.randint(0, 256, (16, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    matrix = resize_matrix(torch.tensor(0.0), torch.tensor(96.0), 96, 64)
    plain = normalise(resample(faces, matrix, matrix))

    def changed(**strength: float) -> torch.Tensor:
        nothing = {"mirror": 0.0, "jitter": 0.0, "colour": 0.0, "erase": 0.0}
        return augment(faces, 64, **{**nothing, **strength}, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(changed(), plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(changed(mirror=1.0), plain.flip(3), atol=1e-5, rtol=0)
    holes = (changed(erase=1.0) == 0).all(1).float().mean((1, 2))
    assert ((holes >= 0.08**2) & (holes <= 0.55**2)).all()
    for strength in ({"jitter": 0.3}, {"colour": 0.5}):
        result = changed(**strength)
        assert result.abs().max() <= 1
        assert (result - plain).abs().mean((1, 2, 3)).min() > 0.01  # every face, not some


@pytest.mark.parametrize(("backbone", "size"), [("small", 64), ("mobilefacenet", 80), ("inception_resnet_v1", 160)])
def test_a_model_comes_back_from_its_file(backbone: str, size: int, tmp_path: Path) -> None:
    from facelib import backbones

    description = backbones.Description(backbone, embedding=48, face_size=112, seed=5, input_size=size)
    network = backbones.build(description).eval()
    backbones.save(network, description, tmp_path / "model.safetensors", epoch=3)
    again, described = backbones.load(tmp_path / "model.safetensors")
    x = torch.rand(2, 3, description.input_size, description.input_size)
    with torch.inference_mode():
        assert described == description
        assert again(x).shape == (2, 48)
        assert torch.equal(again(x), network(x))
