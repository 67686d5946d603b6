"""Taking files out of the inbox, alone and as the download stage does."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from web import web

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(PIPELINE))

from facelib import inbox, partitions


def entry(path: str, data: bytes) -> dict[str, str | int]:
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


@pytest.mark.parametrize(
    ("path", "partition", "identity"),
    [
        ("2026-11-01/Ann/x.jpg", "2026-11-01", "Ann"),
        ("2026-11-01/x.jpg", "2026-11-01", None),
        ("2026-11-01/team/Ann/x.jpg", "2026-11-01", "Ann"),
        ("Ann/x.jpg", "undated", "Ann"),
        ("x.jpg", "undated", None),
    ],
)
def test_identity_is_the_folder_that_holds_the_file(path: str, partition: str, identity: str | None) -> None:
    assert inbox.identity(inbox.Entry(path), partition) == identity


def test_a_list_knows_better_than_folders() -> None:
    assert inbox.identity(inbox.Entry("2026-11-01/Ann/x.jpg", identity="Bob"), "2026-11-01") == "Bob"
    assert inbox.identity(inbox.Entry("http://host/Ann/x.jpg", url="http://host/Ann/x.jpg"), "undated") is None


def test_a_name_is_one_person_however_its_letters_are_composed() -> None:
    apart, whole = (unicodedata.normalize(form, "Zoë") for form in ("NFD", "NFC"))
    assert apart != whole
    for entry in (inbox.Entry(f"{apart}/x.jpg"), inbox.Entry("x.jpg", identity=apart)):
        assert inbox.identity(entry, "undated") == whole


@pytest.mark.parametrize("path", ["../x.jpg", "/etc/passwd", "a/../../x.jpg"])
def test_a_listing_cannot_lead_out_of_the_inbox(path: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(json.dumps({"partitions": {"undated": [entry(path, b"x")]}}))
    with pytest.raises(SystemExit, match="leads out of the inbox"):
        inbox.listing(tmp_path / "source.json")


def test_a_damaged_listing_is_one_line(tmp_path: Path) -> None:
    for text in ("", "{}", '{"partitions": {"a": [{"size": 1}]}}', '{"partitions": []}'):
        (tmp_path / "source.json").write_text(text)
        with pytest.raises(SystemExit, match="is no source listing"):
            inbox.listing(tmp_path / "source.json")


def test_take_tells_why_a_file_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "folder").mkdir()
    (tmp_path / "grown").write_bytes(b"good and more")
    (tmp_path / "edited").write_bytes(b"evil")
    folder = inbox.Folder(tmp_path)

    def reason(path: str, data: bytes = b"good", most: int = 100) -> str:
        with pytest.raises(inbox.Missing) as missing:
            inbox.take(folder, inbox.Entry(**entry(path, data)), most)  # type: ignore[arg-type]
        return missing.value.reason

    good = entry("good", b"good")
    assert inbox.take(folder, inbox.Entry(**good), 4) == (b"good", good["sha256"])  # type: ignore[arg-type]
    with pytest.raises(inbox.Missing, match="did not have it"):
        inbox.take(folder, inbox.Entry("good"), 4)
    assert reason("gone") == "vanished"
    assert reason("good/below") == "vanished"
    assert reason("folder") == "unreadable"
    assert reason("grown") == reason("edited") == "changed"
    assert reason("good", b"") == "empty"
    assert reason("good", most=3) == "too_large"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The download stage's declared files beside an inbox of three photographs."""
    for name in ("download.py", "params/__init__.py", "params/download.py", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PIPELINE / name, tmp_path / name)
    for name in ("partitions", "progress", "inbox", "addresses", "fetch"):
        (tmp_path / "facelib").mkdir(exist_ok=True)
        shutil.copy(PIPELINE / "facelib" / f"{name}.py", tmp_path / "facelib")
    entries = {}
    for path in ("2026-11-01/Ann/1.jpg", "2026-11-01/loose.jpg", "2026-11-08/Bob/1.jpg"):
        file = tmp_path / "inbox" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode() * 3)
        entries.setdefault(path[:10], []).append(entry(path, path.encode() * 3))
    (tmp_path / "source.json").write_text(json.dumps({"partitions": entries}))
    return tmp_path


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "INBOX"} | environment
    return subprocess.run(
        [sys.executable, "download.py"],
        check=False,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
    )


def test_download_takes_the_bytes_and_lists_what_it_could_not(stage: Path) -> None:
    (stage / "inbox/2026-11-08/Bob/1.jpg").unlink()
    done = run(stage, INBOX=str(stage / "inbox"))
    assert done.returncode == 0, done.stderr
    taken = list(partitions.read(stage / "data/photos/2026-11-01.parquet"))
    assert [(row["path"], row["identity"]) for row in taken] == [
        ("2026-11-01/Ann/1.jpg", "Ann"),
        ("2026-11-01/loose.jpg", None),
    ]
    assert taken[0]["image"] == b"2026-11-01/Ann/1.jpg" * 3
    assert list(partitions.read(stage / "data/photos/2026-11-08.parquet")) == []
    rejects = list(partitions.read(stage / "data/rejects/download/2026-11-08.parquet"))
    assert [(row["path"], row["reason"]) for row in rejects] == [("2026-11-08/Bob/1.jpg", "vanished")]
    assert "3 files" in done.stdout and "1 rejected" in done.stdout


def test_download_without_inbox_or_with_the_wrong_one_fails_with_a_reason(stage: Path) -> None:
    (stage / "other").mkdir()
    for environment, words in (
        ({}, "INBOX is not set"),
        ({"INBOX": str(stage / "none")}, "is not a folder"),
        ({"INBOX": str(stage / "other")}, "3 of 3 listed files were rejected (3 vanished)"),
    ):
        done = run(stage, **environment)
        assert done.returncode == 1
        assert words in done.stderr and "Traceback" not in done.stderr


def test_a_list_is_fetched_from_the_web_and_what_fails_is_listed(stage: Path) -> None:
    files = {"a": b"a", "busy/b": b"b", "broken/c": b"c" * 50, "large": b"x" * 2000, "other": b"no"}
    with web(files) as there:
        urls = [f"{there.url}/{name}" for name in (*files, "gone", "a")]
        entries = [{"path": url, "url": url, "identity": "Ann"} for url in urls]
        entries[4]["sha256"] = "0" * 64
        entries[-1]["identity"] = "Bob"
        (stage / "source.json").write_text(json.dumps({"partitions": {"2026-11-01": entries}}))
        limits = "max_bytes: 1000, backoff: 0.01, retries: 2, rate: 1000, allow_private: true"
        (stage / "params.yaml").write_text(f"download: {{{limits}, max_reject_share: 0.7}}\n")
        (stage / "scratch").mkdir()
        stopped = run(stage, SCRATCH=str(stage / "scratch"))
        assert stopped.returncode == 1
        assert (
            "5 of 7 listed files were rejected (1 changed, 2 named_twice, 1 not_found, 1 too_large)" in stopped.stderr
        )
        (stage / "params.yaml").write_text(f"download: {{{limits}, max_reject_share: 0.8}}\n")
        done = run(stage, SCRATCH=str(stage / "scratch"))
        assert done.returncode == 0, done.stderr
        fetched = {"busy/b": 3, "broken/c": 2, "large": 2, "other": 2, "gone": 2}
        assert there.asked == fetched, "what was fetched before the break is not fetched again"
    taken = {row["path"]: row["image"] for row in partitions.read(stage / "data/photos/2026-11-01.parquet")}
    assert taken == {f"{there.url}/busy/b": b"b", f"{there.url}/broken/c": b"c" * 50}
    rejects = partitions.read(stage / "data/rejects/download/2026-11-01.parquet")
    assert [(row["path"].removeprefix(there.url), row["identity"], row["reason"]) for row in rejects] == [
        ("/a", "Ann", "named_twice"),
        ("/a", "Bob", "named_twice"),
        ("/gone", "Ann", "not_found"),
        ("/large", "Ann", "too_large"),
        ("/other", "Ann", "changed"),
    ]
