"""A large file from a server that breaks off, is busy, has no end or is not there."""

import sys
from pathlib import Path

import pytest
import requests
from web import web

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import transfer

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_CHUNK", 100)  # what a read has begun is lost when it breaks off


def test_it_goes_on_after_a_break_and_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    for how, asked in (("broken", 2), ("busy", 3)):
        with web({f"{how}/file": CONTENT}) as there:
            transfer.fetch(f"{there.url}/{how}/file", tmp_path / how, "test", len(CONTENT))
            assert (tmp_path / how).read_bytes() == CONTENT
            assert there.asked.total() == asked
            assert there.sent[-1] < len(CONTENT) or how == "busy"


def test_it_goes_on_where_no_length_was_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:100])
    with web({"endless/file": CONTENT}) as there:
        transfer.fetch(f"{there.url}/endless/file", tmp_path / "file", "test", len(CONTENT))
        assert (tmp_path / "file").read_bytes() == CONTENT and there.sent == [len(CONTENT) - 100]


@pytest.mark.parametrize("how", ["replaced", "tagged"])  # it shows by its length, or by its ETag
def test_two_files_are_not_joined_into_one(tmp_path: Path, how: str) -> None:
    """The server has another file after the break than before."""
    with web({f"{how}/file": CONTENT}) as there:
        transfer.fetch(f"{there.url}/{how}/file", tmp_path / "file", "test", 2 * len(CONTENT))
        assert (tmp_path / "file").read_bytes() == CONTENT
        assert there.asked.total() <= 3


def test_what_is_longer_than_the_file_is_not_a_beginning_of_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"?" * (len(CONTENT) + 1))
    with web({"file": CONTENT}) as there:
        transfer.fetch(f"{there.url}/file", tmp_path / "file", "test", len(CONTENT))
        assert (tmp_path / "file").read_bytes() == CONTENT
        transfer.fetch(f"{there.url}/file", tmp_path / "file", "test", len(CONTENT))  # it is whole
        assert (tmp_path / "file").read_bytes() == CONTENT
        assert there.sent == [len(CONTENT)]


def test_how_far_it_is_stands_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transfer, "_LINE_SECONDS", -1)
    with web({"file": bytes(2_000_000)}) as there:
        monkeypatch.setattr(transfer, "_CHUNK", 1_000_000)
        transfer.fetch(f"{there.url}/file", tmp_path / "file", "test", 2_000_000)
    assert capsys.readouterr().out == "test: 1 of 2 MB\ntest: 2 of 2 MB\n"


@pytest.mark.parametrize("how", ["whole", "endless"])  # with a length told beforehand, and without
def test_more_than_is_allowed_is_refused_and_not_kept(tmp_path: Path, how: str) -> None:
    with web({f"{how}/file": CONTENT}) as there, pytest.raises(transfer.TooLarge, match="allowed 5,000 bytes"):
        transfer.fetch(f"{there.url}/{how}/file", tmp_path / "file", "test", 5_000)
    assert not (tmp_path / "file").exists()


def test_why_it_failed(tmp_path: Path) -> None:
    with web({}) as there:
        with pytest.raises(requests.RequestException) as gone:
            transfer.fetch(f"{there.url}/file", tmp_path / "file", "test", 1)
        assert there.asked.total() == 1  # it will not be there the next time either
        away = there.url
    assert transfer.short(gone.value) == "HTTP 404"
    with pytest.raises(requests.RequestException) as nobody:
        transfer.fetch(f"{away}/file", tmp_path / "file", "test", 1)
    assert transfer.short(nobody.value) == "no connection"
