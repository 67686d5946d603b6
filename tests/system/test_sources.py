"""An inbox in an object store: a real S3 API, which the stage's container reaches over Docker's bridge."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from conftest import WORDS, Run, Stack, docker
from moto.server import ThreadedMotoServer

from reprise import git

SECRET = "a-secret-that-is-nowhere-else"


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Iterator[Any]:
    """A bucket with a text of each of two dates; the stack's connection leads to it."""
    bridge = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]
    address = bridge.get("Gateway") or bridge["Subnet"].rsplit(".", 1)[0] + ".1"
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    endpoint = f"http://{address}:{server.get_host_and_port()[1]}"
    connection = stack.root / "var/connection.json"
    connection.write_text(json.dumps({"s3": {"endpoint_url": endpoint, "key": "AKIATEST", "secret": SECRET}}))
    s3 = boto3.resource(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    made = s3.create_bucket(Bucket="arrivals")
    made.put_object(Key="texts/2026-11-01/a/text.txt", Body=b"The hen, the egg.")
    made.put_object(Key="texts/2026-11-08/b/text.txt", Body=b"A hen!")
    yield made
    connection.unlink()
    server.stop()


@pytest.fixture(scope="module")
def run(stack: Stack, bucket: Any) -> Run:
    """A run on the bucket."""
    return stack.run(inbox="s3://arrivals/texts")


def test_a_run_on_a_bucket_gives_what_the_same_files_in_a_folder_give(stack: Stack, run: Run) -> None:
    assert run.verdicts["take"] == "ran"
    assert run.record["metrics"] == {"texts": 2.0, "words": 6.0}
    listing = json.loads(git.git(stack.root, "show", f"{run.record['commit']}:{WORDS}/source.json"))
    assert [sorted(entry) for entry in listing["partitions"]["2026-11-01"]] == [["etag", "path", "size"]]


def test_the_credentials_are_nowhere_but_in_the_connection(stack: Stack, run: Run) -> None:
    """Neither in logs nor in Airflow's or MLflow's database, the record or a workspace left behind."""
    found = subprocess.run(
        ["grep", "-rlF", SECRET, "var", ".git", WORDS], cwd=stack.root, capture_output=True, text=True
    )
    assert found.stdout.split() == ["var/connection.json"]


def test_a_past_that_changed_is_told_and_taken_as_it_is_now(stack: Stack, bucket: Any, run: Run) -> None:
    bucket.put_object(Key="texts/2026-11-01/a/text.txt", Body=b"The hen, the fox.")
    again = stack.run(inbox="s3://arrivals/texts")
    assert again.verdicts["take"] == "ran"
    about = json.loads(git.git(stack.root, "show", f"{again.record['commit']}:{WORDS}/run.json"))
    assert about["relisted"] == {"2026-11-01": {"changed": {"count": 1, "paths": ["2026-11-01/a/text.txt"]}}}
    log = "\n".join(stack.airflow.log("words", again.run_id, "open", 1))
    assert "warning: 2026-11-01 is not what an earlier run took: 1 changed (2026-11-01/a/text.txt)" in log


def test_a_loopback_address_is_refused_before_anything_starts(stack: Stack, bucket: Any) -> None:
    connection = stack.root / "var/connection.json"
    before = connection.read_text()
    connection.write_text(json.dumps({"s3": {"endpoint_url": "http://localhost:9000"}}))
    try:
        done = stack.cli("run", "--pipeline", WORDS, "--inbox", "s3://arrivals/texts", check=False)
    finally:
        connection.write_text(before)
    assert done.returncode == 1 and "runs in a container, which does not reach that" in " ".join(done.stdout.split())
