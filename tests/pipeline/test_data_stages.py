"""download, detect, align, clean and split for real, each with what dvc.yaml declares and nothing else."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stages import DATA_STAGES, PIPELINE, SHARED, Place

pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

from facelib import partitions
from facelib.faces import decode

SMALL = {
    "val_share": 0.3,
    "min_train_identities": 3,
    "min_val_identities": 2,
    "min_test_identities": 2,
    "pairs_per_fold": 20,
}
odd_images = pytest.mark.skipif(not (SHARED / "odd-images").is_dir(), reason="needs ../shared/data/odd-images")


def succeed(place: Place, stage: str) -> str:
    done = place.run(stage)
    assert done.returncode == 0, f"{stage}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def chain(troubled: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """All stages of the data, run on the troubled inbox."""
    place = Place(tmp_path_factory.mktemp("chain"), troubled, split=SMALL, data_gate={"max_duplicate_share": 0.9})
    for stage in DATA_STAGES:
        succeed(place, stage)
    return place


def rows(place: Place, folder: str) -> list[partitions.Row]:
    path = place.folder / folder
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return [row for file in files for row in partitions.read(file)]


def test_every_file_is_accounted_for(chain: Place) -> None:
    source = json.loads((chain.folder / "source.json").read_text())["partitions"]
    listed = {entry["path"] for entries in source.values() for entry in entries}
    photos = {row["path"] for row in rows(chain, "data/photos")}
    faces = {row["path"] for row in rows(chain, "data/faces")}
    aligned = {row["path"] for row in rows(chain, "data/aligned")}
    refused = {stage: {row["path"] for row in rows(chain, f"data/rejects/{stage}")} for stage in DATA_STAGES[:3]}
    for there, out, left in (
        (listed, photos, refused["download"]),
        (photos, faces, refused["detect"]),
        (faces, aligned, refused["align"]),
    ):
        assert out | left == there and not out & left
    assert {row["path"] for row in rows(chain, "data/clean.parquet")} == aligned
    kept = {row["key"] for row in rows(chain, "data/clean.parquet") if row["keep"]}
    assert {row["key"] for row in rows(chain, "data/split.parquet")} == kept


def after(chain: Place, folder: Path, **overrides: dict[str, float | str]) -> Place:
    """A place that has the chain's outputs, to run a stage of it again."""
    for name in ("data", "results"):
        shutil.copytree(chain.folder / name, folder / name)
    return Place(folder, chain.inbox, **{"split": SMALL, **overrides})


@pytest.mark.parametrize("stage", ["download", "align", "clean", "data_gate", "split", "data_report"])
def test_same_bytes_again_and_with_other_threads(chain: Place, stage: str, tmp_path: Path) -> None:
    again = after(chain, tmp_path, align={"threads": 3}, data_gate={"max_duplicate_share": 0.9})
    succeed(again, stage)
    assert again.bytes(stage) == chain.bytes(stage)


@pytest.mark.parametrize("stage", ["download", "detect", "align"])
def test_a_partition_alone_gives_the_same_bytes_again(chain: Place, stage: str, tmp_path: Path) -> None:
    alone = Place(tmp_path, chain.inbox, detect={"threads": 1})
    source = json.loads((tmp_path / "source.json").read_text())["partitions"]
    (tmp_path / "source.json").write_text(json.dumps({"partitions": {"2026-11-08": source["2026-11-08"]}}))
    for folder in ("photos", "faces"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        shutil.copy(chain.folder / "data" / folder / "2026-11-08.parquet", tmp_path / "data" / folder)
    succeed(alone, stage)
    found = alone.bytes(stage)
    assert len(found) == 2 and found.items() <= chain.bytes(stage).items()


@pytest.mark.parametrize("photographs", [0, 1])
def test_the_page_about_data_without_a_face(photographs: int, tmp_path: Path) -> None:
    """Nothing that can be used is when people look at the page for why."""
    date = tmp_path / "inbox/2026-11-01/Nobody"
    date.mkdir(parents=True)
    (date / "notes.txt").write_text("no photograph")
    for number in range(photographs):
        Image.new("RGB", (200, 200), (90, 120, 150)).save(date / f"{number}.png")
    place = Place(tmp_path / "place", tmp_path / "inbox", detect={"threads": 1})
    for stage in ("download", "detect", "align", "clean", "data_report"):
        succeed(place, stage)
    page = (place.folder / "results/data.html").read_text()
    assert "2026-11-01/Nobody/notes.txt" in page and page.count("no_face (1)") == photographs
    assert "No face was found." in page


def test_reasons(chain: Place) -> None:
    refused = {row["path"]: row["reason"] for row in rows(chain, "data/rejects/download")}
    assert refused["2026-11-15/Odd/empty.jpg"] == "empty"
    clean = {row["path"]: row for row in rows(chain, "data/clean.parquet")}
    first, second = sorted(path for path in clean if path.startswith("2026-11-01"))[:2]
    name = first.split("/")[1]
    assert clean["2026-11-15/loose.jpg"]["reason"] == "unlabelled"
    assert clean[f"2026-11-15/{name}/again.jpg"]["reason"] == "duplicate"
    assert clean[first]["keep"] and clean[first]["measured"] is None
    assert clean["2026-11-15/Wrong_Name/mislabelled.jpg"]["reason"] == "duplicate_identity"
    assert clean[second]["reason"] == "duplicate_identity"


@odd_images
def test_odd_images_have_faces_or_a_reason(chain: Place) -> None:
    refused = {
        Path(row["path"]).name: row["reason"] for row in rows(chain, "data/rejects/detect") if "/Odd/" in row["path"]
    }
    assert Counter(refused.values()) - Counter({"no_face": 100}) == Counter(
        {"corrupt": 6, "not_an_image": 2, "too_many_pixels": 1, "truncated": 1}
    )
    assert all(
        not name.startswith("hopper")
        for name, reason in refused.items()
        if reason == "no_face" and "bad_exif" not in name
    )


@odd_images
def test_eight_orientations_and_all_formats_give_one_face(chain: Place) -> None:
    faces = [row for row in rows(chain, "data/faces") if Path(row["path"]).name.startswith("hopper")]
    faces = [row for row in faces if "bad_exif" not in row["path"]]  # another picture
    assert len(faces) == len({row["path"] for row in faces}) >= 24  # one face in each
    for field in ("box", "landmarks"):
        values = np.array([row[field] for row in faces])
        away = np.abs(values - np.median(values, 0)).max(1)
        turned = np.array(["orientation" in row["path"] for row in faces])
        assert turned.sum() == 14 and away[turned].max() < 2.5  # they were encoded one by one
        assert away.max() < 4  # 256 colours, lossy WebP, AVIF
    aligned = [row for row in rows(chain, "data/aligned") if "hopper_orientation" in row["path"]]
    pictures = np.stack([decode(row["image"]) for row in aligned]).mean(3)
    assert len(pictures) == 14
    for picture in pictures:
        assert max(map(abs, shift(picture, np.median(pictures, 0)))) <= 1


def shift(picture: np.ndarray, other: np.ndarray, most: int = 4) -> tuple[int, int]:
    """How many px down and right a picture has to move to look most like another."""
    inside = np.s_[most:-most, most:-most]
    moves = [(down, right) for down in range(-most, most + 1) for right in range(-most, most + 1)]
    return min(moves, key=lambda move: float(np.abs(np.roll(picture, move, (0, 1)) - other)[inside].mean()))


def test_aligned_faces_have_their_eyes_in_place(chain: Place) -> None:
    """Detect again on the aligned faces, doubled so that the detector sees all of a face."""
    import torch

    from facelib.alignment import TEMPLATE
    from facelib.detector import Mtcnn

    torch.set_num_threads(1)
    detector = Mtcnn()
    wanted = [row for row in rows(chain, "data/aligned") if "/Odd/" not in row["path"]][:12]
    canvas = np.full((len(wanted), 224, 224, 3), 128, np.uint8)
    for place, row in zip(canvas, wanted, strict=True):
        place[56:168, 56:168] = decode(row["image"])
    found = [faces.landmarks[0] - 56 for faces in detector.find(canvas) if len(faces.boxes)]
    assert len(found) >= 10
    assert np.abs(np.median(found, 0) - TEMPLATE).max() < 3


def test_split_keeps_people_apart_and_in_place(chain: Place, tmp_path: Path) -> None:
    split = rows(chain, "data/split.parquet")
    subset_of = {row["identity"]: row["subset"] for row in split}
    assert all(subset_of[row["identity"]] == row["subset"] for row in split)
    assert set(subset_of.values()) == {"train", "val", "test"}
    key_of = {row["key"]: row for row in split}
    for pair in rows(chain, "data/pairs.parquet"):
        a, b = key_of[pair["key_a"]], key_of[pair["key_b"]]
        assert a["subset"] == b["subset"] == pair["subset"]
        assert (a["identity"] == b["identity"]) == pair["same"]
    fewer = Place(tmp_path, chain.inbox, split={**SMALL, "min_train_identities": 2})
    clean = pq.read_table(chain.folder / "data/clean.parquet")
    shutil.copytree(chain.folder / "results", tmp_path / "results")
    (tmp_path / "data").mkdir()
    gone = min(name for name, subset in subset_of.items() if subset == "train")
    pq.write_table(
        clean.filter([name != gone for name in clean["identity"].to_pylist()]),
        tmp_path / "data/clean.parquet",
    )
    succeed(fewer, "split")
    assert {row["identity"]: row["subset"] for row in rows(fewer, "data/split.parquet")} == {
        name: subset for name, subset in subset_of.items() if name != gone
    }


def test_too_few_identities_are_one_clear_line(chain: Place, tmp_path: Path) -> None:
    place = after(chain, tmp_path, split={"min_train_identities": 1000})
    done = place.run("split")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "needs 1000" in done.stderr and "add photographs" in done.stderr


def test_a_gate_stops_the_run_with_the_numbers_or_warns(chain: Place, tmp_path: Path) -> None:
    measured = json.loads((chain.folder / "results/gates.json").read_text())["data"]
    photographs = sum(
        len(rows(chain, f"data/{name}")) for name in ("aligned", *(f"rejects/{s}" for s in DATA_STAGES[:3]))
    )
    assert measured["photographs"] == photographs
    assert 0.1 < measured["reject_share"] < 0.5 and measured["identities"] >= 12
    place = after(chain, tmp_path, data_gate={"max_duplicate_share": 0.01, "min_identities": 500})
    done = place.run("data_gate")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"duplicate_share is {measured['duplicate_share']:.4g} (data_gate.max_duplicate_share: 0.01)" in done.stderr
    assert f"identities is {measured['identities']} (data_gate.min_identities: 500)" in done.stderr
    assert "reject_share is" not in done.stderr and done.stderr.endswith(
        '\n  next: mend the data, or go on without limits: make run PARAMS="data_gate.crossed=warn"\n'
    )
    no_face = sum(row["reason"] == "no_face" for row in rows(chain, "data/rejects/detect"))
    assert no_face and f"{no_face} no_face" in done.stderr
    place.params["data_gate"]["crossed"] = "warn"
    assert succeed(place, "data_gate").count("data_gate: warning: ") == 2
    assert place.bytes("data_gate") == chain.bytes("data_gate")  # so that nothing after it is repeated


def test_the_page_about_the_data_is_one_file_with_pictures(chain: Place) -> None:
    page = (chain.folder / "results/data.html").read_text()
    sources = re.findall(r'<img src="([^"]{0,30})', page)
    assert len(sources) > 60 and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert sum(source.startswith("data:image/svg") for source in sources) == 2 + 9
    for reason in ("download: empty (1)", "clean: duplicate_identity (2)", "clean: unlabelled (1)"):
        assert reason in page
    assert len(page) < 3_000_000


@pytest.mark.parametrize("stage", ["align", "clean", "data_gate", "split"])
def test_without_its_input_a_stage_says_what_to_do(stage: str, chain: Place, tmp_path: Path) -> None:
    done = Place(tmp_path, chain.inbox).run(stage)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "run" in done.stderr


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_help_names_inputs_and_outputs(
    stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{stage}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(PIPELINE / f"{stage}.py"), run_name="__main__")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "\nin " in text and "\nout " in text


@pytest.mark.parametrize("stage", ["download", "align", "clean", "data_gate", "split", "data_report"])
def test_only_detect_waits_for_torch(stage: str) -> None:
    check = f"import sys, {stage}; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=PIPELINE, check=False).returncode == 0
