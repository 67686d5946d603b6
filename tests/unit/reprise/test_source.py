"""What a source stage's container sees of the world."""

import json
import os
import time
from pathlib import Path

import pytest

from reprise.settings import Settings
from reprise.stage import source
from reprise.stage.source import Source, by_hand


def test_a_bucket_comes_with_its_connection_in_a_file(tmp_path: Path) -> None:
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"s3": {"key": "k", "secret": "hidden"}, "gs": {"token": "of no concern"}}))
    settings = Settings(var=tmp_path / "var", connection=str(named))
    source = Source.prepare(settings, "s3://bucket/photos/list.csv", "md5", tmp_path / "task")
    assert source.environment["INBOX"] == "s3://bucket/photos"
    assert "hidden" not in json.dumps([source.environment, source.mounts])
    [mounted] = [mount for mount in source.mounts if mount["Target"] == source.environment["FSSPEC_CONFIG_DIR"]]
    assert mounted["ReadOnly"]
    [file] = Path(mounted["Source"]).iterdir()
    assert json.loads(file.read_text()) == {"s3": {"key": "k", "secret": "hidden"}}


def test_scratch_is_the_same_for_the_same_listing_until_it_is_done_or_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(var=tmp_path / "var")

    def scratch(listing: str) -> Path:
        return Source.prepare(settings, str(tmp_path), listing, tmp_path / "task").scratch

    assert scratch("one") == scratch("one") != scratch("two")
    (scratch("one") / "kept").touch()
    assert (scratch("one") / "kept").exists()
    os.utime(scratch("one"), (2**33, 2**33))  # as a container can
    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr(source.time, "time", lambda: tomorrow)
    assert not (scratch("one") / "kept").exists()
    Source.prepare(settings, str(tmp_path), "one", tmp_path / "task").done()
    assert not (tmp_path / "var/scratch" / scratch("one").name / "kept").exists()


def test_by_hand_a_folder_needs_no_network_and_a_list_does(tmp_path: Path) -> None:
    settings = Settings(var=tmp_path / "var")
    options = by_hand(settings, str(tmp_path), tmp_path / "task")
    assert options[:2] == ["--network", "none"]
    assert f"-v{tmp_path}:/inbox:ro" in options and "-eINBOX=/inbox" in options
    assert by_hand(settings, str(tmp_path / "list.csv"), tmp_path / "task")[:2] == ["--network", "bridge"]
