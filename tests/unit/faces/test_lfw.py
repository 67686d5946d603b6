"""LFW's archive from a server that breaks off, lies or is not there, and the inbox that it becomes."""

import hashlib
import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from web import web

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(PIPELINE))

from lfw.archive import ARCHIVES, Archive, obtain
from lfw.layout import Settings, arrivals, fill

PEOPLE = {"Ann": 5, "Bob": 2, "Cid": 1}


@pytest.fixture(scope="module")
def content() -> bytes:
    """An archive as LFW's are: a folder, people, photographs, and text files beside them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        names = [f"lfw_funneled/{who}/{who}_{n + 1:04d}.jpg" for who, count in PEOPLE.items() for n in range(count)]
        for name in ["lfw_funneled/pairs_01_train.txt", *names, "../evil/Eve/1.jpg", "/lfw/Eve/1.jpg"]:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue()


@pytest.fixture
def archive(content: bytes) -> Archive:
    return replace(ARCHIVES["funneled"], digests={"sha256": hashlib.sha256(content).hexdigest()})


def test_after_a_break_it_goes_on_where_it_was(
    archive: Archive, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facelib.transfer._CHUNK", 10)  # what a read has begun is lost when it breaks off
    with web({"broken/lfw.tgz": content}) as there:
        file = obtain(archive, tmp_path, [f"{there.url}/broken/lfw.tgz"])
        assert file.read_bytes() == content
        assert there.sent == [len(content), len(content) - len(content) // 20 * 10]
        obtain(archive, tmp_path, [f"{there.url}/broken/lfw.tgz"])
        assert there.asked.total() == 2, "what is there is not fetched again"
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed/lfw-funneled.tgz.part").write_bytes(content[:100])
    with web({"lfw.tgz": content}) as there:
        assert obtain(archive, tmp_path / "killed", [f"{there.url}/lfw.tgz"]).read_bytes() == content
        assert there.sent == [len(content) - 100]


def test_what_does_not_belong_to_the_archive_is_not_gone_on_with(
    archive: Archive, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "lfw-funneled.tgz.part").write_bytes(b"<html>Welcome to the hotel</html>")
    with web({"lfw.tgz": content, "other.tgz": b"x" * len(content)}) as there:
        urls = [f"{there.url}/other.tgz", f"{there.url}/lfw.tgz"]
        assert obtain(archive, tmp_path, urls).read_bytes() == content
        assert there.asked == {"other.tgz": 2, "lfw.tgz": 1}, "another mirror is asked"


def test_another_mirror_is_asked_where_one_fails(archive: Archive, content: bytes, tmp_path: Path) -> None:
    with web({"lfw.tgz": content}) as there:
        obtain(archive, tmp_path, [f"{there.url}/gone.tgz", f"{there.url}/lfw.tgz"])
        assert there.asked == {"gone.tgz": 1, "lfw.tgz": 1}


def test_without_a_network_it_says_where_to_put_a_copy_and_takes_it(
    archive: Archive, content: bytes, tmp_path: Path
) -> None:
    with web({}) as there:
        away = there.url
    with pytest.raises(SystemExit) as end:
        obtain(archive, tmp_path, [f"{away}/lfw.tgz"])
    copy = tmp_path / "lfw-funneled.tgz"
    assert f"{away}/lfw.tgz: no connection" in str(end.value)
    assert f"put a copy of the archive (sha256 {archive.digests['sha256']}) at {copy}" in str(end.value)
    copy.write_bytes(content)
    assert obtain(archive, tmp_path, [f"{away}/lfw.tgz"]) == copy


def test_another_file_is_refused(archive: Archive, content: bytes, tmp_path: Path) -> None:
    with web({"lfw.tgz": content + b"x"}) as there, pytest.raises(SystemExit, match="gave another file"):
        obtain(archive, tmp_path, [f"{there.url}/lfw.tgz"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / archive.name).write_bytes(b"half of it")
    with pytest.raises(SystemExit, match="is not lfw-funneled.tgz"):
        obtain(archive, tmp_path, ["http://127.0.0.1:9/never-asked"])


def test_the_inbox_is_whole_and_people_join_over_time(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "lfw.tgz").write_bytes(content)
    settings = Settings("funneled", 3, 2, "2026-11-01")
    assert fill(tmp_path / "lfw.tgz", tmp_path / "inbox", settings) == (2, 7)
    paths = sorted(path.relative_to(tmp_path / "inbox").as_posix() for path in (tmp_path / "inbox").glob("2*/*/*"))
    assert {path.split("/")[1] for path in paths} == {"Ann", "Bob"}
    assert {path.split("/")[0] for path in paths} <= {"2026-11-01", "2026-11-08", "2026-11-15"}
    assert [path for path in tmp_path.rglob("*") if "Eve" in path.name or path.name.endswith(".part")] == []
    assert fill(tmp_path / "lfw.tgz", tmp_path / "inbox", settings) == (2, 7)
    with pytest.raises(SystemExit, match="was made with"):
        fill(tmp_path / "lfw.tgz", tmp_path / "inbox", replace(settings, dates=4))
    with pytest.raises(SystemExit, match=r"7 photographs arrive on \d dates, not 8; give fewer: make lfw DATES="):
        fill(tmp_path / "lfw.tgz", tmp_path / "other", replace(settings, dates=8))
    assert not (tmp_path / "other").exists()
    with pytest.raises(SystemExit, match="nobody with 9 photographs"):
        fill(tmp_path / "lfw.tgz", tmp_path / "other", replace(settings, min_photos=9))


def test_photographs_follow_evenly() -> None:
    assert {tuple(arrivals(f"person {n}", 4, 2)) for n in range(20)} == {(0, 0, 1, 1), (1, 1, 1, 1)}


def test_dates_that_are_yet_to_come_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(PIPELINE / "lfw"), "--archives", str(tmp_path), "--dates", "300"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "the last of 300 is yet to come" in done.stderr


def test_the_command(archive: Archive, tmp_path: Path) -> None:
    command = [sys.executable, str(PIPELINE / "lfw"), "--archives", str(tmp_path), "--url", "http://127.0.0.1:9/x"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "put a copy" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
