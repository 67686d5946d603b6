"""An inbox in an object store, and one on the web: real servers, which the stage's container reaches over Docker's bridge."""

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
import requests
from conftest import ROOT, WORDS, Run, Stack, docker, until
from moto.server import ThreadedMotoServer
from web import web

from reprise import git

SECRET = "a-secret-that-is-nowhere-else"


def _bridge() -> str:
    """This machine's address as containers reach it."""
    bridge = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]
    return str(bridge.get("Gateway") or bridge["Subnet"].rsplit(".", 1)[0] + ".1")


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Iterator[Any]:
    """A bucket with a text of each of two dates; the stack's connection leads to it."""
    address = _bridge()
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


@pytest.mark.parametrize(("inbox", "network"), [("texts", "none"), ("s3://arrivals/texts", "bridge")])
def test_a_container_has_a_network_only_if_its_inbox_needs_one(
    stack: Stack, bucket: Any, inbox: str, network: str
) -> None:
    """Of the words' stages ``take`` alone reads the inbox."""
    watch = ["docker", "events", "--since", str(int(time.time())), "--format", "{{json .}}"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        done = stack.run("--ignore-cache", inbox=inbox)
        watching.terminate()
        events = [json.loads(line) for line in watching.communicate()[0].splitlines()]
    made = {
        e["Actor"]["ID"]: e["Actor"]["Attributes"]
        for e in events
        if (e["Type"], e["Action"]) == ("container", "create")
    }
    joined = [e["Actor"]["Attributes"] for e in events if (e["Type"], e["Action"]) == ("network", "connect")]
    ours = [(made.get(j["container"], {}), j["name"]) for j in joined]
    found = {about["reprise.task"]: name for about, name in ours if about.get("reprise.run") == done.run_id}
    assert found == {"take": network, "count": "none", "rank": "none"}


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


FACES = "pipelines/faces"


@pytest.fixture(scope="module")
def stopped(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A run on a list of eight photographs of four people on the web, one that is not there and one that does not come.

    Four people are too few for the data gate, which stops it. Returns the run's id and what the command said.
    """
    folder = tmp_path_factory.mktemp("people")
    command = [sys.executable, str(ROOT / FACES / "synthetic"), "--people", "4", "--photos", "3", "--dates", "1"]
    subprocess.run([*command, "--out", str(folder)], check=True, capture_output=True)
    people = [files for person in sorted(folder.glob("*/*")) if len(files := sorted(person.glob("*.jpg"))) > 1][:4]
    photos = {file.relative_to(folder).as_posix(): file.read_bytes() for files in people for file in files[:2]}
    with web({**photos, "slow/late.jpg": b"x" * 1000}, _bridge()) as there:
        rows = [f"{there.url}/{name},{name.split('/')[1]},2026-11-01" for name in photos]
        rows += [f"{there.url}/{name},Ann,2026-11-01" for name in ("gone.jpg", "slow/late.jpg")]
        (folder / "people.csv").write_text("\n".join(["url,identity,date", *rows]) + "\n")
        given = [
            "--inbox",
            str(folder / "people.csv"),
            "--params",
            "download.timeout=1 download.retries=0 download.allow_private=true",
        ]
        done = stack.cli("run", "--pipeline", FACES, *given, check=False)
    assert done.returncode == 1, done.stdout
    return next(
        line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("run ")
    ), done.stdout


def test_a_list_on_the_web_is_fetched_and_what_fails_is_among_the_rejects(
    stack: Stack, stopped: tuple[str, str]
) -> None:
    entry = stack.airflow.xcom("faces", stopped[0], "download")["entry"]
    [photos], [rejects] = (_rows(stack, entry, path) for path in ("data/photos", "data/rejects/download"))
    assert len(photos) == 8 and {len(row["sha256"]) for row in photos} == {64}
    told = {row["path"].rsplit("/", 1)[1]: (row["identity"], row["reason"], row["detail"]) for row in rejects}
    assert told == {
        "gone.jpg": ("Ann", "not_found", "HTTP 404"),
        "late.jpg": ("Ann", "timeout", "no byte in 1 s, tried 1 times"),
    }
    states = {task["task_id"]: task["state"] for task in stack.airflow.tasks("faces", stopped[0])}
    went_on = ("download", "detect", "align", "clean", "data_report")
    assert {name: states[name] for name in went_on} == dict.fromkeys(went_on, "success")


def test_a_run_that_the_data_gate_stops_says_so_with_numbers_in_terminal_page_and_mlflow(
    stack: Stack, stopped: tuple[str, str]
) -> None:
    """It leaves no record: nothing was made. What was measured and what to do stand where people look."""
    run_id, said = stopped
    states = {task["task_id"]: task["state"] for task in stack.airflow.tasks("faces", run_id)}
    assert (states["data_gate"], states["split"], states["record"]) == ("failed", "upstream_failed", "upstream_failed")
    mlflow = stack.airflow.xcom("faces", run_id, "open")["mlflow"]
    # The scheduler ends it, a moment after the run.
    until(lambda: _mlflow_run(stack, mlflow)["info"]["status"] != "RUNNING", 30, "the run's end in MLflow")
    run = _mlflow_run(stack, mlflow)
    assert run["info"]["status"] == "FAILED"
    wanted = f"tags.`mlflow.parentRunId` = '{mlflow}' and attributes.run_name = 'data_gate'"
    search = {"experiment_ids": [run["info"]["experiment_id"]], "filter": wanted}
    [gate] = requests.post(f"{_runs(stack)}/search", json=search, timeout=30).json()["runs"]
    assert gate["info"]["status"] == "FAILED"
    page = stack.airflow.session.get(f"{stack.env['REPRISE_AIRFLOW']}/reprise/runs/faces/{run_id}", timeout=30).text
    problem = next(tag["value"] for tag in gate["data"]["tags"] if tag["key"] == "problem")
    for text in (said, page, problem):
        words = " ".join(text.split())
        # How many people are left depends on whose photographs the renderer made without a face.
        assert re.search(r"data_gate: photographs 10 data_gate: reject_share 0\.[2-9] ", words)
        assert re.search(r"identities is [0-4] \(data_gate.min_identities: 10\)", words)
        assert re.search(r"rejected: .*1 not_found", words) and "data_gate.crossed=warn" in words
    assert '\n  next: mend the data, or go on without limits: make run PARAMS="data_gate.crossed=warn"' in said


def _rows(stack: Stack, entry: dict[str, Any], output: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of each partition of an output, from the cache."""

    def cached(md5: str) -> bytes:
        return (stack.root / "var/cache/files/md5" / md5[:2] / md5[2:]).read_bytes()

    md5 = next(out["md5"] for out in entry["outs"] if out["path"] == output)
    for file in json.loads(cached(md5)):
        yield pq.read_table(io.BytesIO(cached(file["md5"]))).to_pylist()


def _runs(stack: Stack) -> str:
    return f"{stack.env['REPRISE_MLFLOW']}/api/2.0/mlflow/runs"


def _mlflow_run(stack: Stack, run: str) -> Any:
    return requests.get(f"{_runs(stack)}/get", params={"run_id": run}, timeout=30).json()["run"]
