"""Any dvc.yaml that DVC runs, Reprise runs to the same bytes, or refuses in one sentence (DESIGN D13).

The corpus through everything but Airflow and Docker: a process stands in the container's place.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import load_yaml
from repository import commit

from reprise import git, workspace
from reprise.errors import BadInput, RepriseError
from reprise.messages import Entry
from reprise.pipeline import manifest, paramfiles
from reprise.pipeline.stages import Pipeline, Stage, producers
from reprise.run import products
from reprise.run.plan import find_again, plan
from reprise.settings import Settings
from reprise.stage.command import container_command
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace

CORPUS = Path(__file__).parents[2] / "corpus"
CASES = sorted(folder.name for folder in CORPUS.iterdir() if folder.is_dir())
READ_ONLY = {"two-hundred-stages"}
"""Too many stages to run one by one."""
QUICK = {
    "always-changed",
    "cache-false-folder",
    "cache-false-in-git",
    "cache-false-metric-that-is-read",
    "cmd-first-line-fails",
    "cmd-heredoc-in-a-list",
    "cmd-list-with-comment",
    "cmd-list-with-lines",
    "cmd-script",
    "deps-outside",
    "dvc-file",
    "dvc-folder",
    "foreach-list",
    "metrics-plots-artifacts",
    "names-of-files",
    "no-deps",
    "no-outs",
    "outs-empty",
    "params-of-a-wdir",
    "params-outside",
    "params-toml",
    "wdir",
}
"""Run in every `make test`; the others are read there, and run in `make test-long`."""
_CONFIG = "[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {}\n"


class StageFailed(Exception):
    """The command of a stage failed."""


@pytest.fixture
def origin(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The case's repository, committed."""
    origin = tmp_path / "origin"
    shutil.copytree(CORPUS / request.param, origin)
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(_CONFIG.format(tmp_path / "remote"))
    (origin / ".dvc/.gitignore").write_text("/cache\n/tmp\n/config.local\n")
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if (origin / "setup.sh").exists():
        subprocess.run(["sh", "-e", "setup.sh"], cwd=origin, check=True, capture_output=True)
    commit(origin)
    monkeypatch.setattr(workspace, "ROOT", origin)
    return origin


def clone(origin: Path, name: str) -> Workspace:
    settings = Settings(origin=str(origin), var=origin.parent / "var")
    return Workspace.create(settings, origin.parent / "var" / name, "p", "HEAD")


def by_dvc(origin: Path) -> dict[str, Any]:
    """dvc.lock after plain `dvc repro` in a clone."""
    work = clone(origin, "plain")
    with chdir(work.path), Repo(str(work.path)) as repo:
        repo.reproduce(targets=["p/dvc.yaml"], pull=True)
    lock = work.folder / "dvc.lock"
    return dict(load_yaml(str(lock))["stages"]) if lock.exists() else {}


def by_reprise(origin: Path, pipeline: Pipeline) -> dict[str, Any]:
    """dvc.lock of a run, each stage in a clone of its own."""
    entries: dict[str, Entry] = {}
    for number, stage in enumerate(pipeline.stages):
        upstream = {name: entries[name] for name in pipeline.ancestors(stage.name)}
        entries[stage.name] = run_stage(clone(origin, f"stage{number}"), pipeline, stage, upstream)
    work = clone(origin, "record")
    work.write_lock(entries)
    assert work.absent(out["md5"] for entry in entries.values() for out in entry.get("outs", ())) == set()
    products.bring(work, pipeline)
    kept = products.for_git(work.folder, pipeline.stages)
    assert all(any(f"{path}/".startswith(f"{out.path}/") for s in pipeline.stages for out in s.outs) for path in kept)
    return dict(load_yaml(str(work.folder / "dvc.lock"))["stages"])


def run_stage(work: Workspace, pipeline: Pipeline, stage: Stage, upstream: Mapping[str, Entry]) -> Entry:
    """What the stage operator does, with a process in the container's place.

    :raises StageFailed: with the exit code.
    """
    work.write_lock(upstream)
    again = find_again(work, pipeline, stage, upstream)
    made = producers(stage, pipeline.stages)
    work.pull(dep for dep in stage.deps if dep in made or work.lacks(dep))
    sandbox = Sandbox.build(work, stage, work.path.with_suffix(".box"), work.path.with_suffix(".live"))
    for mount in sandbox.mounts():
        target = sandbox.path / mount["Target"].removeprefix("/repo/")
        if mount["Target"].startswith("/repo/"):
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            copy = shutil.copytree if os.path.isdir(mount["Source"]) else shutil.copyfile
            copy(mount["Source"], target)
    done = subprocess.run(
        container_command(stage.cmd),
        cwd=os.path.normpath(sandbox.path / "p" / stage.wdir),
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise StageFailed(f"exit code {done.returncode}: {done.stderr.decode()}")
    sandbox.collect()
    products.check_for_git(work.folder, stage)
    entry = work.commit(stage.name)
    work.push(stage.name, entry)
    assert again is None or again == entry
    return entry


def special(name: str, file: str) -> str | None:
    place = CORPUS / name / file
    return place.read_text().strip() if place.exists() else None


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(("origin", "name"), [(name, name) for name in CASES], indirect=["origin"], ids=CASES)
def test_a_pipeline_is_read_or_refused_in_a_sentence(origin: Path, name: str) -> None:
    if refused := special(name, "refused.txt"):
        with pytest.raises(BadInput, match=refused) as said:
            manifest.read(origin, "p")
        assert "\n  next: " in str(said.value)
        return
    pipeline = manifest.read(origin, "p")
    assert Pipeline.from_dict(json.loads(json.dumps(pipeline.to_dict()))) == pipeline
    assert len({stage.task_id for stage in pipeline.stages}) == len(pipeline.stages)


def _run() -> Iterator[Any]:
    for name in CASES:
        if name not in READ_ONLY and not special(name, "refused.txt"):
            yield pytest.param(name, name, id=name, marks=[] if name in QUICK else [pytest.mark.long])


@pytest.mark.parametrize(("origin", "name"), _run(), indirect=["origin"])
def test_a_pipeline_comes_out_as_by_dvc(origin: Path, name: str) -> None:
    pipeline = manifest.read(origin, "p")
    if reason := special(name, "fails.txt"):
        with pytest.raises(DvcException):
            by_dvc(origin)
        with pytest.raises((StageFailed, RepriseError), match=re.escape(reason)):
            paramfiles.check(clone(origin, "open").folder, "p", pipeline.stages)
            by_reprise(origin, pipeline)
        return
    expected = by_dvc(origin)
    assert by_reprise(origin, pipeline) == expected
    never = {stage.name for stage in pipeline.stages if not (stage.deps or stage.outs)}  # DVC runs these each time
    if "always_changed: true" in (origin / "p/dvc.yaml").read_text():
        never.add("s")
    known = plan(clone(origin, "again"), pipeline)
    assert set(known) == {stage.name for stage in pipeline.stages} - never
