"""What a stage's container sees of the world: the inbox and the network are two things."""

import json
import os
import time
from pathlib import Path

import pytest

from reprise.errors import BadInput
from reprise.pipeline.stages import Meta, Pipeline, Stage
from reprise.settings import Settings
from reprise.stage import source as sources
from reprise.stage.source import Source, by_hand, scratch_of

HERE = {"partitions": {"undated": [{"path": "a.jpg", "size": 1, "sha256": "0"}]}}
WEB = {"partitions": {**HERE["partitions"], "2026-11-01": [{"path": "http://h/b", "url": "http://h/b"}]}}


def source_json(folder: Path, listing: object) -> Path:
    (folder / "source.json").write_text(json.dumps(listing))
    return folder / "source.json"


def pipeline(*networks: str | None) -> Pipeline:
    """A pipeline whose first stage reads the inbox."""
    stages = [Stage(f"s{n}", ("true",), meta=Meta(network=network)) for n, network in enumerate(networks)]
    return Pipeline("p", (Stage("take", ("true",), deps=("source.json",), meta=Meta(network="inbox")), *stages))


def test_a_bucket_comes_with_its_connection_in_a_file(tmp_path: Path) -> None:
    named = tmp_path / "named.json"
    named.write_text(json.dumps({"s3": {"key": "k", "secret": "hidden"}, "gs": {"token": "of no concern"}}))
    settings, place = Settings(var=tmp_path / "var", connection=str(named)), "s3://bucket/photos/list.csv"
    source = Source.prepare(settings, place, source_json(tmp_path, HERE), tmp_path / "task", tmp_path / "scratch")
    assert (source.environment["INBOX"], source.network) == ("s3://bucket/photos", "bridge")
    assert "hidden" not in json.dumps([source.environment, source.mounts])
    [mounted] = [mount for mount in source.mounts if mount["Target"] == source.environment["FSSPEC_CONFIG_DIR"]]
    assert mounted["ReadOnly"]
    [file] = Path(mounted["Source"]).iterdir()
    assert json.loads(file.read_text()) == {"s3": {"key": "k", "secret": "hidden"}}


@pytest.mark.parametrize(("listing", "network"), [(HERE, "none"), (WEB, "bridge")])
def test_a_folder_needs_a_network_only_for_urls(tmp_path: Path, listing: object, network: str) -> None:
    given = source_json(tmp_path, listing)
    source = Source.prepare(Settings(), str(tmp_path / "list.csv"), given, tmp_path, tmp_path / "scratch")
    assert source.network == network


def test_scratch_is_the_same_for_every_try_of_a_task_alone_until_it_is_done_or_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, listing = Settings(var=tmp_path / "var"), source_json(tmp_path, WEB)

    def prepare(task: str) -> Source:
        scratch = scratch_of(settings, tmp_path / task)
        return Source.prepare(settings, str(tmp_path), listing, tmp_path / task, scratch)

    one, two = prepare("run/one").scratch, prepare("another-run/one").scratch
    assert one == prepare("run/one").scratch and one != two, "another run asks the web again"
    (one / "kept").touch()
    assert (prepare("run/one").scratch / "kept").exists()
    prepare("another-run/one").done()
    assert one.exists() and not two.exists()
    os.utime(one, (2**33, 2**33))  # as a container can
    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr(sources.time, "time", lambda: tomorrow)
    assert not (prepare("run/one").scratch / "kept").exists()


def test_by_hand_a_container_gets_what_the_inbox_and_the_stages_need(tmp_path: Path) -> None:
    def options(listing: object, *networks: str | None) -> list[str]:
        given = source_json(tmp_path, listing)
        return by_hand(Settings(), pipeline(*networks), str(tmp_path), given, tmp_path / "world")

    assert options(HERE, None)[:2] == ["--network", "none"]
    assert f"-v{tmp_path}:/inbox:ro" in options(HERE) and "-eINBOX=/inbox" in options(HERE)
    assert f"-v{tmp_path}/world/scratch:/scratch" in options(HERE), "nothing stays from one time to the next"
    assert (
        options(WEB, None)[:2] == options(HERE, "bridge")[:2] == options(WEB, "bridge")[:2] == ["--network", "bridge"]
    )
    with pytest.raises(BadInput, match="the networks bridge and host, and one container has one"):
        options(WEB, "host")
    alone = Pipeline("p", (Stage("s", ("true",), meta=Meta(network="host")),))
    assert by_hand(Settings(), alone, "s3://nowhere", tmp_path / "none", tmp_path) == ["--network", "host"]
