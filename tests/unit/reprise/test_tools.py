"""make gallery and make datadiff, on two records that real git and DVC keep; the pictures come from the remote."""

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from repository import commit

from facelib import differences, partitions
from reprise import git, workspace
from reprise.commands import tools
from reprise.errors import BadInput
from reprise.run.records import REFS
from reprise.settings import Settings
from reprise.workspace import Workspace

FACES = "pipelines/faces"
OUTS = ["data/photos", "data/rejects/download", "data/rejects/detect", "data/rejects/align", "data/clean.parquet"]


@dataclass(frozen=True)
class Shot:
    """A photograph of a tiny inbox and what becomes of it."""

    path: str
    identity: str
    content: int
    verdict: str = ""

    @property
    def image(self) -> bytes:
        data = io.BytesIO()
        Image.new("RGB", (40, 30), (self.content, 80, 160)).save(data, "JPEG")
        return data.getvalue()


BEFORE = {
    "2026-11-01": [
        Shot("2026-11-01/Ann/1.jpg", "Ann", 1),
        Shot("2026-11-01/Ann/2.jpg", "Ann", 2),
        Shot("2026-11-01/Bob/1.jpg", "Bob", 3),
        Shot("2026-11-01/Bob/2.jpg", "Bob", 4, "detect: no_face"),
        Shot("2026-11-01/Gone/1.jpg", "Gone", 5),
    ],
    "2026-11-08": [Shot("2026-11-08/Ann/3.jpg", "Ann", 6)],
}
AFTER = {
    "2026-11-01": [
        Shot("2026-11-01/Ann/1.jpg", "Ann", 1, "clean: blurry"),
        Shot("2026-11-01/Cid/2.jpg", "Cid", 2),  # was Ann's
        Shot("2026-11-01/Bob/1.jpg", "Bob", 33),  # other bytes
        Shot("2026-11-01/Bob/2.jpg", "Bob", 4),
    ],
    "2026-11-08": [Shot("2026-11-08/Ann/3.jpg", "Ann", 6)],
    "2026-11-15": [Shot("2026-11-15/Dan/1.jpg", "Dan", 7), Shot("2026-11-15/Dan/2.jpg", "Dan", 8, "download: empty")],
}
Days = Mapping[str, Sequence[Shot]]


def write(folder: Path, days: Days) -> None:
    """What the data stages leave of these photographs."""
    listing = {
        day: [{"path": shot.path, "sha256": f"{shot.content:064}", "size": 1} for shot in shots]
        for day, shots in days.items()
    }
    folder.mkdir(exist_ok=True)
    (folder / "source.json").write_text(json.dumps({"partitions": listing}))
    clean = []
    for day, shots in days.items():
        rejected = {name: [s for s in shots if s.verdict.startswith(f"{name}: ")] for name in ("download", "detect")}
        photos = [s for s in shots if s not in rejected["download"]]
        pictures = [vars(s) | {"image": s.image} for s in photos]
        _table(folder / f"data/photos/{day}.parquet", pictures, {"image": pa.binary()})
        for stage in partitions.STAGES_THAT_REJECT:
            rows = [vars(s) | {"reason": s.verdict.split(": ")[1], "detail": "why"} for s in rejected.get(stage, [])]
            _table(folder / f"data/rejects/{stage}/{day}.parquet", rows, {"reason": pa.string(), "detail": pa.string()})
        for shot in (s for s in photos if s not in rejected["detect"]):
            reason = shot.verdict.removeprefix("clean: ")
            number = 0.1 if reason else None
            decision = {"keep": not reason, "reason": reason, "measured": number, "threshold": number}
            clean.append(vars(shot) | {"partition": day} | decision)
    of_clean = {"partition": pa.string(), "keep": pa.bool_(), "reason": pa.string()}
    _table(folder / "data/clean.parquet", clean, of_clean | {"measured": pa.float32(), "threshold": pa.float32()})


def _table(path: Path, rows: list[dict], more: dict[str, pa.DataType]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"path": pa.string(), "identity": pa.string()} | more
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(columns.items()))), path)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An origin with two records, `one` and `two`; their data are in the remote and in no cache."""
    folder = tmp_path_factory.mktemp("tools")
    origin = folder / "origin"
    (origin / FACES).mkdir(parents=True)
    stage = {"cmd": "true", "outs": OUTS}
    (origin / FACES / "dvc.yaml").write_text(json.dumps({"stages": {"make": stage}}))
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {folder}/remote\n")
    commit(origin, "one")
    settings = Settings(origin=str(origin), var=folder / "var")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "ROOT", origin)
        for run, days in (("one", BEFORE), ("two", AFTER)):
            _record(settings, run, days)
        shutil.rmtree(origin / ".dvc/cache")
        yield settings


def _record(settings: Settings, run: str, days: Days) -> None:
    origin = Path(settings.origin)
    head = git.resolve(origin, "HEAD")
    work = Workspace.create(settings, settings.work / run, FACES, head)
    write(work.folder, days)
    entry = work.commit("make")
    work.push("make", entry)
    work.write_lock({"make": entry})
    files = {name: (work.folder / name).read_bytes() for name in ("dvc.lock", "source.json")}
    files["run.json"] = json.dumps({"run_id": run}).encode()
    commit = git.commit_files(origin, head, {f"{FACES}/{name}": text for name, text in files.items()}, run)
    git.git(origin, "update-ref", f"{REFS}/{head[:2]}/{head[2:]}/faces-{run}", commit)
    work.remove()


def test_two_records_are_told_apart(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    page = tools.datadiff(settings, ["one", "two"])
    printed = capfd.readouterr().out
    header, *rows = [line.split("  ") for line in printed.splitlines() if not line.startswith(("people", "datadiff"))]
    last = dict(zip(filter(None, map(str.strip, header)), filter(None, map(str.strip, rows[-1])), strict=True))
    assert last == {
        "partition": "all",
        "before": "6",
        "after": "7",
        "added": "2",
        "removed": "1",
        "changed": "1",
        "re-labelled": "1",
        "newly rejected": "1",
        "no longer rejected": "1",
    }
    assert "people added: 2: Cid, Dan\npeople removed: 1: Gone\n" in printed
    text = page.read_text()
    assert "2026-11-01/Cid/2.jpg; Ann → Cid" in text
    assert "2026-11-01/Ann/1.jpg; kept → clean: blurry; 0.1 (limit 0.1)" in text
    assert text.count('<img src="data:image/jpeg') == 6 and text.count("no picture") == 1  # download did not take it
    assert not (settings.work / "tools").exists()


def test_a_record_and_itself_have_no_differences(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert "No photograph is different" in tools.datadiff(settings, ["one", "faces-one"]).read_text()
    assert "people added: 0\n" in capfd.readouterr().out


def test_a_gallery_of_a_runs_output_brings_its_pictures(settings: Settings) -> None:
    page = tools.gallery(settings, FACES, "data/rejects/detect", "one").read_text()
    assert page.count('<img src="data:image/jpeg') == 1 and "no_face (1)" in page
    assert "<h1>Faces: data/rejects/detect of faces-one</h1>" in page
    latest = tools.gallery(settings, FACES, "data/photos/2026-11-15.parquet", None).read_text()
    assert latest.count('<img src="data:image/jpeg') == 1 and "Dan (1)" in latest


def test_a_gallery_of_what_lies_on_the_disk(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "mine", BEFORE)
    page = tools.gallery(settings, FACES, str(tmp_path / "mine/data/photos"), None).read_text()
    assert page.count('<img src="data:image/jpeg') == 6
    shutil.rmtree(tmp_path / "mine/data/photos")
    with pytest.raises(BadInput, match=r"gallery.py needs .*photos/2026-11-01.parquet"):
        tools.gallery(settings, FACES, str(tmp_path / "mine/data/rejects/detect"), None)


def test_what_cannot_be_shown_is_named(settings: Settings) -> None:
    with pytest.raises(BadInput, match="neither on the disk nor an output of a run; faces-two has data/clean.parquet"):
        tools.gallery(settings, FACES, "data/nothing", None)
    with pytest.raises(
        BadInput,
        match=r"DATA= names no data to show\n  next: make gallery DATA=data/\w+/2026-11-15.parquet RUN=faces-two",
    ):
        tools.gallery(settings, FACES, "", None)
    there = "2026-11-01.parquet, 2026-11-08.parquet"
    with pytest.raises(
        BadInput, match=f"faces-one has no data/photos/2026-12-24.parquet; in data/photos there are {there}\n"
    ) as refused:
        tools.gallery(settings, FACES, "data/photos/2026-12-24.parquet", "one")
    assert refused.value.fix == "make gallery DATA=data/photos/2026-11-08.parquet RUN=faces-one"
    with pytest.raises(BadInput, match="no record of a run"):
        tools.datadiff(settings, ["one", "three"])
    with pytest.raises(BadInput, match="compares two runs, not 1"):
        tools.datadiff(settings, ["one"])


def test_copies_that_move_are_paired_once() -> None:
    def photo(path: str, content: str | None) -> differences.Photo:
        return differences.Photo("d", path, "Ann", content, "", "")

    before = {("d", p): photo(p, "same") for p in ("1", "2")} | {("d", "9"): photo("9", None)}
    after = {("d", p): photo(p, "same") for p in ("3", "4", "5")} | {("d", "8"): photo("8", None)}
    kinds = differences.compare(before, after)
    assert [(c.before.path, c.after.path) for c in kinds["moved"] if c.before and c.after] == [("1", "3"), ("2", "4")]
    assert [change.photo.path for change in kinds["added"]] == ["5", "8"]
    assert [change.photo.path for change in kinds["removed"]] == ["9"]
