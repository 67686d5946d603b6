"""The memo per partition on real git and DVC: what is known is not done again, and the bytes are the same without it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from repository import commit

from reprise import git, workspace
from reprise.errors import BadInput, RepriseError, TryAgain
from reprise.messages import Entry
from reprise.pipeline import manifest
from reprise.pipeline.stages import Meta, Pipeline
from reprise.settings import Settings
from reprise.sources import inbox
from reprise.stage import memo
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace

DAYS = Path(__file__).parents[2] / "pipelines/days"
TEXTS = {"2026-11-01": "The cat", "2026-11-08": "A dog!", "2026-11-15": "the horse", "2026-11-22": "Two dogs, two cats"}


class Node:
    """A machine with a DVC cache of its own. All nodes share the origin, the remote and the inbox."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.cache = folder / name / "cache"

    def workspace(self) -> Workspace:
        """A clone that works on this node's cache."""
        origin = self.folder / "origin"
        (origin / ".dvc/config.local").write_text(f"[cache]\ndir = {self.cache}\n")
        clone = self.folder / self.name / "work" / os.urandom(4).hex()
        return Workspace.create(Settings(origin=str(origin)), clone, "days", git.resolve(origin, "HEAD"))

    def lost(self, entries: Mapping[str, Entry]) -> set[str]:
        """Outputs that a plan on this node would make again."""
        return self.workspace().lost(out["md5"] for entry in entries.values() for out in entry["outs"])

    def collect_garbage(self) -> None:
        """``dvc gc``, here and in the remote; no revision of the pipeline has a dvc.lock, so that all goes."""
        self.workspace().repo.gc(workspace=True, cloud=True, force=True)

    def run(self, days: int, edit: Mapping[str, str] | None = None, ignore: bool = False) -> dict[str, Any]:
        """Run the two partitioned stages on the first ``days`` days as a task does; returns what each did and left.

        :param edit: file of the pipeline → another content.
        """
        work = self.workspace()
        for name, content in (edit or {}).items():
            (work.folder / name).write_text(content)
        listing = inbox.list_inbox(str(self.folder / "inbox"), None, self.folder / "hashes")
        listing["partitions"] = dict(sorted(listing["partitions"].items())[:days])
        (work.folder / manifest.LISTING).write_bytes(inbox.dump(listing))
        pipeline = manifest.read(work.path, "days")
        entries: dict[str, Entry] = {}
        done: dict[str, Any] = {}
        for name in ("take", "count"):
            work.write_lock(entries)
            entries[name], done[name] = _task(work, pipeline, name, entries, self.folder / "inbox", ignore)
        work.remove()
        return {"entries": entries, "done": done}


def _task(
    work: Workspace, pipeline: Pipeline, name: str, entries: Mapping[str, Entry], texts: Path, ignore: bool
) -> tuple[Entry, list[str]]:
    """What the stage operator does, with a process in the container's place."""
    stage = next(stage for stage in pipeline.stages if stage.name == name)
    division = memo.divide(work, pipeline, stage, entries, ignore)
    shown = division.show(work.path.with_suffix(".shown") / name)
    sandbox = Sandbox.build(work, stage, work.path.with_suffix(".box"), work.path.with_suffix(".live"), shown)
    if division.pending:
        for mount in sandbox.mounts():
            target = sandbox.path / mount["Target"].removeprefix("/repo/")
            if mount["Target"].startswith("/repo/"):
                shutil.rmtree(target) if target.is_dir() else target.unlink()
                target.symlink_to(mount["Source"])
        command = [sys.executable, *shlex.split(stage.cmd[0])[1:]]
        subprocess.run(command, cwd=sandbox.path / "days", env={**os.environ, "INBOX": str(texts)}, check=True)
        sandbox.collect()
    entry = division.commit()
    work.push(name, entry)
    division.remember(entry)
    return entry, division.pending


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Origin, remote and an inbox of four days."""
    origin = tmp_path / "origin"
    shutil.copytree(DAYS, origin / "days")
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path}/remote\n")
    commit(origin, "one")
    for day, text in TEXTS.items():
        (tmp_path / "inbox" / day).mkdir(parents=True)
        (tmp_path / "inbox" / day / "text.txt").write_text(text)
    monkeypatch.setattr(workspace, "ROOT", origin)
    return tmp_path


def _objects(place: Path) -> set[str]:
    files = place / "remote/files/md5"
    return {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}


def test_a_new_day_is_worked_on_alone_on_a_node_whose_cache_is_empty(place: Path) -> None:
    three = Node(place, "one").run(3)
    assert three["done"] == {"take": list(TEXTS)[:3], "count": list(TEXTS)[:3]}
    before = _objects(place)
    other = Node(place, "two")
    four = other.run(4)
    assert four["done"] == {"take": ["2026-11-22"], "count": ["2026-11-22"]}
    # The day's text, its counts, its longest word, and the three folders' new lists.
    assert len(_objects(place) - before) == 6
    assert sum(name.endswith(".dir") for name in _objects(place) - before) == 3
    assert [path for path in other.cache.rglob("*") if path.is_file() and b"horse" in path.read_bytes()] == []
    shutil.rmtree(place / "remote/memo")
    shutil.rmtree(place / "remote/runs")
    nothing = Node(place, "three").run(4)
    assert nothing["done"] == {"take": list(TEXTS), "count": list(TEXTS)}
    assert nothing["entries"] == four["entries"]
    assert Node(place, "three").run(4, ignore=True)["done"]["take"] == list(TEXTS)


def test_what_is_no_longer_listed_is_no_longer_in_the_outputs(place: Path) -> None:
    node = Node(place, "one")
    two = node.run(2)
    node.run(4)
    again = node.run(2)
    assert again["done"] == {"take": [], "count": []}
    assert again["entries"] == two["entries"]


def test_another_parameter_or_code_makes_every_day_anew_and_another_text_its_own(place: Path) -> None:
    node = Node(place, "one")
    node.run(3)
    other = (DAYS / "params.yaml").read_text().replace("true", "false")
    assert node.run(3, {"params.yaml": other})["done"] == {"take": [], "count": list(TEXTS)[:3]}
    assert node.run(3)["done"] == {"take": [], "count": []}
    code = (DAYS / "take.py").read_text() + "# changed\n"
    # The code of take is new, what it writes is not.
    assert node.run(3, {"take.py": code})["done"] == {"take": list(TEXTS)[:3], "count": []}
    (place / "inbox/2026-11-08/text.txt").write_text("Another dog")
    assert node.run(3)["done"] == {"take": ["2026-11-08"], "count": ["2026-11-08"]}


def test_what_was_lost_is_made_again(place: Path) -> None:
    first = Node(place, "one").run(2)
    lost = next(
        path for path in (place / "remote/files/md5").rglob("*") if path.is_file() and b"The cat" in path.read_bytes()
    )
    lost.unlink()
    again = Node(place, "two").run(2)
    assert again["done"]["take"] == ["2026-11-01"]
    assert again["entries"] == first["entries"]


def test_what_was_collected_as_garbage_is_made_again_on_a_node_that_has_some_of_it(place: Path) -> None:
    """``dvc gc --cloud`` on one node; the other's cache has the folders' lists, and the files of its own day alone."""
    one, two = Node(place, "one"), Node(place, "two")
    one.run(3)
    four = two.run(4)
    assert two.lost(four["entries"]) == set()
    one.collect_garbage()
    assert _objects(place) == set()
    assert two.lost(four["entries"]) == {out["md5"] for entry in four["entries"].values() for out in entry["outs"]}
    again = two.run(4)
    assert again["done"] == {"take": list(TEXTS)[:3], "count": list(TEXTS)[:3]}
    assert again["entries"] == four["entries"]
    assert Node(place, "three").run(4)["done"] == {"take": [], "count": []}, "all of it is in the remote again"


def test_what_is_lost_while_it_is_needed_says_how_to_make_it_anew(place: Path) -> None:
    one, two = Node(place, "one"), Node(place, "two")
    entries = one.run(2)["entries"]
    one.collect_garbage()
    work = two.workspace()
    work.write_lock(entries)
    with pytest.raises(RepriseError, match="the remote has data/texts\n  next: make run IGNORE_CACHE=1") as lost:
        work.pull(["data/texts"])
    assert not isinstance(lost.value, TryAgain)
    with pytest.raises(RepriseError, match="next: make run IGNORE_CACHE=1"):
        work.files(entries["take"]["outs"][0]["md5"])


def test_an_entry_that_is_not_sound_is_made_again(place: Path) -> None:
    Node(place, "one").run(2)
    entries = (place / "remote/memo").rglob("2026-11-01.*.json")
    for entry, content in zip(entries, ("[1]", '{"data/'), strict=True):
        entry.write_text(content)
    assert Node(place, "two").run(2)["done"] == {"take": ["2026-11-01"], "count": ["2026-11-01"]}


def test_two_at_once_on_one_cache_get_the_same(place: Path) -> None:
    """Processes, as Airflow's tasks are: DVC is not made for threads."""
    script = (
        "import sys, json; sys.path[:0] = sys.argv[1:4]\n"
        "from pathlib import Path; import test_memo; from reprise import workspace\n"
        "place = Path(sys.argv[4]); workspace.ROOT = place / 'origin'\n"
        "print(json.dumps(test_memo.Node(place, 'one').run(4)['entries']))\n"
    )
    plugins = Path(workspace.__file__).parents[1]
    here, tests = Path(__file__).parent, Path(__file__).parents[2]
    command = [sys.executable, "-c", script, *map(str, (plugins, here, tests, place))]

    def run(_: int) -> Any:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(run, range(2))
    assert one == two
    assert list(place.rglob("*.tmp")) == []
    assert Node(place, "other").run(4)["done"] == {"take": [], "count": []}


@pytest.mark.long
def test_the_remote_may_be_an_object_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="store")
        config = place / "origin/.dvc/config"
        config.write_text(
            config.read_text().replace(f"{place}/remote", f"s3://store/dvc\nendpointurl = http://{host}:{port}")
        )
        assert Node(place, "one").run(1)["done"] == {"take": ["2026-11-01"], "count": ["2026-11-01"]}
        assert Node(place, "two").run(2)["done"] == {"take": ["2026-11-08"], "count": ["2026-11-08"]}
    finally:
        server.stop()


@pytest.mark.parametrize("part", ["cmd", "params", "deps", "outs", "listing"])
def test_a_key_changes_with_all_that_is_common_and_with_its_own_part_only(part: str) -> None:
    base = {"cmd": "a", "params": {"p.yaml": {"x": 1}}, "deps": {"code.py": "1", "env.lock": "2"}, "outs": ["o"]}
    parts = {"d1": {"in/d1.txt": "3"}, "d2": {"in/d2.txt": "4"}}
    keys = memo.Inputs(base, ("in",), parts).keys()
    other = memo.Inputs({**base, part: "changed"}, ("in",), parts).keys()
    assert not set(keys.values()) & set(other.values())
    grown = memo.Inputs(base, ("in",), {**parts, "d2": {"in/d2.txt": "5"}, "d3": {"in/d3.txt": "6"}}).keys()
    assert grown["d1"] == keys["d1"]
    assert grown["d2"] != keys["d2"]
    renamed = memo.Inputs(base, ("in",), {"d0": parts["d1"]}).keys()
    assert renamed["d0"].split(".")[-2] != keys["d1"].split(".")[-2]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.txt"], "left out 1 partitions of out: b"),
        (["a.txt", "b.txt", "c.txt"], "was not given: c"),
        (["a.txt", "b.txt", "b.csv"], "was not given: b"),
        (["a.txt", "b.txt", "c/d.txt"], "was not given: c/"),
    ],
)
def test_a_stage_that_writes_more_or_less_than_asked_is_told(tmp_path: Path, files: list[str], said: str) -> None:
    for file in files:
        (tmp_path / "out" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / file).touch()
    with pytest.raises(RepriseError, match=said):
        memo.check_written("s", tmp_path / "out", ["a", "b"])
    (tmp_path / "file").touch()
    with pytest.raises(RepriseError, match="is a file"):
        memo.check_written("s", tmp_path / "file", ["a"])


def test_partitions_come_from_somewhere(place: Path) -> None:
    definition = place / "origin/days/dvc.yaml"
    definition.write_text(definition.read_text().replace("meta: {network: inbox, partitioned: true}", "meta: {}"))
    with pytest.raises(BadInput, match="count is partitioned, but reads nothing that has partitions"):
        manifest.read(place / "origin", "days")
    assert Meta.parse("s", {"partitioned": True}).partitioned
