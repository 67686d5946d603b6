"""Inboxes on object stores: a real S3 API over HTTP, and fsspec's memory."""

import json
import stat
import subprocess
import sys
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from reprise.errors import BadInput
from reprise.settings import Settings
from reprise.sources import connection
from reprise.sources.inbox import list_inbox
from reprise.sources.stores import absolute, open_store

PIPELINE = Path(__file__).resolve().parents[3] / "pipelines" / "faces"
sys.path.insert(0, str(PIPELINE))

KEYS = {"key": "AKIATEST", "secret": "very-secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server of this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> Any:
    """A bucket with photographs of two dates, a hidden object and a note beside the dates."""
    resource = boto3.resource(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEYS["key"],
        aws_secret_access_key=KEYS["secret"],
        region_name="us-east-1",
    )
    bucket = resource.create_bucket(Bucket=f"b{uuid.uuid4().hex}")
    for path in ("2026-11-08/Bo/2.jpg", "2026-11-01/Al/1.jpg", "2026-11-08/.x/y.jpg", "notes.txt"):
        bucket.put_object(Key=f"in/{path}", Body=path.encode())
    return bucket


def options(endpoint: str) -> dict[str, Any]:
    return {"endpoint_url": endpoint, **KEYS}


def test_an_object_store_is_listed_by_etag_and_not_read(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    url = f"s3://{bucket.name}/in/"
    found = list_inbox(url, None, tmp_path, options=options(endpoint))["partitions"]
    assert {date: [entry["path"] for entry in entries] for date, entries in found.items()} == {
        "2026-11-01": ["2026-11-01/Al/1.jpg"],
        "2026-11-08": ["2026-11-08/Bo/2.jpg"],
    }
    [entry] = found["2026-11-01"]
    assert entry == {
        "path": "2026-11-01/Al/1.jpg",
        "size": 19,
        "etag": bucket.Object("in/2026-11-01/Al/1.jpg").e_tag.strip('"'),
    }
    bucket.put_object(Key="in/2026-11-01/Al/1.jpg", Body=b"other bytes, as many")
    again = list_inbox(url, None, tmp_path, options=options(endpoint))["partitions"]
    assert again["2026-11-01"] != found["2026-11-01"] and again["2026-11-08"] == found["2026-11-08"]


def test_a_stage_takes_what_was_listed_or_says_why_not(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    from facelib import inbox

    url = f"s3://{bucket.name}/in"
    listing = list_inbox(url, None, tmp_path / "hashes", options=options(endpoint))["partitions"]
    entry = inbox.Entry(**listing["2026-11-01"][0])
    there = inbox.Prefix(*fsspec.url_to_fs(url, **options(endpoint), use_listings_cache=False))
    assert inbox.take(there, entry, 100)[0] == b"2026-11-01/Al/1.jpg"

    def reason() -> str:
        with pytest.raises(inbox.Missing) as missing:
            inbox.take(there, entry, 100)
        return missing.value.reason

    bucket.put_object(Key="in/2026-11-01/Al/1.jpg", Body=b"x" * 19)
    assert reason() == "changed"
    bucket.put_object(Key="in/2026-11-01/Al/1.jpg", Body=b"2026-11-01/Al/1.jpg and more")
    assert reason() == "changed"
    bucket.put_object(Key="in/2026-11-01/Al/1.jpg", Body=b"")
    assert reason() == "changed"
    bucket.Object("in/2026-11-01/Al/1.jpg").delete()
    assert reason() == "vanished"


def test_objects_put_in_parts_are_known_by_their_etag(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    from facelib import inbox

    fs, root = fsspec.url_to_fs(f"s3://{bucket.name}/parts", **options(endpoint), use_listings_cache=False)
    data = b"x" * (6 << 20)
    with fs.open(f"{root}/a.jpg", "wb", block_size=5 << 20) as file:
        file.write(data)
    [found] = list_inbox(f"s3://{bucket.name}/parts", None, tmp_path, options=options(endpoint))["partitions"][
        "undated"
    ]
    assert "-" in found["etag"]
    assert inbox.take(inbox.Prefix(fs, root), inbox.Entry(**found), 10 << 20)[0] == data


def test_accents_of_a_list_are_found_however_they_are_composed(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    nfc, nfd = (unicodedata.normalize(form, "Zoë/1.jpg") for form in ("NFC", "NFD"))
    memory.pipe({f"/accents/{nfd}": b"nfd", "/accents/list.csv": f"path\n{nfc}\n".encode()})
    place = "memory://accents/list.csv"
    assert [e["path"] for e in list_inbox(place, None, tmp_path)["partitions"]["undated"]] == [nfd]
    memory.pipe({f"/accents/{nfc}": b"nfc!"})
    assert [e["size"] for e in list_inbox(place, None, tmp_path)["partitions"]["undated"]] == [4]


def test_download_of_a_list_in_a_bucket_by_the_connection_file(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    """The stage as its container runs it: all it knows of the store is FSSPEC_CONFIG_DIR."""
    from facelib import partitions

    text = "path,identity\n2026-11-01/Al/1.jpg,Al\n2026-11-08/Bo/2.jpg,Bo\nnone.jpg,Bo\nnotes.txt,A\nnotes.txt,B\n"
    bucket.put_object(Key="in/list.csv", Body=text.encode())
    listing = list_inbox(f"s3://{bucket.name}/in/list.csv", None, tmp_path / "hashes", options=options(endpoint))
    (tmp_path / "source.json").write_text(json.dumps(listing))
    (tmp_path / "params.yaml").write_text("download: {max_reject_share: 0.7}\n")
    connection.write("s3://x", options(endpoint), tmp_path / "connection")
    written = tmp_path / "connection/connection.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    env = {
        "PYTHONPATH": str(PIPELINE),
        "INBOX": f"s3://{bucket.name}/in",
        "FSSPEC_CONFIG_DIR": str(written.parent),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, str(PIPELINE / "download.py")], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    taken = list(partitions.read(tmp_path / "data/photos/undated.parquet"))
    assert [(row["path"], row["identity"], row["image"].decode()) for row in taken] == [
        ("2026-11-01/Al/1.jpg", "Al", "2026-11-01/Al/1.jpg"),
        ("2026-11-08/Bo/2.jpg", "Bo", "2026-11-08/Bo/2.jpg"),
    ]
    rejects = list(partitions.read(tmp_path / "data/rejects/download/undated.parquet"))
    assert [(row["path"], row["identity"], row["reason"]) for row in rejects] == [
        ("none.jpg", "Bo", "vanished"),
        ("notes.txt", "A", "named_twice"),
        ("notes.txt", "B", "named_twice"),
    ]


def test_what_a_store_refuses_is_said_in_our_words(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="s3://nobody/none does not exist"):
        list_inbox("s3://nobody/none", None, tmp_path, options=options(endpoint))
    with pytest.raises(BadInput, match="cannot be opened"):
        open_store("nope://x")


def test_a_store_without_etags_is_read(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/inbox-1/Al/1.jpg": b"one", "/inbox-1/2.jpg": b"two"})
    found = list_inbox("memory://inbox-1", None, tmp_path)["partitions"]["undated"]
    assert [(entry["path"], len(entry["sha256"])) for entry in found] == [("2.jpg", 64), ("Al/1.jpg", 64)]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("file:///a/b/", "/a/b"), ("/a/b/", "/a/b"), ("s3://b/p/", "s3://b/p"), ("s3://b", "s3://b")],
)
def test_places(given: str, meant: str) -> None:
    assert absolute(given) == meant


def test_a_place_is_named_without_its_way_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/here").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/here")
    monkeypatch.chdir(tmp_path / "link")
    assert absolute("../x") == str(tmp_path / "real/x")
    assert absolute(f"{tmp_path}/link") == f"{tmp_path}/link"  # as it was given, where that is a place


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(BadInput, match="README.md is a file and no list, which would end in .csv or .parquet"):
        list_inbox(str(tmp_path / "README.md"), None, tmp_path / "hashes")


def test_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    assert connection.options(Settings(), "/local") == {}
    assert connection.options(Settings(), "s3://b/p") == {
        "key": "key",
        "secret": "secret",
        "endpoint_url": "http://store:9000",
    }
    named = tmp_path / "minio.json"
    settings = Settings(connection=str(named))
    for content, words in (
        (None, "cannot be read"),
        ("[", "no JSON"),
        ("{}", "says nothing of s3"),
        ('{"s3": 1}', "no JSON"),
    ):
        if content is not None:
            named.write_text(content)
        with pytest.raises(BadInput, match=words):
            connection.options(settings, "s3://b")
    named.write_text(json.dumps({"s3": {"endpoint_url": "http://172.17.0.1:9000"}}))
    assert connection.options(settings, "s3://b") == {"endpoint_url": "http://172.17.0.1:9000"}
    connection.refuse_loopback(settings, "s3://b")
    connection.refuse_loopback_urls(["https://example.org/a.jpg"])
    with pytest.raises(BadInput, match=r"a file of the list is at http://127.0.0.1:8000/a.jpg: .* does not reach"):
        connection.refuse_loopback_urls(["http://172.17.0.1/a.jpg", "http://127.0.0.1:8000/a.jpg"])
    named.write_text(json.dumps({"s3": {"endpoint_url": "http://localhost:9000"}}))
    with pytest.raises(BadInput, match="does not reach"):
        connection.refuse_loopback(settings, "s3://b")
